"""Lets background sessions run: a session for each firing that was taken, and restarts when they are due.

Listens to the events of background sessions and to the outcomes of their runs' sessions; sends `session.spawn`,
`background.record_run_ended` and `background.record_restart_due`. Which firing runs is decided with the firing, or with
the end of the run before it (`domain/background/firing.py`). At a start every open run is as the log says: one without
a session is spawned, one whose session has an outcome is ended, the others are waited for.
"""

import asyncio
import itertools
import posixpath
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from domain.background import commands as c
from domain.background import events as e
from domain.background.instructions import instruction
from domain.background.state import Background, Run
from domain.envelope import Recorded
from domain.sessions.commands import SessionSpawn
from domain.sessions.events import SessionEvent
from domain.sessions.state import exists
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock

BUSY_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Waits before a spawn for which there was no room, or whose bundle is not prepared yet, is asked for again; the last
one for ever."""

LONGEST_WAIT_S: Final = 60.0
"""No wait for a restart is longer before the clock is looked at again."""

ORPHANED: Final = ("session_ended", "session_not_found")
"""Why a run cannot be spawned below its parent any more."""

_log = structlog.get_logger(__name__)


class BackgroundRuns:
    """Observer of the writer. `start` with the state after recovery, then `run` owns what is under way."""

    def __init__(self, *, follow_ups: FollowUps, clock: Clock) -> None:
        self._follow_ups = follow_ups
        self._clock = clock
        self._state = Tower()
        self._group: asyncio.TaskGroup | None = None
        self._spawning: set[str] = set()

    @property
    def under_way(self) -> int:
        """Runs that have no end yet."""
        return len(self._state.backgrounds.runs)

    def start(self, state: Tower) -> None:
        self._state = state

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for there in sorted(self._state.backgrounds.known.values(), key=lambda each: each.number):
                    self._take_up(there)
                await asyncio.Event().wait()
            finally:
                self._group = None

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        if self._group is None:
            return
        for record in recorded:
            match record.event:
                case e.BackgroundRunStarted(background_id=background_id, session_id=session_id):
                    self._open(background_id, session_id)
                case e.BackgroundFailed(background_id=background_id, restart_at=datetime() as restart_at):
                    _log.warning("a background session failed", background_id=background_id, error=record.event.error)
                    self._own(self._restart(background_id, restart_at))
                case SessionEvent(session_id=session_id) if session_id in state.backgrounds.runs:
                    self._end(session_id)
                case _:
                    pass

    def _take_up(self, there: Background) -> None:
        """As an earlier tower left it."""
        for run in sorted(there.running.values(), key=lambda run: run.trigger_count):
            self._open(there.background_id, run.session_id)
        if there.state is e.BackgroundState.FAILED and there.restart_at is not None:
            self._own(self._restart(there.background_id, there.restart_at))

    # --- one run ---------------------------------------------------------------------------------------------------

    def _open(self, background_id: str, session_id: str) -> None:
        run = self._state.backgrounds.run_of(session_id)
        if run is None or session_id in self._spawning:
            return
        if run.outcome is not None:
            self._end(session_id)
        elif not exists(session_id, self._state.sessions):
            self._spawning.add(session_id)
            self._own(self._spawn(background_id, run))

    async def _spawn(self, background_id: str, run: Run) -> None:
        """The session is there, or the run has failed without one."""
        try:
            there = self._state.backgrounds.known[background_id]
            parent = there.parent_session_id
            if parent is not None and parent not in self._state.sessions.known:
                parent = None
            request = _request(there, run, parent)
            error = await self._asked(background_id, run, "spawn", request)
            if error is not None and error["code"] in ORPHANED and parent is not None:
                alone = _request(there, run, None)
                error = await self._asked(background_id, run, "spawn:alone", alone)
            if error is None or error["code"] == "session_exists":
                return
            _log.warning("a run has no session", background_id=background_id, code=error["code"])
            failure = c.BackgroundFailure(error=error["message"], error_type=error["code"])
            self._told(background_id, run, failure)
        finally:
            self._spawning.discard(run.session_id)

    async def _asked(self, background_id: str, run: Run, step: str, request: SessionSpawn) -> dict[str, Any] | None:
        """Why not; None if it was spawned. Asked again for as long as there is no room."""
        waits = itertools.chain(BUSY_S, itertools.repeat(BUSY_S[-1]))
        while True:
            outcome = await self._follow_ups.ask(run.session_id, step, request, because_of=background_id)
            if outcome["status"] == "accepted":
                return None
            if outcome["error"]["code"] != "tower_busy":
                return outcome["error"]
            await self._clock.sleep(next(waits))

    def _end(self, session_id: str) -> None:
        backgrounds = self._state.backgrounds
        run = backgrounds.run_of(session_id)
        if run is not None and run.outcome is not None:
            self._told(run.fired.background_id, run, None)

    def _told(self, background_id: str, run: Run, failure: c.BackgroundFailure | None) -> None:
        ended = c.BackgroundRecordRunEnded(
            background_id=background_id, trigger_id=run.fired.trigger_id, attempt=run.attempt, failure=failure
        )
        self._follow_ups.send(run.session_id, "run:ended", ended)

    # --- restarts --------------------------------------------------------------------------------------------------

    async def _restart(self, background_id: str, restart_at: datetime) -> None:
        """Nothing of what somebody did in its place meanwhile."""
        while True:
            there = self._state.backgrounds.known.get(background_id)
            if there is None or there.restart_at != restart_at:
                return
            wait_s = (restart_at - self._clock.now()).total_seconds()
            if wait_s <= 0:
                break
            await self._clock.sleep(min(wait_s, LONGEST_WAIT_S))
        due = c.BackgroundRecordRestartDue(background_id=background_id)
        self._follow_ups.send(background_id, f"restart:{restart_at.isoformat()}", due)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._group is not None
        self._group.create_task(work)


def _request(there: Background, run: Run, parent: str | None) -> SessionSpawn:
    definition = there.definition
    return SessionSpawn(
        bundle=bundle_of(definition.bundle, there.folder),
        instruction=instruction(definition.instruction, run.fired, run.trigger_count).text,
        session_id=run.session_id,
        session_name=run.session_name,
        parent_session_id=parent,
        timeout=definition.timeout,
        background=True,
    )


def bundle_of(reference: str, folder: str) -> str:
    """A relative path is meant from the folder of whoever declares it; names and URIs stay as they are."""
    relative = ":" not in reference and not reference.startswith(("/", "~")) and "/" in reference
    return posixpath.normpath(posixpath.join(folder, reference)) if relative and folder else reference
