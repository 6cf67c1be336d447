"""The one end of an execution, attempts and pauses before it, stopping it: the lower rows of the state table."""

from datetime import timedelta
from typing import Any

import pytest

from domain.executions import commands as c
from domain.executions import events as e
from domain.executions.events import ExecutionState
from domain.executions.state import forgotten, next_of
from domain.messages import Event
from tests.unit.builders import AT, facts
from tests.unit.cells import (
    DIED,
    RAISED,
    RETRY,
    asked,
    cancel,
    cancelled,
    complete,
    completed,
    fail,
    failed,
    having_run,
    lose,
    lost,
    paused,
    requested,
    resumed,
    running,
    start,
    started,
    told,
    unasked,
)
from tests.unit.given import given

ENDED = {"completed": completed(), "cancelled": cancelled(), "lost": lost(), "failed": failed()}


class TestTheOneEnd:
    @pytest.mark.parametrize(
        ("report", "end"),
        [
            (complete(), completed()),
            (fail(), failed()),
            (lose(), lost()),
            (c.ExecutionRecordCancelled(execution_id="x1", attempt=1), cancelled()),
            (
                c.ExecutionRecordTimedOut(execution_id="x1", attempt=1, error=RAISED),
                e.ExecutionTimedOut(execution_id="x1", session_id="s", attempt=1, error=RAISED),
            ),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_each(self, report: Any, end: Event) -> None:
        history = told(having_run(), report).then(end)
        for late in (complete(), fail(), lose(), start(attempt=2)):
            told(history, late).then_nothing()

    def test_nothing_ends_that_does_not_run(self) -> None:
        for report in (complete(), fail(), lose()):
            told(given(requested()), report).then_nothing()
            told(given(), report).then_nothing()

    def test_a_late_end_of_an_earlier_attempt_is_refused(self) -> None:
        again = e.ExecutionRetryScheduled(execution_id="x1", session_id="s", attempt=1, reason="lost")
        history = having_run(again, started(attempt=2), retry=RETRY)
        late = told(history, complete(attempt=1))
        late.then_nothing()
        assert late.result == {"execution_id": "x1", "state": "running", "recorded": False}
        told(history, complete(attempt=2)).then(completed(attempt=2))

    def test_the_state_keeps_no_code_of_what_has_ended(self) -> None:
        state = having_run(completed(), code="secret = 1").state.executions
        assert "secret" not in repr(state)
        assert state.ended["x1"].state is ExecutionState.COMPLETED

    def test_what_ended_long_ago_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("domain.executions.evolving.KEPT_ENDED", 2)
        history = given()
        for n in range(4):
            history = history.and_given(*running(f"x{n}", idempotency_key=f"k{n}"), completed(f"x{n}"))
        executions = history.state.executions
        assert set(executions.ended) == {"x2", "x3"}
        assert {key for _, key in executions.keys} == {"k2", "k3"}
        assert {each for kind, each in history.state.sequences if kind == "execution"} == {"x2", "x3"}
        history.when(c.ExecutionCancel(execution_id="x0")).then_rejected("execution_not_found", execution_id="x0")
        assert forgotten(executions, executions) is None


def _again(attempt: int, reason: Any, after_s: float | None, error: Any = None) -> Event:
    due = None if after_s is None else AT + timedelta(seconds=after_s)
    return e.ExecutionRetryScheduled(
        execution_id="x1",
        session_id="s",
        attempt=attempt,
        reason=reason,
        due=due,
        error=error,
    )


class TestRetries:
    @pytest.mark.parametrize(
        ("policy", "report", "event"),
        [
            (e.RetryPolicy(), lose(), lost()),
            (e.RetryPolicy(), fail(), failed()),
            (e.RetryPolicy(safe=True), lose(), _again(1, "lost", 1)),
            (e.RetryPolicy(safe=True), fail(error=DIED), _again(1, "failed", 1, DIED)),
            (e.RetryPolicy(safe=True), fail(), failed()),
            (e.RetryPolicy(max_attempts=2), fail(), _again(1, "failed", 1, RAISED)),
            (e.RetryPolicy(max_attempts=2), lose(), lost()),
            (e.RetryPolicy(max_attempts=2), fail(error=DIED), failed(error=DIED)),
            (e.RetryPolicy(safe=True, backoff_s=0), lose(), _again(1, "lost", None)),
            (e.RetryPolicy(safe=True, max_attempts=1), lose(), lost()),
            (e.RetryPolicy(then="pause"), lose(), paused()),
            (e.RetryPolicy(then="pause"), fail(), paused(reason="failed", error=RAISED)),
        ],
    )
    def test_what_the_policy_says(self, policy: e.RetryPolicy, report: Any, event: Event) -> None:
        told(having_run(retry=policy), report).then(event)

    def test_without_a_number_a_safe_one_has_three_attempts_and_the_wait_doubles(self) -> None:
        history = having_run(retry=e.RetryPolicy(safe=True, backoff_s=10))
        for attempt, wait_s in ((1, 10), (2, 20)):
            history = told(history, lose(attempt)).then(_again(attempt, "lost", wait_s))
            early = told(history, c.ExecutionRecordRetryDue(execution_id="x1", attempt=attempt + 1))
            early.then_nothing()
            on_time = facts(after=timedelta(seconds=wait_s))
            history = told(
                history, c.ExecutionRecordRetryDue(execution_id="x1", attempt=attempt + 1), facts=on_time
            ).then(resumed(attempt + 1, due=True))
            history = told(history, start(attempt=attempt + 1)).then(started(attempt=attempt + 1))
        told(history, lose(3)).then(lost(3))

    def test_while_it_waits_for_its_retry_it_does_not_start(self) -> None:
        history = having_run(_again(1, "lost", 5), retry=RETRY)
        told(history, start(attempt=2)).then_nothing()
        assert next_of("s", history.state.executions) is None

    def test_at_once_it_has_its_old_place_in_the_order(self) -> None:
        history = having_run(requested("x2"), _again(1, "lost", None), retry=RETRY)
        told(history, start("x2")).then_nothing()
        told(history, start(attempt=2)).then(started(attempt=2))

    def test_after_a_cancel_nothing_is_run_again(self) -> None:
        stopping = e.ExecutionCancelRequested(execution_id="x1", session_id="s", scope="execution")
        history = having_run(stopping, retry=e.RetryPolicy(safe=True, max_attempts=5, then="pause"))
        told(history, fail()).then(failed())
        told(history, lose()).then(cancelled(worker_restarted=True))

    @pytest.mark.parametrize("report", ["cancelled", "timed_out"])
    def test_a_cancel_and_a_time_out_are_ends_whatever_the_policy(self, report: str) -> None:
        kind = c.ExecutionRecordCancelled if report == "cancelled" else c.ExecutionRecordTimedOut
        happened = told(having_run(retry=e.RetryPolicy(safe=True, max_attempts=5)), kind(execution_id="x1", attempt=1))
        assert [type(event) for event in happened.events] == [
            e.ExecutionCancelled if report == "cancelled" else e.ExecutionTimedOut
        ]

    def test_a_paused_one_is_resumed_and_then_the_policy_holds_again(self) -> None:
        history = having_run(paused(), retry=e.RetryPolicy(then="pause"))
        told(history, start(attempt=2)).then_nothing()
        history = history.when(c.ExecutionResume(execution_id="x1")).then(resumed())
        history = told(history, start(attempt=2)).then(started(attempt=2))
        told(history, lose(2)).then(paused(attempt=2))

    @pytest.mark.parametrize("history", [(requested(),), running()])
    def test_only_a_paused_one_is_resumed(self, history: tuple[Event, ...]) -> None:
        state = "requested" if len(history) == 1 else "running"
        given(*history).when(c.ExecutionResume(execution_id="x1")).then_rejected(
            "execution_not_paused", execution_id="x1", state=state
        )

    def test_one_that_has_ended_is_not_resumed(self) -> None:
        having_run(completed()).when(c.ExecutionResume(execution_id="x1")).then_rejected(
            "execution_already_ended", execution_id="x1", state="completed"
        )


class TestCancel:
    @pytest.mark.parametrize(
        ("history", "attempt"),
        [
            ((requested(),), 0),
            ((*running(retry=RETRY), _again(1, "lost", 5)), 1),
            ((*running(retry=RETRY), paused()), 1),
        ],
        ids=["requested", "retrying", "paused"],
    )
    def test_what_does_not_run_is_cancelled_at_once(self, history: tuple[Event, ...], attempt: int) -> None:
        over = given(*history).when(cancel()).then(cancelled(attempt=attempt))
        told(over, start(attempt=attempt + 1)).then_nothing()
        over.when(cancel()).then_nothing()

    def test_what_runs_is_told_to_end(self) -> None:
        stopping = e.ExecutionCancelRequested(execution_id="x1", session_id="s", scope="execution")
        history = having_run().when(cancel()).then(stopping)
        history.when(cancel()).then_nothing()
        wider = e.ExecutionCancelRequested(execution_id="x1", session_id="s", scope="session")
        history = history.when(cancel("session")).then(wider)
        history.when(cancel()).then_nothing()
        told(history, c.ExecutionRecordCancelled(execution_id="x1", attempt=1)).then(cancelled())

    def test_one_that_completed_meanwhile_stays_completed(self) -> None:
        history = having_run().when(cancel()).accepted()
        told(history, complete()).then(completed()).when(cancel()).then_rejected(
            "execution_already_ended", execution_id="x1", state="completed"
        )

    @pytest.mark.parametrize("state", ["completed", "lost", "failed"])
    def test_what_has_ended_otherwise_is_not_cancelled(self, state: str) -> None:
        having_run(ENDED[state]).when(cancel()).then_rejected("execution_already_ended", execution_id="x1", state=state)

    def test_one_that_nobody_knows(self) -> None:
        given().when(cancel()).then_rejected("execution_not_found", execution_id="x1")

    def test_it_reaches_the_questions_that_it_waits_for(self) -> None:
        stopping = e.ExecutionCancelRequested(execution_id="x1", session_id="s", scope="execution")
        having_run(asked(1), asked(2)).when(cancel()).then(stopping, unasked(1), unasked(2))
        having_run(asked(1), paused(), retry=RETRY).when(cancel()).then(cancelled(), unasked(1))


class TestCapabilities:
    def test_a_denial_is_recorded_while_it_is_open(self) -> None:
        denied = c.CapabilityRecordDenied(execution_id="x1", capability="run", reason="not allowed")
        told(having_run(), denied).then(
            e.CapabilityDenied(execution_id="x1", session_id="s", capability="run", reason="not allowed")
        )
        told(having_run(completed()), denied).then_nothing()
