"""Lets the timers of background sessions tick.

Listens to the events of background sessions; sends `trigger.record_fired`. When the next tick of a timer is due follows
from the state (`domain/background/timers.py`), so that a tick is recorded once whoever finds it due, and when. Its time
is a schedule of the broker's; a wait under 1 s is timed in this process, and its schedule is the belt.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog

from domain.background import events as e
from domain.background import timers
from domain.background.commands import TriggerRecordFired
from domain.background.definition import TIMER
from domain.background.firing import trigger_id
from domain.envelope import Recorded
from domain.tower import Tower
from handlers.effects import dues
from handlers.effects.dues import Taker
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock, Due, Timers

NAME: Final = "tick"

SHORT_S: Final = 1.0
"""Waits below this are timed here: the broker's clock may be 0.3 s late."""

_log = structlog.get_logger(__name__)


class Ticking:
    """Observer of the writer. `start` with the state after recovery, then `run` owns the waits until cancelled."""

    def __init__(self, *, timers: Timers, follow_ups: FollowUps, clock: Clock) -> None:
        self._timers = timers
        self._follow_ups = follow_ups
        self._clock = clock
        self._state = Tower()
        self._group: asyncio.TaskGroup | None = None
        self._due: dict[str, datetime] = {}
        """Schedule -> when its tick is due."""
        self._of: dict[str, set[str]] = {}
        """Background session -> its schedules."""
        self._changed: set[str] = set()
        self._arrived = asyncio.Event()
        self._ticking: set[str] = set()
        self._room: dict[str, asyncio.Event] = {}

    @property
    def takers(self) -> Mapping[str, Taker]:
        """Of the schedules that are made here."""
        return {NAME: self._take}

    @property
    def waiting(self) -> int:
        return len(self._due)

    def start(self, state: Tower) -> None:
        self._state = state
        for background_id in state.backgrounds.known:
            self._look(background_id)

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        changed: set[str] = set()
        for record in recorded:
            match record.event:
                case (
                    e.BackgroundRunStarted()
                    | e.BackgroundRunEnded()
                    | e.BackgroundRunning()
                    | e.TriggerDropped() as told
                ):
                    self._make_room(told.background_id)
                case e.TriggerTold(background_id=background_id, type=type_):
                    self._make_room(background_id)
                    if type_ == TIMER:
                        changed.add(background_id)
                case e.BackgroundEvent(background_id=background_id):
                    self._make_room(background_id)
                    changed.add(background_id)
                case _:
                    pass
        for background_id in changed:
            self._look(background_id)

    def _make_room(self, background_id: str) -> None:
        if background_id in self._room:
            self._room[background_id].set()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    await self._arrived.wait()
                    self._arrived.clear()
                    changed, self._changed = self._changed, set()
                    for name in changed:
                        await self._write(name)
        finally:
            self._group = None

    def _look(self, background_id: str) -> None:
        """What its timers wait for now."""
        there = self._state.backgrounds.known.get(background_id)
        found: dict[str, datetime] = {}
        if there is not None:
            for place, schedule in timers.timers_of(there):
                due = timers.due_of(there, place, schedule, self._clock.now())
                if due is not None:
                    found[f"{NAME}.{background_id}.{place}"] = due
        before = self._of.pop(background_id, set())
        if found:
            self._of[background_id] = set(found)
        for name in before - found.keys():
            del self._due[name]
            self._changed.add(name)
        for name, due in found.items():
            if self._due.get(name) != due:
                self._due[name] = due
                self._changed.add(name)
        if self._changed:
            self._arrived.set()

    async def _take(self, due: Due) -> None:
        """Of a schedule that fired."""
        self._fire(due.name)

    async def _write(self, name: str) -> None:
        due = self._due.get(name)
        if due is not None and (due - self._clock.now()).total_seconds() < SHORT_S:
            self._fire(name)
        await dues.schedule(self._timers, self._clock, name, due)

    def _fire(self, name: str) -> None:
        if name in self._due and name not in self._ticking and self._group is not None:
            self._ticking.add(name)
            self._group.create_task(self._tick(name))

    async def _tick(self, name: str) -> None:
        """Wait out what is left, and tell it; again for as long as it is due and there is no room."""
        try:
            self._look(name.split(".")[1])
            while (due := self._due.get(name)) is not None:
                wait_s = (due - self._clock.now()).total_seconds()
                if wait_s > SHORT_S:
                    # It came too early, or was put off: its schedule comes again.
                    return
                if wait_s > 0:
                    await self._clock.sleep(wait_s)
                elif not await self._told(name, due):
                    return
        finally:
            self._ticking.discard(name)

    async def _told(self, name: str, due: datetime) -> bool:
        """Whether to look again at once."""
        _, background_id, place = name.split(".")
        there = self._state.backgrounds.known.get(background_id)
        if there is None:
            return False
        schedule = timers.schedule_of(there.definition.triggers[int(place)].config)
        tick = trigger_id("tick", background_id, int(place), due.isoformat())
        request = TriggerRecordFired(
            background_id=background_id,
            trigger=int(place),
            type=TIMER,
            source=schedule.expression or f"every {schedule.interval_s} s",
            timestamp=due,
            data=timers.told(schedule, due),
            trigger_id=tick,
        )
        room = self._room[background_id] = asyncio.Event()
        outcome = await self._follow_ups.ask(background_id, f"tick:{tick}", request, because_of=background_id)
        if outcome["status"] != "accepted" and outcome["error"]["code"] == "tower_busy":
            await room.wait()
        elif self._due.get(name) == due:
            # The next event of its background session has it looked at again.
            _log.error("a tick was not recorded", name=name, outcome=outcome)
            return False
        return True
