"""What fell due by the broker's clock, handed to whoever scheduled it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from handlers.ports import Due, Timers

Taker = Callable[[Due], Awaitable[None]]

_log: Final = structlog.get_logger(__name__)


class Dues:
    """`takers`: by the first token of a schedule's name."""

    def __init__(self, *, timers: Timers, takers: Mapping[str, Taker]) -> None:
        self._timers = timers
        self._takers = takers

    async def run(self) -> None:
        async for due in self._timers.due():
            taker = self._takers.get(due.name.partition(".")[0])
            if taker is not None:
                await taker(due)
