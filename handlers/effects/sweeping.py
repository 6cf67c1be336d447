"""Fails panes that have been pending for too long: a durable timer fires every 60 s and sends `pane.sweep`."""

from typing import Final

from domain.layouts.commands import PaneSweep
from handlers.inbox import FollowUp, Inbox
from handlers.ports import Ids, Timers

INTERVAL_S: Final = 60
NAME: Final = "sweep"


class Sweeping:
    def __init__(self, *, timers: Timers, inbox: Inbox, ids: Ids) -> None:
        self._timers = timers
        self._inbox = inbox
        self._ids = ids

    async def run(self) -> None:
        """Schedule the sweep (again) and send one command a tick, until cancelled."""
        await self._timers.every(NAME, INTERVAL_S, b"{}")
        async for due in self._timers.due():
            if due.name == NAME:
                self._inbox.submit(FollowUp(id=self._ids.uuid7(), request=PaneSweep()))
