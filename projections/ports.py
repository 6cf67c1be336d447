"""What the read side needs from the outside, as small Protocols: the log that it follows and the database it fills."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from domain.envelope import Stored

T = TypeVar("T")


class Source(Protocol):
    """The node's events in order. Positions are contiguous from 1, or from where older ones were pruned."""

    async def last_position(self) -> int:
        """0 for an empty log."""
        ...

    def read(self, after: int, until: int | None = None) -> AsyncIterator[Sequence[Stored]]:
        """Entries after `after`, in batches, up to `until` or to what was the end when the call was made."""
        ...

    def follow(self, after: int) -> AsyncIterator[Sequence[Stored]]:
        """Entries after `after` as they come, for ever, in batches of what has arrived."""
        ...


@asynccontextmanager
async def closing(batches: AsyncIterator[Sequence[Stored]]) -> AsyncIterator[AsyncIterator[Sequence[Stored]]]:
    """Ends the reading when the block is left, if it is of a kind that can be ended."""
    try:
        yield batches
    finally:
        close = getattr(batches, "aclose", None)
        if close is not None:
            await close()


class DatabaseTrouble(Exception):
    """The database is locked, gone or full, or lacks its tables: no event's fault, so it is tried again."""


class Database(Protocol):
    """Runs blocking work in threads that it owns. Both raise `DatabaseTrouble`, or what the statement itself got wrong
    (`sqlalchemy.exc.DBAPIError`)."""

    async def read(self, work: Callable[[Connection], T], /) -> T:
        """`work` in one read-only transaction that sees one state of the database throughout."""
        ...

    async def write(self, work: Callable[[Connection], T], /) -> T:
        """`work` in one transaction: committed when it returns, rolled back when it raises."""
        ...
