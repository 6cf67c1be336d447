"""Fails panes that have been pending for too long: a durable timer fires every 60 s and sends `pane.sweep`.

Housekeeping is done at the same time.
"""

from typing import Final

import structlog

from domain.layouts.commands import PaneSweep
from handlers.effects.housekeeping import Housekeeping
from handlers.inbox import FollowUp, Inbox
from handlers.ports import Clock, Due, Ids, TimerError, Timers

INTERVAL_S: Final = 60
NAME: Final = "sweep"

RETRY_S: Final = 5.0
"""Wait after a schedule that the broker did not take."""

_log = structlog.get_logger(__name__)


class Sweeping:
    def __init__(self, *, timers: Timers, inbox: Inbox, ids: Ids, clock: Clock, housekeeping: Housekeeping) -> None:
        self._timers = timers
        self._inbox = inbox
        self._ids = ids
        self._clock = clock
        self._housekeeping = housekeeping

    async def take(self, _due: Due) -> None:
        """At each tick: one command."""
        self._inbox.submit(FollowUp(id=self._ids.uuid7(), request=PaneSweep()))
        await self._housekeeping.tidy()

    async def schedule(self) -> None:
        while True:
            try:
                return await self._timers.every(NAME, INTERVAL_S, b"{}")
            except TimerError as error:
                _log.warning("the sweep is not scheduled; trying again", reason=str(error))
                await self._clock.sleep(RETRY_S)
