"""Lets sessions take their turns: one at a time in a session, sessions beside each other.

Listens to the events of sessions; sends `session.record_turn_*`. A turn begins once the log says so, and its transcript
is kept before the log has its end. At a start every session is as the log says: instructions that wait go on, a turn
that had begun in an earlier tower is told as lost and never begun again. A runtime is made when it is first needed, is
kept while its session rests, and closed when the session ends, badly or on purpose.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from domain.envelope import Recorded
from domain.messages import Event, Request
from domain.sessions import commands as sc
from domain.sessions import events as se
from domain.sessions.events import SessionState
from domain.sessions.messages import Message
from domain.sessions.state import Instruction, Session, next_turn
from domain.tower import Tower
from handlers.effects import turns
from handlers.effects.ends import NO_OUTPUT, encodable
from handlers.effects.follow_ups import FollowUps
from handlers.execution_ports import Blobs, OutputLog, between_executions
from handlers.plans import Plans, StoredPlan
from handlers.ports import Clock
from handlers.session_ports import (
    RUNTIME_LOST,
    Runtime,
    RuntimeFailed,
    Runtimes,
    SessionStorage,
    Turn,
    TurnResult,
    TurnState,
)

RESTING: Final = 16
"""Runtimes of sessions that rest which are kept; the one that rests longest is closed when there are more."""

CLOSE_S: Final = 8.0
"""How long the end of the tower waits for its runtimes to end."""

_log = structlog.get_logger(__name__)


class Desk:
    """The place of one session. `busy`: a turn is under way or being prepared."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.busy = False
        self.executing = False
        self.runtime: Runtime | None = None
        self.before: tuple[Message, ...] = ()
        self.said: tuple[Message, ...] = ()


