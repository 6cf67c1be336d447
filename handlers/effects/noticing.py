"""Records the events that other systems tell, such as an issue tracker: as `session.emitted`, each once.

Sends `session.record_emitted`. Background sessions hear them as they hear the events of sessions.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from domain.envelope import Recorded
from domain.executions.commands import SessionRecordEmitted
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock
from handlers.trigger_ports import EventSource

BACKOFF_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Waits before a source that failed is begun anew; the last one for ever."""

_log = structlog.get_logger(__name__)


class Noticing:
    """An effect without state: sources keep what is yet to be told. `sources`: how to make each, by its name."""

    def __init__(
        self, *, sources: Mapping[str, Callable[[], EventSource]], follow_ups: FollowUps, clock: Clock
    ) -> None:
        self._sources = sources
        self._follow_ups = follow_ups
        self._clock = clock

    def start(self, state: Tower) -> None:
        pass

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        pass

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name, make in self._sources.items():
                group.create_task(self._keep(name, make), name=name)
            await asyncio.Event().wait()

    async def _keep(self, name: str, make: Callable[[], EventSource]) -> None:
        failures = 0
        while True:
            source = make()
            try:
                async for notice in source.watch():
                    request = SessionRecordEmitted(session_id=name, name=notice.name, data=dict(notice.data))
                    outcome = await self._follow_ups.ask(name, notice.id, request)
                    if outcome["status"] != "accepted":
                        _log.warning("an event is not recorded", source=name, reason=outcome["error"]["message"])
                    if notice.after is not None:
                        await notice.after(outcome)
                    failures = 0
            except Exception as error:  # noqa: BLE001 (whatever it was: the tower goes on, and the source is tried again)
                _log.warning("events of a source are not heard; trying again", source=name, exc_info=error)
            finally:
                await source.stop()
            await self._clock.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1
