"""What both engines can do, the local one and the one behind a broker: code that has one need not know which."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol

import msgspec

from adapters.executing.outcomes import Outcome
from adapters.executing.output import Chunk

WhenBusy = Literal["queue", "reject"]
Strategy = Literal["overwrite", "preserve", "smart"]
Transaction = Literal["commit_always", "rollback_on_failure", "rollback_always"]

OnOutput = Callable[[Chunk], Awaitable[None]]
"""Chunks in order; all of an execution's own before its end is told."""

INPUT_S = 300.0
"""How long an answer is waited for when code names no time."""


class WorkerBusy(Exception):
    """Another execution runs (`when_busy: reject`), or too many wait."""


class NotAsking(Exception):
    """There is no question to answer."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """`input()`, a line of `sys.stdin`, `getpass` (`secret`) or `tower.input`. `n` counts from 1 in an execution."""

    execution_id: str | None
    n: int
    prompt: str
    secret: bool = False
    choices: tuple[str, ...] | None = None


OnQuestion = Callable[[Question], Awaitable[None]]
"""Told once for each question; it is answered by `Engine.answer`, now or later."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`reference`: what `restore` takes. `digest`: blake2b-256 of its content, hex. `unsaved`: name -> why not."""

    reference: str
    digest: str
    names: tuple[str, ...]
    unsaved: Mapping[str, str] = {}
    function_count: int = 0
    class_count: int = 0
    checkpoint_size: int = 0


class Engine(Protocol):
    """One session: a namespace that lives on from one execution to the next."""

    async def execute(
        self,
        code: str,
        *,
        execution_id: str | None = None,
        timeout: float | None = None,
        when_busy: WhenBusy = "queue",
        transaction: Transaction = "commit_always",
    ) -> Outcome:
        """Its end, whatever it is. `timeout` in seconds. Raises `WorkerBusy` with `when_busy="reject"`."""
        ...

    async def cancel(self, execution_id: str, *, scope: Literal["execution", "session"] = "execution") -> bool:
        """Stop it, or take it out of the queue; False for one that is over or unknown."""
        ...

    async def answer(self, execution_id: str | None, value: str | None) -> None:
        """The oldest open question of an execution; None for the end of input. Raises `NotAsking`."""
        ...

    async def checkpoint(self, *, verify: bool = False) -> Checkpoint:
        """Save the names; a worker that replaces a dead one starts with them. Raises `WorkerFailed`."""
        ...

    async def restore(
        self, reference: str, *, strategy: Strategy = "overwrite", clear_existing: bool = False
    ) -> tuple[str, ...]:
        """Merge the names of a checkpoint; those that were set. Raises `WorkerFailed`."""
        ...
