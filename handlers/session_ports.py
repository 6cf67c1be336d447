"""What sessions need from the outside: runtimes, which carry out turns, and a place for transcripts.

As in `ports.py`: adapters and the simulator implement them, and every call may fail before its effect or after it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from domain.sessions.messages import Message

# --- runtimes ------------------------------------------------------------------------------------------------------


class RuntimeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a session runs on. `runtime`: the plan's map of that name, `permissions` likewise. `env`: variables besides
    those that the runtime takes from the tower's own environment by the names in the plan."""

    session_id: str
    kind: str
    runtime: Mapping[str, Any] = {}
    permissions: Mapping[str, Any] = {}
    working_dir: str | None = None
    env: Mapping[str, str] = {}


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """`turn` counts from 1 in a session; `context` is what was said before, oldest first."""

    turn: int
    instruction: str
    context: tuple[Message, ...] = ()
    timeout_s: float | None = None


class TurnState(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class TurnError(msgspec.Struct, frozen=True, kw_only=True):
    """Without values of secret variables. `type`: one of `RUNTIME_ERRORS`, or the exception's for Python code."""

    type: str
    message: str


RUNTIME_ERRORS = frozenset(
    {
        "runtime_invalid",  # its map in the plan
        "program_not_found",
        "exit_status",
        "killed",  # from outside
        "instruction_too_long",
        "pane_not_found",
        "pane_not_ready",
        "pane_gone",
        "worker_died",
        "worker_crash_loop",
        "plan_unavailable",
        "internal",
    }
)

RUNTIME_LOST = frozenset({"pane_not_ready", "pane_gone", "worker_died", "worker_crash_loop", "internal"})
"""Those after which the runtime is no good any more."""


class TurnResult(msgspec.Struct, frozen=True, kw_only=True):
    """`output`: the text of the turn, of long ones beginning and end; `left_out_bytes` in between are not there.
    A negative `exit_code` is the signal that ended the program. `messages`: what the turn added to the transcript after
    its instruction, where that is more than one message of the assistant with the output."""

    state: TurnState
    output: str = ""
    left_out_bytes: int = 0
    error: TurnError | None = None
    exit_code: int | None = None
    messages: tuple[Message, ...] = ()


class RuntimeFailed(Exception):
    """A session cannot be had on this runtime: `type` as in `TurnError`."""

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(message)
        self.type = type_


Output = Callable[[str], Awaitable[None]]
"""Takes text in order, at most 64 KiB at once; the runtime waits for it."""


class Runtime(Protocol):
    """Of one session: one turn at a time."""

    async def start(self, spec: RuntimeSpec) -> None:
        """Once, before the first turn. Raises `RuntimeFailed`."""
        ...

    async def execute(self, turn: Turn, output: Output) -> TurnResult:
        """Its end, whatever it is, after all its output was taken. Cancelling the caller's task ends what runs."""
        ...

    async def cancel(self) -> None:
        """Ask the turn under way to stop: its `execute` ends within the runtime's grace. Nothing while none runs."""
        ...

    async def close(self) -> None:
        """The session is over: nothing of it runs on. Also without a start, and again."""
        ...


class Runtimes(Protocol):
    def make(self, kind: str) -> Runtime:
        """A runtime for one session. Raises `RuntimeFailed` for a kind that there is none of."""
        ...


# --- transcripts ---------------------------------------------------------------------------------------------------


class SessionStorage(Protocol):
    """Transcripts, outside the log: what each turn said, linked to what was said before. All raise `OSError`."""

    async def save(self, session_id: str, previous: str | None, messages: Sequence[Message]) -> str:
        """Keep the messages of a turn, after those that `previous` names; the digest (blake2b-256, hex) that names the
        transcript so far. The same again gives the same."""
        ...

    async def load(self, session_id: str, digest: str) -> tuple[Message, ...]:
        """The transcript of that digest, oldest first. Raises `FileNotFoundError` if a part of it is gone."""
        ...

    async def exists(self, session_id: str, digest: str) -> bool: ...
