"""Events of executions and of the namespaces they run in. Names and fields are the stored form; a change is a new
version with an upcaster.

The promise `exec:{execution_id}` has no events of its own: it is pending from `execution.requested` on, and the one end
of the execution settles it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from domain.messages import Event


class ExecutionState(StrEnum):
    REQUESTED = "requested"
    RUNNING = "running"
    RETRYING = "retrying"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"


WhenBusy = Literal["queue", "reject"]
Transaction = Literal["commit_always", "rollback_on_failure", "rollback_always"]
Scope = Literal["execution", "session"]
Then = Literal["fail", "pause"]
Interruption = Literal["failed", "lost"]
"""How an attempt went that is not the last one."""

Strategy = Literal["overwrite", "preserve", "smart"]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`safe`: the code may run again though nobody knows how far an attempt came. `max_attempts` in all, None when
    none was asked for. `backoff_s`: seconds before the second attempt, doubled for each further one."""

    safe: bool = False
    max_attempts: int | None = None
    backoff_s: float = 1.0
    then: Then = "fail"


class ExecutionError(msgspec.Struct, frozen=True, kw_only=True):
    """What was raised; `code` for what is the engine's: `worker_died`, `worker_crash_loop`, `timeout`, …"""

    exception_type: str
    message: str
    code: str | None = None
    traceback: str = ""
    notes: tuple[str, ...] = ()
    exit_code: int | None = None
    signal: int | None = None
    last_memory_bytes: int | None = None


class ExecutionEvent(Event, frozen=True, kw_only=True):
    """What all events of an execution carry."""

    execution_id: str
    session_id: str


class ExecutionRequested(ExecutionEvent, frozen=True, kw_only=True):
    """`owner` is the origin that asked. `timeout_s` is None where the mode's own holds. `throwaway`: the session was
    made for this execution alone."""

    owner: str
    code: str
    timeout_s: float | None = None
    idempotency_key: str | None = None
    when_busy: WhenBusy = "queue"
    retry: RetryPolicy = RetryPolicy()
    priority: int = 4
    concurrency_key: str | None = None
    throwaway: bool = False
    transaction: Transaction = "commit_always"


class ExecutionStarted(ExecutionEvent, frozen=True, kw_only=True):
    """From here on the code may have run. Attempts count from 1."""

    attempt: int


class ExecutionEnd(ExecutionEvent, frozen=True, kw_only=True):
    """What all ends carry: `attempt` is the last that was started, 0 for none. `execution_time` in seconds.
    `output_position`: stream sequence of the last chunk of output, 0 for none; `truncated_bytes` of output from its
    middle were not kept, unset for none."""

    attempt: int
    execution_time: float = 0.0
    output_position: int = 0
    truncated_bytes: int | UnsetType = UNSET


class ExecutionCompleted(ExecutionEnd, frozen=True, kw_only=True):
    """`value` is there when JSON gives it back unchanged and it has at most 256 KiB; a larger one is stored by
    `value_digest` with `value_bytes`. `truncated`: the repr was cut. `children`: processes left running. `blocking`:
    calls in asynchronous code that block the loop."""

    repr: str | None = None
    value: Any | UnsetType = UNSET
    value_digest: str | None = None
    value_bytes: int | None = None
    mode: str = "unknown"
    truncated: bool = False
    children: int = 0
    blocking: tuple[str, ...] = ()


class ExecutionFailed(ExecutionEnd, frozen=True, kw_only=True):
    error: ExecutionError
    mode: str = "unknown"
    children: int = 0
    blocking: tuple[str, ...] = ()


class ExecutionCancelRequested(ExecutionEvent, frozen=True, kw_only=True):
    """It runs, and is to end. `session`: with all that it and earlier executions of the session left running."""

    scope: Scope


class ExecutionCancelled(ExecutionEnd, frozen=True, kw_only=True):
    """`worker_restarted`: the names are those of the last checkpoint now."""

    worker_restarted: bool = False


class ExecutionTimedOut(ExecutionEnd, frozen=True, kw_only=True):
    worker_restarted: bool = False
    error: ExecutionError | None = None


class ExecutionLost(ExecutionEnd, frozen=True, kw_only=True):
    """The tower ended while it ran: nobody knows how far it came."""


class ExecutionRetryScheduled(ExecutionEvent, frozen=True, kw_only=True):
    """`attempt` went as `reason` says; the next one may start at `due`, at once if that is None."""

    attempt: int
    reason: Interruption
    due: datetime | None = None
    error: ExecutionError | None = None


class ExecutionPaused(ExecutionEvent, frozen=True, kw_only=True):
    """`attempt` went as `reason` says and no further one may start; somebody resumes or cancels it."""

    attempt: int
    reason: Interruption
    error: ExecutionError | None = None


class ExecutionResumed(ExecutionEvent, frozen=True, kw_only=True):
    """It waits for its turn again, to run as `attempt`. `due`: its wait for a retry is over; else it was paused."""

    attempt: int
    due: bool = False


class CapabilityDenied(Event, frozen=True, kw_only=True):
    """Code asked the tower for something that the policy of its session does not allow. `execution_id`: `session:{id}`
    for a turn of a session that a bundle made."""

    execution_id: str
    session_id: str
    capability: str
    reason: str


# --- namespaces ----------------------------------------------------------------------------------------------------


class SkippedName(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    reason: str


class NamespaceEvent(Event, frozen=True, kw_only=True):
    """Of the names of a session."""

    session_id: str


class SessionCheckpointRequested(NamespaceEvent, frozen=True, kw_only=True):
    work_id: str
    verify: bool = False


class SessionCheckpointed(NamespaceEvent, frozen=True, kw_only=True):
    """`digest` (blake2b) names the stored checkpoint of `bytes` bytes. `after`: the last execution that had ended.
    `skipped` could not be saved."""

    work_id: str
    digest: str
    bytes_: int
    names: tuple[str, ...] = ()
    skipped: tuple[SkippedName, ...] = ()
    function_count: int = 0
    class_count: int = 0
    after: str | None = None


class SessionRestoreRequested(NamespaceEvent, frozen=True, kw_only=True):
    work_id: str
    digest: str
    strategy: Strategy = "overwrite"
    clear_existing: bool = False


class SessionRestored(NamespaceEvent, frozen=True, kw_only=True):
    work_id: str
    digest: str
    names: tuple[str, ...] = ()
    skipped: tuple[SkippedName, ...] = ()


class SessionWorkFailed(NamespaceEvent, frozen=True, kw_only=True):
    """A checkpoint or a restore that was asked for was not made."""

    work_id: str
    work: Literal["checkpoint", "restore"]
    code: str
    reason: str


class SessionEmitted(NamespaceEvent, frozen=True, kw_only=True):
    """The session had something to tell whoever listens. `execution_id`: the code that said it, None where it was not
    code of an execution. `depth`: how many runs of background sessions led to it, where there was one."""

    execution_id: str | None = None
    name: str
    data: Any = None
    depth: int | UnsetType = UNSET


class SessionForked(NamespaceEvent, frozen=True, kw_only=True):
    """A new session whose first worker starts with the names of a checkpoint of another."""

    from_session_id: str
    digest: str
