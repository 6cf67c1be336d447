"""Deletes what nobody needs any more: texts that nobody waits for, logs of panes removed long ago, old values.

Done at each tick of the sweep. What could not be deleted is tried again at the next one.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from domain.layouts.state import PaneState
from domain.tower import Tower
from handlers.execution_ports import Blobs
from handlers.ports import Clock, PaneLogs, Texts

TEXT_GRACE: Final = timedelta(minutes=10)
"""Age of a text that no open sending names: its command was refused, or its event never recorded."""

BLOB_KEPT: Final = timedelta(days=7)
"""Age of a large value, of a checkpoint that is none of the last of its session, of the plan of a session that has
ended: as long as output is kept."""

_log = structlog.get_logger(__name__)


class Housekeeping:
    """`state` gives the state as the writer has it now."""

    def __init__(self, *, texts: Texts, logs: PaneLogs, blobs: Blobs, clock: Clock, state: Callable[[], Tower]) -> None:
        self._texts = texts
        self._logs = logs
        self._blobs = blobs
        self._clock = clock
        self._state = state

    async def tidy(self) -> None:
        state, now = self._state(), self._clock.now()
        wanted = frozenset(send.digest for send in state.sends.open.values()) | state.executions.texts
        panes = state.layouts.panes

        def removed(pane_id: str) -> bool:
            pane = panes.get(pane_id)
            return pane is not None and pane.state is PaneState.REMOVED

        try:
            await self._texts.prune(wanted, now - TEXT_GRACE)
            await self._logs.prune(removed, now)
            await self._blobs.prune(state.executions.digests | state.sessions.digests, now - BLOB_KEPT)
        except OSError as error:
            _log.error("old files cannot be deleted; trying again at the next sweep", reason=str(error))
