"""What can be asked of sessions: by people, tools and code with the capability, then the tower's own reports."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.messages import Request
from domain.promises import MAX_TIMEOUT_S

INSTRUCTION_BYTES: Final = 256 * 1024
"""Of an instruction in an event; a longer one has its own file."""

OUTPUT_BYTES: Final = 64 * 1024
"""Of a turn's output in an event."""

Id = Annotated[str, Meta(max_length=100)]
Name = Annotated[str, Meta(max_length=128)]
Inherit = bool | tuple[str, ...]
Depth = Literal["none", "recent", "all"]
Scope = Literal["conversation", "agents", "full"]
Timeout = Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)]


class SessionSpawn(Request, frozen=True, kw_only=True):
    """Start a session from a bundle: its URI, its name, or a plan that stands here; or from an `agent` of the parent's
    bundle, `self` being the parent's own plan.

    `inherit_*`: from the parent all, nothing, or the modules of these ids; providers only if the bundle has none.
    `context_depth`: how much of what the parent said it gets, `recent` being the last `context_turns` turns;
    `context_scope`: of whom. `session_id`: 1 to 100 characters of A-Z a-z 0-9 _ -. `timeout` in seconds for all that
    it is given to do. `background`: nobody waits for it, and it goes on when its parent is cancelled. The same
    `idempotency_key` again is answered with the session that is there.
    """

    bundle: str | dict[str, Any] | None = None
    instruction: str
    agent: Name | None = None
    parent_session_id: Name | None = None
    inherit_providers: Inherit = True
    inherit_tools: Inherit = False
    inherit_hooks: Inherit = False
    context_depth: Depth = "none"
    context_scope: Scope = "conversation"
    context_turns: Annotated[int, Meta(ge=1, le=10_000)] = 5
    session_id: Id | None = None
    session_name: Name | None = None
    timeout: Timeout | None = None
    background: bool = False
    idempotency_key: Name | None = None


class SessionInstruct(Request, frozen=True):
    """A further instruction, after those that wait. A session that rests goes on from its transcript."""

    session_id: Name
    instruction: str


class SessionCancel(Request, frozen=True):
    """End it on purpose, with the foreground sessions below it: what runs is stopped, what waits is not done."""

    session_id: Name


class SessionEnd(Request, frozen=True):
    """Take no further instruction: what waits is still done."""

    session_id: Name


class SessionResume(Request, frozen=True):
    """Go on after an error or a time-out, with what waits and with this `instruction`. `timeout` in seconds from now,
    that of the spawn without it."""

    session_id: Name
    instruction: str | None = None
    timeout: Timeout | None = None


class SessionEmit(Request, frozen=True, kw_only=True):
    """Tell whoever listens: `name` is two words of a-z 0-9 _ . - with a colon between (`work:completed`), `data` any
    JSON of at most 256 KiB. `session_id`: the session that it comes from; the operator without."""

    name: str
    data: Any = None
    session_id: Name | None = None


Asked = SessionSpawn | SessionInstruct | SessionCancel | SessionEnd | SessionResume

# --- the tower's own -----------------------------------------------------------------------------------------------


class SessionRecordTurnStarted(Request, frozen=True):
    """The runtime is ready. `restarted`: it was made anew for a session that had one."""

    session_id: str
    turn: int
    restarted: bool = False


class TurnFailure(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    message: str


class SessionRecordTurnEnded(Request, frozen=True, kw_only=True):
    """The fields are those of the events."""

    session_id: str
    turn: int
    state: Literal["completed", "failed", "cancelled", "timed_out"]
    error: TurnFailure | None = None
    output: str = ""
    output_digest: str | None = None
    output_bytes: int = 0
    transcript_digest: str | None = None
    exit_code: int | None = None
    execution_time: float = 0.0
    output_position: int = 0
    truncated_bytes: int | UnsetType = UNSET


class SessionRecordTurnLost(Request, frozen=True):
    """The tower ended while it ran: nobody knows how far it came."""

    session_id: str
    turn: int


class SessionRecordTimedOut(Request, frozen=True):
    """Its deadline is over."""

    session_id: str


class SessionRecordStale(Request, frozen=True):
    session_id: str
    from_digest: str
    to_digest: str


Reported = (
    SessionRecordTurnStarted
    | SessionRecordTurnEnded
    | SessionRecordTurnLost
    | SessionRecordTimedOut
    | SessionRecordStale
)
