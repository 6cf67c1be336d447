"""What can be asked of executions and namespaces.

The first group is asked by people and tools, on the tower's machine only. The second is the tower's own: what its
effects saw, sent back as commands so that every outcome becomes an event. No door takes the second group.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.executions.events import (
    ExecutionError,
    Scope,
    SkippedName,
    Strategy,
    Then,
    Transaction,
    WhenBusy,
)
from domain.messages import Request
from domain.promises import MAX_TIMEOUT_S

CODE_BYTES: Final = 256 * 1024
ANSWER_BYTES: Final = 64 * 1024
MAX_ATTEMPTS: Final = 100
MAX_BACKOFF_S: Final = 3600.0

Id = Annotated[str, Meta(max_length=64)]
Name = Annotated[str, Meta(max_length=128)]


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`safe`: run it again when nobody knows how far an attempt came: the tower or its worker died in the midst.
    `max_attempts` in all: run it again when an attempt failed, too; without it, one that is safe has 3. `backoff_s`
    before the second attempt, doubled for each further one, at most an hour. `then`, when no attempt is left."""

    safe: bool = False
    max_attempts: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)] | None = None
    backoff_s: Annotated[float, Meta(ge=0, le=MAX_BACKOFF_S)] = 1.0
    then: Then = "fail"


class ExecutionRequest(Request, frozen=True):
    """Run Python code, at most 256 KiB, in a session; without `session_id` in one of its own that ends with it.

    `id` and `session_id`: 1 to 64 characters of A-Z a-z 0-9 _ -. The same `id` or `idempotency_key` again is answered
    with what is there and runs nothing. `timeout` in seconds from its start, without the time that it waits for input;
    code that awaits has 30 s without one. `when_busy`: wait in order, or be refused. Of those that wait, `priority` 9
    goes first, and one at a time runs for a `concurrency_key`. `retry: "safe"` is short for `{"safe": true}`.
    """

    code: str
    id: Id | None = None
    session_id: Id | None = None
    timeout: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)] | None = None
    idempotency_key: Name | None = None
    when_busy: WhenBusy = "queue"
    retry: Literal["safe"] | Retry | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] = 4
    concurrency_key: Name | None = None
    transaction: Transaction = "commit_always"


class ExecutionCancel(Request, frozen=True):
    """`scope: session` also ends the tasks that earlier executions of the session left running."""

    execution_id: Name
    scope: Scope = "execution"


class ExecutionResume(Request, frozen=True):
    """Run a paused execution again."""

    execution_id: Name


class ExecutionAnswer(Request, frozen=True):
    """Answer what the code asks for: the `n`-th question, the oldest open one without `n`. At most 64 KiB of text;
    null is the end of input. The answer to a secret question stands in no event."""

    execution_id: Name
    value: str | None
    n: Annotated[int, Meta(ge=1)] | None = None


class SessionCheckpoint(Request, frozen=True):
    """Save the names of a session, when the executions that wait there are done. `verify`: each name is loaded in
    another process to prove it."""

    session_id: Name
    verify: bool = False


class SessionRestore(Request, frozen=True):
    """Merge the names of a checkpoint, the last one without `checkpoint`, into those of the session."""

    session_id: Name
    checkpoint: Name | None = None
    strategy: Strategy = "overwrite"
    clear_existing: bool = False


class SessionFork(Request, frozen=True, rename={"from_": "from"}):
    """A new session that starts with the names of a checkpoint: `from` is its digest, or the execution after which it
    was made, or a session, whose last one it is. The new id is made up without `session_id`."""

    from_: Name
    session_id: Id | None = None


Asked = ExecutionRequest | ExecutionCancel | ExecutionResume | ExecutionAnswer
AskedOfSession = SessionCheckpoint | SessionRestore | SessionFork

# --- the tower's own -----------------------------------------------------------------------------------------------


class ExecutionRecordStarted(Request, frozen=True):
    """A worker is there. No events unless it is its turn: then it must not run."""

    execution_id: str
    attempt: int


class ExecutionReport(Request, frozen=True, kw_only=True):
    """How an attempt went; the fields are those of the events."""

    execution_id: str
    attempt: int
    execution_time: float = 0.0
    output_position: int = 0
    truncated_bytes: int | UnsetType = UNSET


class ExecutionRecordCompleted(ExecutionReport, frozen=True, kw_only=True):
    repr: str | None = None
    value: Any | UnsetType = UNSET
    value_digest: str | None = None
    value_bytes: int | None = None
    mode: str = "unknown"
    truncated: bool = False
    children: int = 0
    blocking: tuple[str, ...] = ()


class ExecutionRecordFailed(ExecutionReport, frozen=True, kw_only=True):
    error: ExecutionError
    mode: str = "unknown"
    children: int = 0
    blocking: tuple[str, ...] = ()


class ExecutionRecordCancelled(ExecutionReport, frozen=True, kw_only=True):
    worker_restarted: bool = False


class ExecutionRecordTimedOut(ExecutionReport, frozen=True, kw_only=True):
    worker_restarted: bool = False
    error: ExecutionError | None = None


class ExecutionRecordLost(ExecutionReport, frozen=True, kw_only=True):
    pass


class ExecutionRecordRetryDue(Request, frozen=True):
    """`attempt`: the one that may start now."""

    execution_id: str
    attempt: int


class CapabilityRecordDenied(Request, frozen=True):
    """`session_id`: of one that a bundle made, whose turn has asked; its `execution_id` is that of its output."""

    execution_id: str
    capability: str
    reason: str
    session_id: str | None = None


class SessionRecordCheckpointed(Request, frozen=True):
    session_id: str
    work_id: str
    digest: str
    size_bytes: int
    names: tuple[str, ...] = ()
    skipped: tuple[SkippedName, ...] = ()
    function_count: int = 0
    class_count: int = 0


class SessionRecordRestored(Request, frozen=True):
    session_id: str
    work_id: str
    names: tuple[str, ...] = ()
    skipped: tuple[SkippedName, ...] = ()


class SessionRecordEmitted(Request, frozen=True, kw_only=True):
    """What code told by `tower.emit`; without `execution_id`, what another part of the tower's has to tell."""

    session_id: str
    execution_id: str | None = None
    name: str
    data: Any = None


class SessionRecordWorkFailed(Request, frozen=True):
    session_id: str
    work_id: str
    code: str
    reason: str


Ended = (
    ExecutionRecordCompleted
    | ExecutionRecordFailed
    | ExecutionRecordCancelled
    | ExecutionRecordTimedOut
    | ExecutionRecordLost
)
Reported = ExecutionRecordStarted | Ended | ExecutionRecordRetryDue | CapabilityRecordDenied | SessionRecordEmitted
ReportedOfSession = SessionRecordCheckpointed | SessionRecordRestored | SessionRecordWorkFailed
"""How a checkpoint or a restore went."""
