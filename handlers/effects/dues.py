"""What is to fall due by the broker's clock, and what did, handed to whoever scheduled it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final

import structlog

from handlers.ports import Clock, Due, TimerError, Timers

Taker = Callable[[Due], Awaitable[None]]

RETRY_S: Final = 5.0
"""Wait after a schedule that the broker did not take."""

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


async def schedule(timers: Timers, clock: Clock, name: str, due: datetime | None) -> None:
    """Until the broker has it; None takes it away."""
    while True:
        try:
            if due is None:
                await timers.cancel(name)
            else:
                await timers.at(name, due, b"{}")
            return
        except TimerError as error:
            _log.warning("it is not scheduled; trying again", name=name, reason=str(error))
            await clock.sleep(RETRY_S)
