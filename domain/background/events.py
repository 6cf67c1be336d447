"""Events of background sessions and of their triggers. Names and fields are the stored form; a change is a new version
with an upcaster.

A firing is recorded once: `trigger.fired`, or `trigger.refused`. One that was recorded waits or runs until it is
consumed, which `background.run_ended` says, or dropped, which `trigger.dropped` and `background.stopped` say.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from domain.background.definition import Definition
from domain.messages import Event


class BackgroundState(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"


Source = Literal["config", "bundle"]
StartReason = Literal["asked", "parent", "restart", "declared"]
StopReason = Literal["asked", "parent", "withdrawn"]
RefuseReason = Literal["depth", "queue_full", "not_running"]
DropReason = Literal["drop_oldest", "coalesced"]


class BackgroundEvent(Event, frozen=True, kw_only=True):
    background_id: str


class BackgroundDeclared(BackgroundEvent, frozen=True, kw_only=True):
    """It is there, with this definition; again under the same id when it was declared anew with another one.
    `folder`: where relative paths of its triggers begin. `bundle`: the URI of the one that declares it."""

    name: str
    definition: Definition
    definition_digest: str
    source: Source
    parent_session_id: str | None = None
    bundle: str | None = None
    folder: str = ""


class BackgroundStarting(BackgroundEvent, frozen=True, kw_only=True):
    """Its triggers are to be watched, from the definition that stands. `declared`: its definition is another one. `at`:
    when its timers begin to count."""

    reason: StartReason
    at: datetime | None = None


class BackgroundRunning(BackgroundEvent, frozen=True, kw_only=True):
    """All of its triggers are watched."""


class BackgroundFailed(BackgroundEvent, frozen=True, kw_only=True):
    """`restart_count`: restarts within the window, this one included. `restart_at`: None for one that rests."""

    error: str
    error_type: str
    restart_count: int
    restart_at: datetime | None = None


class BackgroundStopped(BackgroundEvent, frozen=True, kw_only=True):
    """`dropped`: the firings that waited. What runs goes on to its end."""

    reason: StopReason
    dropped: tuple[str, ...] = ()


class BackgroundRunStarted(BackgroundEvent, frozen=True, kw_only=True):
    """The session is to be spawned. `trigger_count`: the how manyth firing it is that was taken. `warnings`: of fields
    of the instruction that this firing does not have."""

    trigger_id: str
    session_id: str
    session_name: str
    attempt: int
    trigger_count: int
    warnings: tuple[str, ...] = ()


class BackgroundRunEnded(BackgroundEvent, frozen=True, kw_only=True):
    """The firing is consumed, or given `again`: its session ended with an earlier tower."""

    trigger_id: str
    session_id: str
    attempt: int
    success: bool
    output: str = ""
    error: str | None = None
    error_type: str | None = None
    again: bool = False


class TriggerEvent(Event, frozen=True, kw_only=True):
    trigger_id: str
    background_id: str


class TriggerTold(TriggerEvent, frozen=True, kw_only=True):
    """Why a session runs. `trigger`: its place in the definition. `source`: where it happened: a path, a session, an
    origin. `depth`: how many runs led to it, one after another."""

    trigger: int
    type: str
    source: str
    timestamp: datetime
    data: Any = None
    file_path: str | None = None
    change_type: str | None = None
    source_session_id: str | None = None
    event_name: str | None = None
    depth: int = 0


class TriggerFired(TriggerTold, frozen=True, kw_only=True):
    placed: Literal["run", "waiting"]


class TriggerRefused(TriggerTold, frozen=True, kw_only=True):
    reason: RefuseReason


class TriggerDropped(TriggerEvent, frozen=True, kw_only=True):
    """It waited, and will not run."""

    reason: DropReason
