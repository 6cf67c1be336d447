"""Makes panes anew that failed and have the restart policy `on_failure`.

Listens to `pane.restart_scheduled`; sends `pane.remove` and `pane.recreate` as the actor `policy` when the restart is
due. What is open is read from the state: at a start the rest of every wait is taken up again, and a restart that was
cancelled meanwhile, or is half done, is seen as such. The rules are in `domain/layouts/restarts.py`.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog

from domain.envelope import Recorded
from domain.layouts.commands import PaneRecreate, PaneRemove
from domain.layouts.events import PaneRestartGivenUp, PaneRestartScheduled
from domain.layouts.state import Layouts
from domain.messages import POLICY
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock

LONGEST_WAIT_S: Final = 60.0
"""No wait is longer, however far the wall clock was set back meanwhile."""

_log = structlog.get_logger(__name__)


def open_restarts(layouts: Layouts) -> tuple[tuple[str, datetime], ...]:
    """(pane id, due time) of every restart that is to be done, wholly or by half."""
    return tuple(
        (pane.pane_id, pane.restart_due_at)
        for layout in layouts.layouts.values()
        for pane in layouts.present_panes(layout.layout_id)
        if pane.restart_open and pane.restart_due_at is not None
    )


class Restarting:
    """Observer of the writer. `start` with the state after recovery, then `run` owns the waits until cancelled."""

    def __init__(self, *, follow_ups: FollowUps, clock: Clock) -> None:
        self._follow_ups = follow_ups
        self._clock = clock
        self._state = Tower()
        self._waiting: dict[str, datetime] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def waiting(self) -> int:
        """Restarts that are not due yet."""
        return len(self._waiting)

    def start(self, state: Tower) -> None:
        """Take up what was open; from here on events are followed."""
        self._state = state
        for pane_id, due_at in sorted(open_restarts(state.layouts)):
            self._take(pane_id, due_at)

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        for record in recorded:
            match record.event:
                case PaneRestartScheduled() as scheduled:
                    self._take(scheduled.pane_id, scheduled.due_at)
                case PaneRestartGivenUp() as given_up:
                    _log.warning("restarts given up", pane_id=given_up.pane_id, reason=given_up.reason)
                case _:
                    pass

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            for pane_id, due_at in self._waiting.items():
                group.create_task(self._restart(pane_id, due_at))
            await asyncio.Event().wait()

    def _take(self, pane_id: str, due_at: datetime) -> None:
        if pane_id in self._waiting:
            return
        self._waiting[pane_id] = due_at
        if self._group is not None:
            self._group.create_task(self._restart(pane_id, due_at))

    async def _restart(self, pane_id: str, due_at: datetime) -> None:
        wait_s = (due_at - self._clock.now()).total_seconds()
        if wait_s > 0:
            await self._clock.sleep(min(wait_s, LONGEST_WAIT_S))
        del self._waiting[pane_id]
        if not self._state.layouts.panes[pane_id].restart_open:
            return
        _log.info("restarting", pane_id=pane_id)
        # One after the other without a wait between: nobody's command comes in between while the tower lives.
        remove, recreate = PaneRemove(pane_id=pane_id), PaneRecreate(predecessor_pane_id=pane_id)
        self._follow_ups.send(pane_id, "restart:remove", remove, origin=POLICY)
        self._follow_ups.send(pane_id, "restart:recreate", recreate, origin=POLICY)