class Sessions:
    """Observer of the writer. `start` with the state after recovery, then `run` owns what is under way."""

    def __init__(
        self,
        *,
        runtimes: Runtimes,
        storage: SessionStorage,
        output: OutputLog,
        blobs: Blobs,
        plans: Plans,
        follow_ups: FollowUps,
        clock: Clock,
    ) -> None:
        self._runtimes = runtimes
        self._storage = storage
        self._output = output
        self._blobs = blobs
        self._plans = plans
        self._follow_ups = follow_ups
        self._clock = clock
        self._state = Tower()
        self._desks: dict[str, Desk] = {}
        self._group: asyncio.TaskGroup | None = None
        self._stopping = False
        self._rested = asyncio.Event()

    @property
    def under_way(self) -> int:
        """Turns."""
        return sum(desk.busy for desk in self._desks.values())

    def start(self, state: Tower) -> None:
        self._state = state

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for session_id in sorted(self._state.sessions.active, key=self._state.sessions.active.__getitem__):
                    self._take_up(self._state.sessions.known[session_id])
                try:
                    await asyncio.Event().wait()
                finally:
                    self._stopping, self._group = True, None
        finally:
            await self._close_all()

    async def idle(self) -> None:
        """Nothing new begins; until what is under way has ended."""
        self._stopping = True
        while self.under_way:
            self._rested.clear()
            await self._rested.wait()

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        if self._group is None:
            return
        for record in recorded:
            if record.envelope.kind == "session":
                self._follow(record.event)

    def _follow(self, event: Event) -> None:
        match event:
            case se.SessionInstructed() | se.SessionResumed():
                self._take(event.session_id)
            case se.SessionStopRequested():
                desk = self._desks.get(event.session_id)
                if desk is not None and desk.executing and desk.runtime is not None:
                    self._own(self._stop(desk.runtime))
            case se.SessionCancelled() | se.SessionTimedOut() | se.SessionEnded():
                self._leave(event.session_id)
            case _:
                pass

    def _take_up(self, session: Session) -> None:
        """As an earlier tower left it."""
        if session.state is SessionState.RUNNING and session.running is not None:
            turn = session.running.turn
            lost = sc.SessionRecordTurnLost(session_id=session.session_id, turn=turn)
            self._follow_ups.send(session.session_id, f"turn:{turn}:lost", lost)
        else:
            self._take(session.session_id)

    # --- whose turn it is ------------------------------------------------------------------------------------------

    def _take(self, session_id: str) -> None:
        if self._stopping or next_turn(session_id, self._state.sessions) is None:
            return
        desk = self._desks.setdefault(session_id, Desk(session_id))
        if not desk.busy:
            desk.busy = True
            self._own(self._work(desk))

    async def _work(self, desk: Desk) -> None:
        """Turn after turn, until none waits."""
        try:
            while not self._stopping:
                first = next_turn(desk.session_id, self._state.sessions)
                if first is None or not await self._turn(desk, first):
                    return
        finally:
            desk.busy = False
            self._rested.set()
            self._tidy(desk)

    def _tidy(self, desk: Desk) -> None:
        """A session that has ended leaves; of those that rest, the newest keep their runtimes."""
        session = self._state.sessions.known.get(desk.session_id)
        if session is None or session.state in (SessionState.CANCELLED, SessionState.TIMED_OUT):
            self._leave(desk.session_id)
            return
        # Last in the order of rest.
        self._desks[desk.session_id] = self._desks.pop(desk.session_id, desk)
        resting = [each for each in self._desks.values() if not each.busy]
        for each in resting[: max(0, len(resting) - RESTING)]:
            self._leave(each.session_id)
        if next_turn(desk.session_id, self._state.sessions) is not None:
            self._take(desk.session_id)

    def _leave(self, session_id: str) -> None:
        """Nothing of a session that has a turn under way: that ends first."""
        desk = self._desks.get(session_id)
        known = self._state.sessions.known.get(session_id)
        if desk is None or desk.busy or (known is not None and known.active):
            return
        del self._desks[session_id]
        if desk.runtime is not None and self._group is not None:
            self._own(self._close(session_id, desk.runtime))

    # --- one turn --------------------------------------------------------------------------------------------------

    async def _turn(self, desk: Desk, first: Instruction) -> bool:
        """Whether the log took it: false if it was not its turn any more."""
        fresh = desk.runtime is None
        problem = await self._ready(desk, self._state.sessions.known[desk.session_id])
        started = sc.SessionRecordTurnStarted(
            session_id=desk.session_id, turn=first.turn, restarted=fresh and first.turn > 1
        )
        outcome = await self._tell(desk, f"turn:{first.turn}:started", started)
        if outcome["status"] != "accepted" or not outcome["result"].get("recorded", True):
            return False
        try:
            ended = await self._take_turn(desk, first, problem)
        except Exception as error:  # noqa: BLE001 (whatever it was, nobody may wait for this end for ever)
            _log.exception("a turn could not be taken", session_id=desk.session_id, turn=first.turn)
            ended = _plain(desk, first, f"{type(error).__name__}: the tower's log says why")
        outcome = await self._tell(desk, f"turn:{first.turn}:ended", ended)
        if outcome["status"] != "accepted":
            code = outcome["error"]["code"]
            _log.error("the end of a turn is not recorded", session_id=desk.session_id, code=code)
            plain = _plain(desk, first, f"its end could not be recorded: {code}")
            await self._tell(desk, f"turn:{first.turn}:ended:plain", plain)
        return True

    async def _ready(self, desk: Desk, session: Session) -> TurnResult | None:
        """Have a runtime; the end of the turn, if there cannot be one."""
        if desk.runtime is not None:
            return None
        try:
            opening = await turns.opening_of(session, self._plans, self._blobs, self._storage)
            desk.runtime = await self._started(session, opening.plan)
        except RuntimeFailed as error:
            result = turns.failed(error.type, str(error))
        except OSError as error:
            result = turns.failed("plan_unavailable", str(error))
        except Exception as error:  # noqa: BLE001 (one bad runtime must end neither the tower nor the other sessions)
            _log.exception("a runtime could not be started", session_id=desk.session_id, runtime=session.runtime)
            result = turns.failed("internal", f"{type(error).__name__}: the tower's log says why")
        else:
            desk.before, desk.said = opening.before, opening.said
            return None
        return result

    async def _started(self, session: Session, plan: StoredPlan) -> Runtime:
        runtime = self._runtimes.make(session.runtime)
        try:
            await runtime.start(turns.spec_of(session, plan))
        except BaseException:
            await self._close(session.session_id, runtime)
            raise
        return runtime

    async def _take_turn(self, desk: Desk, first: Instruction, problem: TurnResult | None) -> sc.SessionRecordTurnEnded:
        """Its output is in the stream, and its transcript on the disk, before its end is in the log."""
        began = self._clock.monotonic()
        text, result, written = first.text or "", problem, NO_OUTPUT
        if result is None and desk.runtime is not None:
            text = await turns.text_of(first, self._blobs)
            result = await self._execute(desk, desk.runtime, first.turn, text)
            written = await self._output.finish(between_executions(desk.session_id), first.turn)
        assert result is not None
        if result.error is not None and result.error.type in RUNTIME_LOST:
            await self._drop(desk)
        said = turns.said_in(text, result)
        session, digest = self._state.sessions.known[desk.session_id], None
        if said:
            digest = await self._storage.save(desk.session_id, session.transcript_digest, said)
            desk.said = (*desk.said, *said)
        took_s = self._clock.monotonic() - began
        return await turns.report(
            desk.session_id, first.turn, result, self._blobs, written=written, took_s=took_s, digest=digest
        )

    async def _execute(self, desk: Desk, runtime: Runtime, turn: int, text: str) -> TurnResult:
        """Nothing of it, if it is to be stopped by now."""
        session = self._state.sessions.known[desk.session_id]
        if session.stop is not None:
            return turns.NOT_STARTED
        source = between_executions(desk.session_id)

        async def output(piece: str) -> None:
            await self._output.write(source, turn, "stdout", encodable(piece))

        given = Turn(turn=turn, instruction=text, context=(*desk.before, *desk.said), timeout_s=self._left_s(session))
        desk.executing = True
        try:
            return await runtime.execute(given, output)
        finally:
            desk.executing = False

    def _left_s(self, session: Session) -> float | None:
        if session.deadline is None:
            return None
        return max(0.001, (session.deadline - self._clock.now()).total_seconds())

    # --- ends ------------------------------------------------------------------------------------------------------

    async def _stop(self, runtime: Runtime) -> None:
        await runtime.cancel()

    async def _drop(self, desk: Desk) -> None:
        """The runtime is no good any more: the next turn has a new one."""
        runtime, desk.runtime = desk.runtime, None
        if runtime is not None:
            await self._close(desk.session_id, runtime)

    async def _close(self, session_id: str, runtime: Runtime) -> None:
        try:
            await runtime.close()
        except Exception:  # noqa: BLE001 (one that does not end must not end the tower)
            _log.exception("a runtime could not be closed", session_id=session_id)

    async def _close_all(self) -> None:
        open_ = [(desk.session_id, desk.runtime) for desk in self._desks.values() if desk.runtime is not None]
        self._desks.clear()
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(self._close(session_id, runtime) for session_id, runtime in open_))
        except TimeoutError:
            _log.warning("runtimes did not end in time", runtimes=len(open_))

    async def _tell(self, desk: Desk, step: str, request: Request) -> dict[str, Any]:
        return await self._follow_ups.ask(desk.session_id, step, request, because_of=desk.session_id)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            # The tower ends.
            work.close()
        else:
            self._group.create_task(work)


def _plain(desk: Desk, first: Instruction, message: str) -> sc.SessionRecordTurnEnded:
    return sc.SessionRecordTurnEnded(
        session_id=desk.session_id,
        turn=first.turn,
        state=TurnState.FAILED.value,
        error=turns.failure("internal", message),
    )
