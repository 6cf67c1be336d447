"""What can be asked of background sessions: by people and tools, then the tower's own reports."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from domain.background.events import Source
from domain.messages import Request

DATA_BYTES: Final = 256 * 1024
"""Of the data of a firing, as JSON."""

Name = Annotated[str, Meta(max_length=128)]


class BackgroundStart(Request, frozen=True, kw_only=True):
    """One of both, here and below. A name has to be of one background session only."""

    background_id: Name | None = None
    name: Name | None = None


class BackgroundStop(Request, frozen=True, kw_only=True):
    """No firing is taken any more, and what waits is dropped; what runs goes on to its end."""

    background_id: Name | None = None
    name: Name | None = None


class TriggerFire(Request, frozen=True, kw_only=True):
    """Fire the `manual` trigger of the background session of this name, or id."""

    name: Name
    data: Any = None


Asked = BackgroundStart | BackgroundStop | TriggerFire

# --- the tower's own -----------------------------------------------------------------------------------------------


class BackgroundDeclare(Request, frozen=True, kw_only=True):
    """All that the configuration, or one session's bundle, declares by now, as written: an error is told with the path
    of its field. New ones are there and start; another definition of the same name takes its place; what is not among
    them any more is stopped and forgotten. Those of a bundle are first declared by the spawn of their parent."""

    source: Source
    definitions: tuple[dict[str, Any], ...]
    parent_session_id: str | None = None
    bundle: str | None = None
    folder: str = ""


class BackgroundRecordRunning(Request, frozen=True):
    """All of its triggers are watched. `definition_digest`: of what is watched."""

    background_id: str
    definition_digest: str


class BackgroundRecordFailed(Request, frozen=True, kw_only=True):
    """A watch of it ended with an exception."""

    background_id: str
    definition_digest: str
    error: str
    error_type: str


class BackgroundRecordRestartDue(Request, frozen=True):
    """The wait that its failure scheduled is over."""

    background_id: str


class BackgroundFailure(msgspec.Struct, frozen=True, kw_only=True):
    error: str
    error_type: str


class BackgroundRecordRunEnded(Request, frozen=True, kw_only=True):
    """The session of a run has an outcome, which the state knows; or `failure` says why there is no session."""

    background_id: str
    trigger_id: str
    attempt: int
    failure: BackgroundFailure | None = None


class TriggerRecordFired(Request, frozen=True, kw_only=True):
    """A watched trigger fired. `trigger`: its place in the definition; nothing is recorded if none of this `type` is
    there. `trigger_id` is the same for what may be told twice, which is recorded once; None makes one of the command's
    id. `tower_busy`: there is no room, ask again."""

    background_id: str
    trigger: int
    type: str
    source: str
    timestamp: datetime
    data: Any = None
    trigger_id: str | None = None
    file_path: str | None = None
    change_type: str | None = None


Reported = (
    BackgroundDeclare
    | BackgroundRecordRunning
    | BackgroundRecordFailed
    | BackgroundRecordRestartDue
    | BackgroundRecordRunEnded
    | TriggerRecordFired
)
BackgroundRequest = Asked | Reported
