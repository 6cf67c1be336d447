"""Runs executions, each in the worker of its session.

Listens to the events of executions, sessions and promises; sends `execution.record_*`. Who may start is the domain's
decision: at once when the session's worker waits, else `execution.record_started` is asked for when there is one; code
runs only once `execution.started` is in the log. At a start everything open is taken up: what waited starts, what had
started in an earlier tower is told as lost, and the policy of its request says what becomes of it.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from domain.envelope import Recorded
from domain.executions import commands as ec
from domain.executions import events as ee
from domain.executions.events import ExecutionState
from domain.executions.state import Execution, Work, next_of, startable, startable_after
from domain.messages import Event
from domain.promises import VALUE_BYTES, PromiseEvent
from domain.tower import Tower
from handlers.effects import ends
from handlers.effects.capabilities import Capabilities
from handlers.effects.follow_ups import FollowUps
from handlers.effects.inputs import Inputs
from handlers.effects.namespaces import Namespaces
from handlers.effects.seats import Run, Seat
from handlers.execution_ports import (
    Blobs,
    Failure,
    Job,
    Outcome,
    OutputLog,
    Question,
    State,
    Workers,
)

KINDS: Final = frozenset({"execution", "session", "promise"})

_log = structlog.get_logger(__name__)


class Executing:
    """Observer of the writer. `start` with the state after recovery, then `run` owns what is under way."""

    def __init__(
        self,
        *,
        workers: Workers,
        output: OutputLog,
        blobs: Blobs,
        follow_ups: FollowUps,
        inputs: Inputs,
        capabilities: Capabilities,
        namespaces: Namespaces,
    ) -> None:
        self._workers = workers
        self._output = output
        self._blobs = blobs
        self._follow_ups = follow_ups
        self._inputs = inputs
        self._capabilities = capabilities
        self._namespaces = namespaces
        self._state = Tower()
        self._seats: dict[str, Seat] = {}
        self._asked: set[tuple[str, int]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._stopping = False
        self._ended = asyncio.Event()

    @property
    def under_way(self) -> int:
        """Executions that run, checkpoints and restores that are being made."""
        return len(self._asked) + sum(seat.run is not None or seat.working for seat in self._seats.values())

    def waits(self, session_id: str) -> bool:
        """Whether the session has a worker that could begin at once."""
        seat = self._seats.get(session_id)
        return seat is not None and seat.free and not seat.throwaway and not self._stopping

    def start(self, state: Tower) -> None:
        self._state = state

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            for execution in self._state.executions.open.values():
                if execution.state is ExecutionState.RUNNING:
                    self._lost(execution)
            for turn in startable(self._state.executions):
                self._take(turn)
            await asyncio.Event().wait()

    async def idle(self) -> None:
        """Nothing new starts; until what runs has ended."""
        self._stopping = True
        while self.under_way:
            self._ended.clear()
            await self._ended.wait()

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        if self._group is None:
            return
        turns: dict[str, Execution | Work] = {}
        for record in recorded:
            if record.envelope.kind in KINDS:
                self._follow(record.event)
                for turn in startable_after(record.event, state.executions):
                    turns[turn.turn[2]] = turn
        for turn in turns.values():
            self._take(turn)

    def _follow(self, event: Event) -> None:
        match event:
            case ee.ExecutionStarted():
                self._begin(event)
            case ee.ExecutionCancelRequested():
                seat = self._seats.get(event.session_id)
                if seat is not None and seat.runs(event.execution_id) is not None:
                    self._workers.of(seat.session_id).cancel(event.execution_id, event.scope)
            case ee.ExecutionEnd() | ee.ExecutionRetryScheduled() | ee.ExecutionPaused():
                self._left(event.session_id, event.execution_id)
            case PromiseEvent():
                self._inputs.told(event)
            case _:
                pass

    # --- whose turn it is ------------------------------------------------------------------------------------------

    def _take(self, turn: Execution | Work) -> None:
        """Have a worker ready for it, then begin: a work by itself, an execution when the log has it."""
        seat = self._seats.get(turn.session_id)
        if seat is None:
            throwaway = isinstance(turn, Execution) and turn.throwaway
            seat = self._seats[turn.session_id] = Seat(
                turn.session_id, throwaway=throwaway, output=self._output, ask=self._question, names=self._names
            )
            self._own(self._open(seat))
        if not seat.free or self._stopping:
            return
        if isinstance(turn, Work):
            seat.working = True
            self._own(self._work(seat, turn))
            return
        key = turn.execution_id, turn.attempt + 1
        if key not in self._asked:
            self._asked.add(key)
            request = ec.ExecutionRecordStarted(execution_id=turn.execution_id, attempt=turn.attempt + 1)
            answered = partial(self._answered, seat, key)
            self._follow_ups.send(turn.execution_id, f"started:{turn.attempt + 1}", request, on_outcome=answered)

    def _next(self, seat: Seat) -> None:
        turn = next_of(seat.session_id, self._state.executions)
        if turn is not None:
            self._take(turn)
        elif seat.throwaway and seat.free and not seat.closing:
            self._close(seat)

    def _answered(self, seat: Seat, key: tuple[str, int], payload: bytes) -> None:
        """It has begun by now, or it was not its turn any more."""
        self._asked.discard(key)
        if seat.run is None:
            if msgspec.json.decode(payload)["status"] == "accepted":
                self._next(seat)
            else:
                _log.error("an execution cannot start", execution_id=key[0], outcome=payload.decode()[:1_000])
        self._ended.set()

    async def _open(self, seat: Seat) -> None:
        await self._workers.open(seat.session_id, seat, throwaway=seat.throwaway)
        seat.opened = True
        self._next(seat)

    def _left(self, session_id: str, execution_id: str) -> None:
        """An attempt is over, and the log has it."""
        seat = self._seats.get(session_id)
        if seat is None:
            return
        if seat.runs(execution_id) is not None:
            seat.run = None
        self._ended.set()
        if seat.throwaway and seat.free:
            self._close(seat)

    def _close(self, seat: Seat) -> None:
        """A throw-away session's worker goes with the attempt: the next one has a fresh namespace."""
        seat.closing = True
        self._own(self._leave(seat))

    async def _leave(self, seat: Seat) -> None:
        await self._workers.close(seat.session_id)
        del self._seats[seat.session_id]
        self._next(seat)

    # --- one attempt -----------------------------------------------------------------------------------------------

    def _begin(self, started: ee.ExecutionStarted) -> None:
        seat = self._seats.get(started.session_id)
        execution = self._state.executions.open.get(started.execution_id)
        if execution is None or execution.attempt != started.attempt:
            return
        if seat is None or seat.run is not None:
            self._lost(execution)
            return
        run = seat.run = Run(execution)
        self._own(self._perform(seat, run))

    async def _perform(self, seat: Seat, run: Run) -> None:
        execution = run.execution
        job = Job(
            execution_id=run.execution_id,
            attempt=run.attempt,
            code=execution.code,
            timeout_s=execution.timeout_s,
            transaction=execution.transaction,
        )
        try:
            outcome = await self._workers.of(seat.session_id).execute(job)
            for task in run.answering:
                task.cancel()
            ended = await self._told(run, outcome)
        except Exception as error:  # noqa: BLE001 (whatever it was, nobody may wait for this end for ever)
            _log.exception("an execution could not be run", execution_id=run.execution_id)
            ended = _failed(run, f"{type(error).__name__}: the tower's log says why")
        refused = partial(self._refused, run)
        self._follow_ups.send(run.execution_id, f"ended:{run.attempt}", ended, on_outcome=refused)

    async def _told(self, run: Run, outcome: Outcome) -> ec.Ended:
        """Its output is in the stream before its end is in the log."""
        output = await self._output.finish(run.execution_id, run.attempt) if run.wrote else ends.NO_OUTPUT
        ended = ends.report(outcome, run.attempt, output)
        if not isinstance(ended, ec.ExecutionRecordCompleted) or ended.value is msgspec.UNSET:
            return ended
        value, digest = ends.encoded(ended.value), None
        if value is not None and len(value) > VALUE_BYTES:
            try:
                digest = await self._blobs.put(value)
            except OSError as error:
                _log.error("a large value is not kept", execution_id=run.execution_id, reason=str(error))
        return ends.with_value(ended, value, digest)

    def _refused(self, run: Run, payload: bytes) -> None:
        """An end that cannot be recorded as it is, is told plainly: an execution never stays open."""
        outcome = msgspec.json.decode(payload)
        if outcome["status"] == "accepted":
            return
        _log.error("an end is not recorded", execution_id=run.execution_id, code=outcome["error"]["code"])
        plain = _failed(run, f"its end could not be recorded: {outcome['error']['code']}")
        self._follow_ups.send(run.execution_id, f"ended:{run.attempt}:plain", plain)

    def _lost(self, execution: Execution) -> None:
        lost = ec.ExecutionRecordLost(execution_id=execution.execution_id, attempt=execution.attempt)
        self._follow_ups.send(execution.execution_id, f"lost:{execution.attempt}", lost)

    # --- what code asks --------------------------------------------------------------------------------------------

    def _question(self, seat: Seat, question: Question) -> None:
        """Beside its output, which goes on while a person thinks."""
        run = seat.runs(question.execution_id)
        if run is None:
            self._workers.of(seat.session_id).answer(question, "eof", message="no execution runs")
            return
        task = self._own(self._answer(seat, run, question))
        run.answering.add(task)
        task.add_done_callback(run.answering.discard)

    async def _answer(self, seat: Seat, run: Run, question: Question) -> None:
        session = self._workers.of(seat.session_id)
        run.requests += 1
        number = run.requests
        if question.kind != "input_request":
            reply = await self._capabilities.answer(run, number, question.fields)
            session.answer(question, reply.status, value=reply.value, message=reply.message)
        elif self._capabilities.may_ask(run, number):
            run.questions += 1
            status, text = await self._inputs.ask(run.execution_id, run.questions, question.fields)
            session.answer(question, status, value=text)
        else:
            session.answer(question, "denied", message="input: people may not be asked")

    # --- names -----------------------------------------------------------------------------------------------------

    async def _work(self, seat: Seat, work: Work) -> None:
        try:
            done = await self._namespaces.perform(self._workers.of(seat.session_id), work)
            await self._follow_ups.ask(work.work_id, "done", done, because_of=work.session_id)
        finally:
            seat.working = False
            self._ended.set()
        self._next(seat)

    def _names(self, session_id: str) -> str | None:
        session = self._state.executions.sessions.get(session_id)
        return self._blobs.path(session.checkpoints[-1].digest) if session is not None and session.checkpoints else None

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._group is not None
        return self._group.create_task(work)


def _failed(run: Run, message: str) -> ec.ExecutionRecordFailed:
    failure = Failure(exception_type="RuntimeError", message=message, code="internal_error")
    outcome = Outcome(execution_id=run.execution_id, state=State.FAILED, error=failure)
    ended = ends.report(outcome, run.attempt, ends.NO_OUTPUT)
    assert isinstance(ended, ec.ExecutionRecordFailed)
    return ended
