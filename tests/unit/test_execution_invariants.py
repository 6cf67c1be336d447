"""The invariants of executions over random requests and reports of all kinds.

X1 one end each, and none without a start but a cancel · X2 never two running in a session or of a concurrency key ·
X3 who starts is first by priority and order of acceptance among those that wait in its session, and under its key ·
X4 something may always start while something waits and nothing runs · X5 memory is the fold of the log, from a snapshot
too · X6 a promise settles once · X7 an attempt starts once, attempts count up · X8 no question is open after the end
"""

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain import promises as p
from domain import tower
from domain.errors import Rejection
from domain.executions import commands as c
from domain.executions import events as e
from domain.executions.events import ExecutionState
from domain.executions.state import Execution, startable, startable_after
from domain.messages import HOST, TOWER, Command, Event, Request
from domain.tower import Tower
from handlers import snapshots
from handlers.ledger import Ledger
from tests.unit.builders import facts
from tests.unit.cells import DIED, RAISED
from tests.unit.given import fold

SESSIONS = st.sampled_from(["s", "t", "u", None])
KEYS = st.sampled_from([None, None, "k1", "k2"])
PRIORITIES = st.sampled_from([4, 4, 4, 0, 9])
NUMBERS = st.integers(min_value=0, max_value=20)
RETRIES = st.sampled_from(
    [None, "safe", c.Retry(max_attempts=2, backoff_s=0), c.Retry(safe=True, max_attempts=3, backoff_s=2, then="pause")]
)
SETTLED = p.PromiseResolved | p.PromiseRejected | p.PromiseCancelled | p.PromiseTimedOut


