"""Ends the waits that have a time: promises with a deadline, executions that are to run again, sessions with a limit.

Listens to the events of promises, executions and sessions; sends `promise.expire`, `execution.record_retry_due` and
`session.record_timed_out`. The time is a
schedule of the broker's, so that it is kept over restarts; a wait under 1 s is timed in this process, and its schedule
is the belt. A start schedules again whatever is open: two streams cannot be one batch.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from domain.envelope import Recorded
from domain.executions import commands as ec
from domain.executions import events as ee
from domain.messages import Request
from domain.promises import PromiseCreated, PromiseEvent, PromiseExpire
from domain.sessions import commands as sc
from domain.sessions import events as se
from domain.tower import Tower
from handlers.effects import dues
from handlers.effects.dues import Taker
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock, Due, Timers

SHORT_S: Final = 1.0
"""Waits below this are timed here: the broker's clock may be 0.3 s late."""


class Deadline(msgspec.Struct, frozen=True):
    """`name` of its schedule: `promise.{id}`, `retry.{execution id}` or `session.{id}`."""

    name: str
    due: datetime


def open_deadlines(state: Tower) -> tuple[Deadline, ...]:
    """All that wait for a time."""
    promises = [Deadline(f"promise.{each}", due) for each, due in state.promises.deadlines.items()]
    retries = [
        Deadline(f"retry.{each.execution_id}", each.due)
        for each in state.executions.open.values()
        if each.due is not None
    ]
    limited = [
        Deadline(f"session.{session_id}", due)
        for session_id in state.sessions.active
        if (due := state.sessions.known[session_id].deadline) is not None
    ]
    return (*promises, *retries, *limited)


class Deadlines:
    """Observer of the writer. `start` with the state after recovery, then `run` owns the waits until cancelled."""

    def __init__(self, *, timers: Timers, follow_ups: FollowUps, clock: Clock) -> None:
        self._timers = timers
        self._follow_ups = follow_ups
        self._clock = clock
        self._state = Tower()
        self._changed: dict[str, datetime | None] = {}
        self._arrived = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._scheduled: set[str] = set()

    @property
    def takers(self) -> Mapping[str, Taker]:
        """Of the schedules that are made here."""
        return {"promise": self._take, "retry": self._take, "session": self._take}

    @property
    def waiting(self) -> int:
        return len(self._scheduled)

    def start(self, state: Tower) -> None:
        self._state = state
        for deadline in open_deadlines(state):
            self._set(deadline.name, deadline.due)

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        for record in recorded:
            match record.event:
                case PromiseCreated(promise_id=promise_id, deadline=datetime() as deadline):
                    self._set(f"promise.{promise_id}", deadline)
                case PromiseEvent(promise_id=promise_id):
                    self._clear(f"promise.{promise_id}")
                case ee.ExecutionRetryScheduled(execution_id=execution_id, due=datetime() as due):
                    self._set(f"retry.{execution_id}", due)
                case ee.ExecutionResumed(execution_id=execution_id) | ee.ExecutionCancelled(execution_id=execution_id):
                    self._clear(f"retry.{execution_id}")
                case se.SessionSpawned(session_id=session_id, deadline=datetime() as deadline):
                    self._set(f"session.{session_id}", deadline)
                case se.SessionResumed(session_id=session_id, reason="asked", deadline=datetime() as deadline):
                    self._set(f"session.{session_id}", deadline)
                case se.SessionCompleted() | se.SessionError() | se.SessionCancelled() | se.SessionTimedOut() as over:
                    self._clear(f"session.{over.session_id}")
                case _:
                    pass

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                changed, self._changed = self._changed, {}
                for name, due in changed.items():
                    await self._write(name, due)

    async def _take(self, due: Due) -> None:
        """Of a schedule that fired."""
        self._fire(due.name)

    def _set(self, name: str, due: datetime) -> None:
        self._scheduled.add(name)
        self._changed[name] = due
        self._arrived.set()

    def _clear(self, name: str) -> None:
        if name not in self._scheduled:
            return
        self._scheduled.discard(name)
        if self._changed.get(name) is not None:
            # Never written: most are settled before that.
            del self._changed[name]
            return
        self._changed[name] = None
        self._arrived.set()

    async def _write(self, name: str, due: datetime | None) -> None:
        assert self._group is not None
        if due is not None and (due - self._clock.now()).total_seconds() < SHORT_S:
            self._group.create_task(self._wait(name, due))
        await dues.schedule(self._timers, self._clock, name, due)

    async def _wait(self, name: str, due: datetime) -> None:
        wait_s = (due - self._clock.now()).total_seconds()
        if wait_s > 0:
            await self._clock.sleep(min(wait_s, SHORT_S))
        self._fire(name)

    def _fire(self, name: str) -> None:
        """Nothing for what is over; what came too early by our clock is waited for here."""
        due = self._due(name)
        if due is None:
            return
        if self._clock.now() < due:
            if self._group is None:
                # Not begun yet, or no more: its schedule is written again.
                self._set(name, due)
            else:
                self._group.create_task(self._wait(name, due))
            return
        subject_id, step, request = self._told(name)
        self._follow_ups.send(subject_id, step, request)

    def _due(self, name: str) -> datetime | None:
        """When it is due, by the state; None if it is over."""
        kind, _, subject_id = name.partition(".")
        if kind == "promise":
            return self._state.promises.deadlines.get(subject_id)
        if kind == "session":
            session = self._state.sessions.known.get(subject_id)
            return None if session is None or not session.active else session.deadline
        execution = self._state.executions.open.get(subject_id)
        return None if execution is None else execution.due

    def _told(self, name: str) -> tuple[str, str, Request]:
        kind, _, subject_id = name.partition(".")
        if kind == "promise":
            return subject_id, "expire", PromiseExpire(id=subject_id)
        if kind == "session":
            due = self._state.sessions.known[subject_id].deadline
            return subject_id, f"late:{due}", sc.SessionRecordTimedOut(session_id=subject_id)
        attempt = self._state.executions.open[subject_id].attempt + 1
        return subject_id, f"retry:{attempt}", ec.ExecutionRecordRetryDue(execution_id=subject_id, attempt=attempt)
