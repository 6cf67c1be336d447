"""Who waits for a row of the read models to change: woken when events of its aggregate were applied."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from domain.envelope import Stored

Aggregate = tuple[str, str]
"""Kind and id."""


class Changes:
    """Used from the event loop only. Applying events costs nothing while nobody waits."""

    def __init__(self) -> None:
        self._waiting: Final[dict[Aggregate, set[asyncio.Event]]] = {}

    def applied(self, batch: Iterable[Stored]) -> None:
        """The read models reflect these entries."""
        if not self._waiting:
            return
        for stored in batch:
            # tower.evt.{node}.{kind}.{id}.{event}
            parts = stored.subject.split(".")
            if len(parts) == 6:
                for event in self._waiting.get((parts[3], parts[4]), ()):
                    event.set()

    def waited_for(self, aggregate: Aggregate) -> bool:
        return aggregate in self._waiting

    @asynccontextmanager
    async def of(self, aggregate: Aggregate) -> AsyncIterator[asyncio.Event]:
        """Set whenever the aggregate changes, from the begin of the block on: read the row after entering."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(aggregate, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(aggregate, None)