class Node(RuleBasedStateMachine):
    """A node with three sessions and two keys; the newest executions are the ones that most happens to."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Tower()
        self.events: list[Event] = []
        self.ids = 0
        self.clock = timedelta()
        self.known: list[e.ExecutionRequested] = []
        self.ends: Counter[str] = Counter()
        self.started: Counter[str] = Counter()
        self.settled: Counter[str] = Counter()

    def ask(self, request: Request, origin: str = TOWER) -> tuple[Event, ...]:
        """Only a rejection may be raised."""
        fresh = tuple(f"id-{self.ids + number}" for number in range(2))
        self.ids += 2
        command = Command(id="c", origin=origin, request=request, facts=facts(*fresh, after=self.clock))
        try:
            events = tower.decide(command, self.state)
        except Rejection:
            return ()
        before = self.state
        self.state = fold(events, self.state)
        self.events += events
        for event in events:
            self._check(event, before)
        answer = tower.result(events) if events else tower.standing(request, self.state)
        assert isinstance(answer, dict)
        return events

    def _check(self, event: Event, before: Tower) -> None:
        match event:
            case e.ExecutionRequested():
                self.known.append(event)
            case e.ExecutionStarted():
                self.started[event.execution_id] += 1
                assert event.attempt == self.started[event.execution_id], "X7 attempts count up"
                self._check_turn(before.executions.open[event.execution_id], before)
            case e.ExecutionEnd():
                self.ends[event.execution_id] += 1
                ran = event.attempt == self.started[event.execution_id]
                assert ran, "X7 an end names the last attempt"
                assert event.attempt or isinstance(event, e.ExecutionCancelled), "X1 an end without a start"
                for promise in self.state.promises.known.values():
                    if promise.promise_id.startswith(f"exec:{event.execution_id}:"):
                        assert promise.state is not p.PromiseState.PENDING, "X8 a question after the end"
            case p.PromiseResolved() | p.PromiseRejected() | p.PromiseCancelled() | p.PromiseTimedOut():
                self.settled[event.promise_id] += 1
                assert self.settled[event.promise_id] == 1, "X6 a promise settles once"
            case _:
                pass

    def _check_turn(self, chosen: Execution, before: Tower) -> None:
        """Against a plain search over all that wait."""
        waiting = [each for each in before.executions.open.values() if each.state is ExecutionState.REQUESTED]
        rivals = [
            each
            for each in waiting
            if each.session_id == chosen.session_id
            or (chosen.concurrency_key is not None and each.concurrency_key == chosen.concurrency_key)
        ]
        assert chosen == min(rivals, key=lambda each: (-each.priority, each.number)), "X3 order"

    def execution(self, number: int) -> str:
        return self.known[-1 - number % len(self.known)].execution_id if self.known else "unknown"

    def attempt(self, execution_id: str) -> int:
        execution = self.state.executions.open.get(execution_id)
        return 1 if execution is None else execution.attempt

    # --- what happens ----------------------------------------------------------------------------------------------

    @rule(session=SESSIONS, key=KEYS, priority=PRIORITIES, retry=RETRIES, idempotency=KEYS)
    def request(self, session: str | None, key: str | None, priority: int, retry: Any, idempotency: str | None) -> None:
        asked = c.ExecutionRequest(
            code="1",
            session_id=session,
            concurrency_key=key,
            priority=priority,
            retry=retry,
            idempotency_key=idempotency,
        )
        if self.ask(asked, HOST) and idempotency is not None:
            assert self.ask(asked, HOST) == (), "the same again"

    @rule(count=st.integers(min_value=1, max_value=3))
    def start(self, count: int) -> None:
        """As the effect does: what may start, starts."""
        for each in startable(self.state.executions)[:count]:
            assert isinstance(each, Execution)
            assert self.ask(c.ExecutionRecordStarted(execution_id=each.execution_id, attempt=each.attempt + 1))

    @rule(number=NUMBERS, attempt=st.integers(min_value=0, max_value=3))
    def start_any(self, number: int, attempt: int) -> None:
        self.ask(c.ExecutionRecordStarted(execution_id=self.execution(number), attempt=attempt))

    @rule(number=NUMBERS, kind=st.integers(min_value=0, max_value=5), late=st.sampled_from([0, 0, 0, 1]))
    def end(self, number: int, kind: int, late: int) -> None:
        execution_id = self.execution(number)
        this: dict[str, Any] = {"execution_id": execution_id, "attempt": self.attempt(execution_id) - late}
        reports: tuple[Request, ...] = (
            c.ExecutionRecordCompleted(**this),
            c.ExecutionRecordFailed(**this, error=RAISED),
            c.ExecutionRecordFailed(**this, error=DIED),
            c.ExecutionRecordCancelled(**this),
            c.ExecutionRecordTimedOut(**this),
            c.ExecutionRecordLost(**this),
        )
        before = self.state
        for event in self.ask(reports[kind]):
            for each in startable_after(event, self.state.executions):
                assert each in startable(self.state.executions)
        if late:
            assert self.state == before, "a late end changes nothing"

    @rule(number=NUMBERS, scope=st.sampled_from(["execution", "session"]))
    def cancel(self, number: int, scope: Any) -> None:
        self.ask(c.ExecutionCancel(execution_id=self.execution(number), scope=scope), HOST)

    @rule(number=NUMBERS, seconds=st.integers(min_value=0, max_value=9))
    def wait(self, number: int, seconds: int) -> None:
        self.clock += timedelta(seconds=seconds)
        execution_id = self.execution(number)
        self.ask(c.ExecutionRecordRetryDue(execution_id=execution_id, attempt=self.attempt(execution_id) + 1))

    @rule(number=NUMBERS)
    def resume(self, number: int) -> None:
        self.ask(c.ExecutionResume(execution_id=self.execution(number)), HOST)

    @rule(number=NUMBERS, n=st.integers(min_value=1, max_value=2))
    def question(self, number: int, n: int) -> None:
        self.ask(p.PromiseCreate(id=f"exec:{self.execution(number)}:input:{n}"))

    @rule(number=NUMBERS, value=st.sampled_from(["yes", None]))
    def answer(self, number: int, value: str | None) -> None:
        self.ask(c.ExecutionAnswer(execution_id=self.execution(number), value=value), HOST)

    @rule(number=NUMBERS)
    def settle_by_hand(self, number: int) -> None:
        for settle in (p.PromiseResolve, p.PromiseReject, p.PromiseCancel):
            assert self.ask(settle(id=f"exec:{self.execution(number)}"), HOST) == ()

    # --- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def one_end_each(self) -> None:
        executions = self.state.executions
        for known in self.known:
            ended = self.ends[known.execution_id]
            assert ended <= 1, "X1 one end each"
            assert (known.execution_id in executions.open) == (ended == 0), "X1 open until its end"

    @invariant()
    def never_two(self) -> None:
        running = [each for each in self.state.executions.open.values() if each.state is ExecutionState.RUNNING]
        sessions = Counter(each.session_id for each in running)
        keys = Counter(each.concurrency_key for each in running if each.concurrency_key is not None)
        assert {*sessions.values(), *keys.values()} <= {1}, "X2 never two"
        assert set(self.state.executions.holders.items()) == {
            (each.concurrency_key, each.execution_id) for each in running if each.concurrency_key is not None
        }

    @invariant()
    def something_may_start(self) -> None:
        states = {each.state for each in self.state.executions.open.values()}
        if ExecutionState.REQUESTED in states and ExecutionState.RUNNING not in states:
            assert startable(self.state.executions), "X4 nobody waits in a circle"

    def teardown(self) -> None:
        assert fold(self.events, Tower()) == self.state, "X5 the fold of the log"
        cut = len(self.events) // 2
        head = fold(self.events[:cut], Tower())
        stored = snapshots.Snapshot(digest="d", ledger=Ledger(tower=head), horizon_s=0.0)
        read = snapshots.decode(snapshots.encode(stored), "d")
        assert read is not None
        assert fold(self.events[cut:], read.ledger.tower) == self.state, "X5 from a snapshot"


TestExecutions = Node.TestCase
TestExecutions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
