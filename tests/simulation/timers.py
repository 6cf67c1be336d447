"""Durable time: schedules that the broker holds, and what fell due and was not acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import msgspec

from domain.messages import SUBJECT_ID
from handlers.ports import Due, TimerError
from tests.simulation.loop import pause
from tests.simulation.wire import Wire

RETRY_S = 0.5


class Schedule(msgspec.Struct):
    payload: bytes
    interval_s: int | None
    timer: asyncio.TimerHandle | None = None


class Board:
    """What the broker holds. While it is down nothing fires: a missed `at` fires when it is back, a tick is lost."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._schedules: dict[str, Schedule] = {}
        self._down = False
        self._missed: list[str] = []
        self.due: list[Due] = []
        self.arrived = asyncio.Event()

    def put(self, name: str, payload: bytes, when: datetime | None, interval_s: int | None) -> None:
        if not all(SUBJECT_ID.match(token) for token in name.split(".")):
            raise ValueError(f"each token of {name!r} must be 1 to 128 characters of A-Z a-z 0-9 _ : -")
        self.cancel(name)
        delay_s = float(interval_s) if interval_s is not None else 0.0
        if when is not None:
            delay_s = max(0.0, (when - self._now()).total_seconds())
        schedule = self._schedules[name] = Schedule(payload, interval_s)
        schedule.timer = asyncio.get_running_loop().call_later(delay_s, self._fire, name)

    def holds(self, name: str) -> bool:
        return name in self._schedules

    def tick(self, name: str) -> bool:
        """Fire a schedule before its time; False if there is none of that name."""
        if name not in self._schedules:
            return False
        self._fire(name)
        return True

    def cancel(self, name: str) -> None:
        schedule = self._schedules.pop(name, None)
        if schedule is not None and schedule.timer is not None:
            schedule.timer.cancel()
        if name in self._missed:
            self._missed.remove(name)

    def stop(self) -> None:
        self._down = True

    def restart(self) -> None:
        self._down = False
        missed, self._missed = self._missed, []
        for name in missed:
            self._fire(name)

    def _fire(self, name: str) -> None:
        schedule = self._schedules[name]
        if schedule.timer is not None:
            schedule.timer.cancel()
        if schedule.interval_s is not None:
            schedule.timer = asyncio.get_running_loop().call_later(schedule.interval_s, self._fire, name)
            if self._down:
                return
        elif self._down:
            self._missed.append(name)
            return
        else:
            del self._schedules[name]
        self.due.append(Due(name, schedule.payload))
        self.arrived.set()


class SimulatedTimers:
    """The `Timers` port."""

    def __init__(self, board: Board, wire: Wire) -> None:
        self._board = board
        self._wire = wire

    async def at(self, name: str, when: datetime, payload: bytes) -> None:
        await self._wire.call("timers.at", lambda: self._board.put(name, payload, when, None), TimerError, detail=name)

    async def every(self, name: str, interval_s: int, payload: bytes) -> None:
        if interval_s < 1:
            raise ValueError("an interval has at least 1 s")
        await self._wire.call(
            "timers.every", lambda: self._board.put(name, payload, None, interval_s), TimerError, detail=name
        )

    async def cancel(self, name: str) -> None:
        await self._wire.call("timers.cancel", lambda: self._board.cancel(name), TimerError, detail=name)

    async def due(self) -> AsyncIterator[Due]:
        while True:
            while not self._board.due:
                self._board.arrived.clear()
                await self._board.arrived.wait()
            try:
                due = await self._wire.call("timers.due", lambda: self._board.due[0], TimerError)
            except (TimerError, IndexError):
                await pause(RETRY_S)
                continue
            yield due
            try:
                await self._wire.call("timers.ack", lambda d=due: self._acknowledge(d), TimerError)
            except TimerError:
                await pause(RETRY_S)  # it comes again

    def _acknowledge(self, due: Due) -> None:
        if due in self._board.due:
            self._board.due.remove(due)
