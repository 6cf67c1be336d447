"""What executions need from the outside: workers, the stream of their output, large values, the machine's own things.

As in `ports.py`: adapters and the simulator implement them, and every call may fail before its effect or after it.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

import msgspec

StreamName = Literal["stdout", "stderr"]

# --- workers -------------------------------------------------------------------------------------------------------


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of an execution. Without `timeout_s`, a cell that awaits at top level has 30 s."""

    execution_id: str
    attempt: int
    code: str
    timeout_s: float | None = None
    transaction: str = "commit_always"


class State(StrEnum):
    """How code in a worker can end."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What was raised, or `worker_died`, `worker_crash_loop`, `output_lost`, `timeout` as `code` for what is ours."""

    exception_type: str
    message: str
    code: str | None = None
    traceback: str = ""
    notes: tuple[str, ...] = ()
    exit_code: int | None = None
    signal: int | None = None
    last_memory_bytes: int | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is there only when JSON gives it back unchanged, `repr` for every completed execution; seconds in
    `execution_time`. `children`: processes that it left running. `worker_restarted`: the names are those of the last
    checkpoint now. `dropped_bytes` of output were dropped by the queue's policy."""

    execution_id: str
    state: State
    mode: str = "unknown"
    blocking: tuple[str, ...] = ()
    value: Any = msgspec.UNSET
    repr: str | None = None
    truncated: bool = False
    error: Failure | None = None
    execution_time: float = 0.0
    children: int = 0
    worker_restarted: bool = False
    dropped_bytes: int = 0


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What code asks from outside: a line of a person (`input_request`) or a thing of the tower's
    (`capability_request`), with the worker's own fields. `execution_id` is None between executions."""

    request_id: str
    execution_id: str | None
    kind: str
    fields: Mapping[str, Any]


AnswerStatus = Literal["ok", "eof", "timeout", "cancelled", "denied", "failed"]


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace in a file. `skipped`: (name, why it could not be saved)."""

    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    function_count: int = 0
    class_count: int = 0


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """`skipped` as in `Saved`: what could not be loaded here."""

    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()


class NamesError(Exception):
    """Names could not be saved or restored: says why. Also when the worker is gone."""


class SessionListener(Protocol):
    """Who follows the worker of one session. Called in order, from one task; the worker's output waits meanwhile."""

    async def output(self, execution_id: str | None, stream: StreamName, text: str) -> None: ...

    async def asked(self, question: Question) -> None: ...

    def starts_with(self) -> str | None:
        """The file of the checkpoint whose names a new worker gets, None for none."""
        ...


class WorkerSession(Protocol):
    """A namespace in a worker, which is replaced when it dies. One execution at a time."""

    async def execute(self, job: Job) -> Outcome:
        """Its end, whatever it is; death of the worker is one of them."""
        ...

    def cancel(self, execution_id: str, scope: str) -> None:
        """Stop what runs: its end comes within the grace. Nothing for another."""
        ...

    def answer(self, question: Question, status: AnswerStatus, *, value: Any = None, message: str = "") -> None:
        """Nothing when whoever asked has gone."""
        ...

    async def checkpoint(self, path: str, *, verify: bool = False) -> Saved:
        """Save the names into a file; `verify` loads each in another process. Between executions. Raises
        `NamesError`."""
        ...

    async def restore(self, path: str, *, strategy: str, clear_existing: bool) -> Restored:
        """Merge the names of a file. Between executions. Raises `NamesError`."""
        ...


class Workers(Protocol):
    def of(self, session_id: str) -> WorkerSession:
        """Of an opened session; the same object each time."""
        ...

    async def open(self, session_id: str, listener: SessionListener, *, throwaway: bool) -> None:
        """Have a worker for the session. Throw-away ones wait, in order, for one of a limited number. Never fails: a
        worker that cannot be started is the end of what is executed."""
        ...

    async def close(self, session_id: str) -> None:
        """The session is over: its worker ends or is made anew for others."""
        ...


# --- output --------------------------------------------------------------------------------------------------------


def between_executions(session_id: str) -> str:
    """Stands for an execution's id where a session writes while none runs (attempt 0). No execution has such an id."""
    return f"session:{session_id}"


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """`position`: stream sequence of the last chunk, 0 for none. `truncated_bytes` were left out in the middle."""

    position: int
    written_bytes: int
    truncated_bytes: int = 0


class OutputError(Exception):
    """The stream did not take or give output, or its answer was lost. Trying again is safe."""


class OutputLog(Protocol):
    """The durable stream of output. Chunks of one attempt of an execution, in order; head and tail of what is more
    than `max_output_bytes`."""

    async def write(self, execution_id: str, attempt: int, stream: StreamName, text: str) -> None:
        """Take a chunk; it is in the stream by the time `finish` answers. Waits while too much is under way."""
        ...

    async def finish(self, execution_id: str, attempt: int) -> Written:
        """All that was written is in the stream now; waits for the broker as long as that takes."""
        ...


# --- large values and checkpoints ----------------------------------------------------------------------------------


class Blobs(Protocol):
    """Content by digest (blake2b-256, hex), in files. All raise `OSError`."""

    async def scratch(self, name: str) -> str:
        """The path of a file to be written by somebody else and to be taken in then. `prune` deletes what was not."""
        ...

    async def put(self, data: bytes) -> str:
        """Its digest."""
        ...

    async def take(self, path: str) -> tuple[str, int]:
        """Move a file of this file system in; its digest and size in bytes."""
        ...

    async def get(self, digest: str) -> bytes | None: ...

    def path(self, digest: str) -> str:
        """Where it stands, if it does."""
        ...

    async def drop(self, digest: str) -> None:
        """One that is gone is no error."""
        ...

    async def prune(self, kept: Container[str], before: datetime) -> None:
        """Drop what is not in `kept` and older than `before`."""
        ...


# --- what code may ask of the tower --------------------------------------------------------------------------------


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    text: str


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a command; a negative `exit_code` is the signal that ended it."""

    exit_code: int
    stdout: str
    stderr: str


class MachineError(Exception):
    """It could not be done: says why."""


class NotAllowed(MachineError):
    """What was asked for led to something that is not allowed: says what."""


Allowed = Callable[[str], bool]
"""Of a real path, links followed, or of a host with its port."""


class Machine(Protocol):
    """Files, HTTP and commands of the tower's machine, for code that may have them. All raise `MachineError`; what is
    larger than a limit is refused, never cut."""

    async def read_file(self, path: str, allowed: Allowed) -> str: ...

    async def write_file(self, path: str, text: str, allowed: Allowed) -> None:
        """A new file, or a new content of an old one, in a folder that is there."""
        ...

    async def fetch(
        self, url: str, method: str, headers: Mapping[str, str], body: str | None, allowed: Allowed
    ) -> Fetched:
        """`allowed` is asked for every redirect too, with `host:port`."""
        ...

    async def run(self, argv: Sequence[str]) -> Ran:
        """Cancelling ends the command and all that it started in its group."""
        ...
