"""Events of sessions. Names and fields are the stored form; a change is a new version with an upcaster.

The promise `spawn:{session_id}` has no events of its own: it is pending from `session.spawned` on, and the first
outcome of the session settles it. No event holds a plan, an argv or a value of the environment.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from domain.messages import Event


class SessionState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    ENDED = "ended"


StopReason = Literal["cancelled", "timed_out"]
ResumeReason = Literal["asked", "restarted"]
EndReason = Literal["asked", "cancelled"]


class BundleRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which bundle, and which content of it. `uri` is `inline:` for a plan that came with the request."""

    uri: str
    name: str
    digest: str
    version: str | None = None


class SessionEvent(Event, frozen=True, kw_only=True):
    """What all events of a session carry."""

    session_id: str


class SessionSpawned(SessionEvent, frozen=True, kw_only=True):
    """`plan_digest` names the stored plan, `context_digest` the messages that it has from its parent. `depth`: how many
    are above it; `self_depth`: how many of them in a row are the same plan. `request_digest`: of what was asked, to
    know a repeat by."""

    owner: str
    session_name: str
    bundle: BundleRef
    plan_digest: str
    runtime: str
    instruction_digest: str
    request_digest: str
    parent_session_id: str | None = None
    background: bool = False
    timeout_s: float | None = None
    deadline: datetime | None = None
    depth: int = 0
    self_depth: int = 0
    context_digest: str | None = None
    context_messages: int = 0
    idempotency_key: str | None = None
    warnings: tuple[str, ...] = ()


class SessionInstructed(SessionEvent, frozen=True, kw_only=True):
    """It is to be done as `turn`, after those before it. One of more than 256 KiB has its own file."""

    turn: int
    instruction_digest: str
    instruction: str | None = None


class SessionTurnStarted(SessionEvent, frozen=True, kw_only=True):
    """From here on something of it may have been done."""

    turn: int


class TurnEnd(SessionEvent, frozen=True, kw_only=True):
    """What a turn left. `output` is whole up to 64 KiB, else beginning and end, and whole as the file `output_digest`.
    `transcript_digest` names the transcript up to and with this turn. `execution_time` in seconds. `output_position`:
    stream sequence of the last chunk of output; `truncated_bytes` of it were not kept there."""

    turn: int | None = None
    output: str = ""
    output_digest: str | None = None
    output_bytes: int = 0
    transcript_digest: str | None = None
    exit_code: int | None = None
    execution_time: float = 0.0
    output_position: int = 0
    truncated_bytes: int | UnsetType = UNSET


class SessionTurnCompleted(TurnEnd, frozen=True, kw_only=True):
    pass


class SessionCompleted(SessionEvent, frozen=True, kw_only=True):
    """No instruction waits. `turn_count`: turns that were completed in all; `output` of the last one. `trigger`: what a
    background session ran it for, here and below."""

    session_name: str
    bundle_name: str
    turn_count: int
    output: str = ""
    output_digest: str | None = None
    trigger: dict[str, Any] | UnsetType = UNSET


class SessionError(TurnEnd, frozen=True, kw_only=True):
    """The turn failed. Instructions that wait go on when the session is resumed."""

    session_name: str | UnsetType = UNSET
    bundle_name: str | UnsetType = UNSET
    turn_count: int | UnsetType = UNSET
    trigger: dict[str, Any] | UnsetType = UNSET
    error: str
    error_type: str


class SessionStopRequested(SessionEvent, frozen=True, kw_only=True):
    """The turn under way is to end."""

    reason: StopReason


class SessionCancelled(TurnEnd, frozen=True, kw_only=True):
    pass


class SessionTimedOut(TurnEnd, frozen=True, kw_only=True):
    session_name: str | UnsetType = UNSET
    bundle_name: str | UnsetType = UNSET
    turn_count: int | UnsetType = UNSET
    trigger: dict[str, Any] | UnsetType = UNSET


class SessionResumed(SessionEvent, frozen=True, kw_only=True):
    """It goes on from its transcript: somebody asked for it, or its runtime is made anew (`restarted`)."""

    reason: ResumeReason
    deadline: datetime | None = None


class SessionStale(SessionEvent, frozen=True, kw_only=True):
    """Its bundle was loaded anew; the session keeps what it was spawned from."""

    from_digest: str
    to_digest: str


class SessionEnded(SessionEvent, frozen=True, kw_only=True):
    """On purpose and for ever: it takes no instruction any more."""

    reason: EndReason
