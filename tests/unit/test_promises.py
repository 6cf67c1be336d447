"""Promises: one transition ever, deadlines, whose they are; the questions that executions ask."""

from datetime import timedelta
from typing import Any

import pytest

from domain import promises as p
from domain.executions import commands as c
from domain.executions import events as e
from domain.messages import HOST, TOWER, Event
from domain.promises import PromiseState
from tests.unit.builders import AT, facts
from tests.unit.cells import RETRY, asked, complete, completed, having_run, lose, question, requested, told, unasked
from tests.unit.given import given

MADE = p.PromiseCreated(promise_id="p", owner=HOST)
KINDS = [
    (p.PromiseResolve, p.PromiseResolved, "resolved"),
    (p.PromiseReject, p.PromiseRejected, "rejected"),
    (p.PromiseCancel, p.PromiseCancelled, "cancelled"),
]


class TestMaking:
    def test_its_deadline_stands_in_the_event(self) -> None:
        happened = given().when(p.PromiseCreate(id="p", timeout=60, data={"a": 1}))
        happened.then(p.PromiseCreated(promise_id="p", owner=HOST, deadline=AT + timedelta(seconds=60), data={"a": 1}))
        deadline = (AT + timedelta(seconds=60)).isoformat()
        assert happened.result == {"promise_id": "p", "state": "pending", "deadline": deadline, "replay": False}

    def test_without_an_id_one_is_made_up(self) -> None:
        given().when(p.PromiseCreate(), facts=facts("made")).then(p.PromiseCreated(promise_id="made", owner=HOST))

    @pytest.mark.parametrize("bad", ["", "a.b", "a b", "*", ">"])
    def test_an_id_that_cannot_stand_in_a_subject_is_refused(self, bad: str) -> None:
        reason = "1 to 128 characters of A-Z a-z 0-9 _ : -"
        given().when(p.PromiseCreate(id=bad)).then_rejected("validation_failed", field="id", reason=reason)

    def test_the_same_again_is_a_repeat_and_other_data_a_conflict(self) -> None:
        again = given(MADE).when(p.PromiseCreate(id="p"))
        again.then_nothing()
        assert again.result["replay"] is True
        given(MADE).when(p.PromiseCreate(id="p", data=1)).then_rejected("idempotency_conflict", idempotency_key="p")

    @pytest.mark.parametrize("reserved", ["exec:x1", "exec:x1:input:1", "spawn:s"])
    def test_ids_of_executions_and_sessions_are_the_towers(self, reserved: str) -> None:
        reason = "ids that begin with exec: or spawn: are the tower's own"
        having_run().when(p.PromiseCreate(id=reserved)).then_rejected("validation_failed", field="id", reason=reason)


class TestSettling:
    @pytest.mark.parametrize(("settle", "event", "state"), KINDS)
    def test_once_and_the_same_again_is_a_repeat(self, settle: Any, event: Any, state: str) -> None:
        happened = given(MADE).when(settle(id="p", value={"b": 1, "a": 2}))
        history = happened.then(event(promise_id="p", value={"b": 1, "a": 2}))
        assert happened.result == {"promise_id": "p", "state": state, "replay": False}
        again = history.when(settle(id="p", value={"a": 2, "b": 1}))
        again.then_nothing()
        assert (again.result["state"], again.result["replay"]) == (state, True)

    @pytest.mark.parametrize(("settle", "event", "state"), KINDS)
    def test_any_other_settle_is_refused(self, settle: Any, event: Any, state: str) -> None:
        history = given(MADE, event(promise_id="p", value=1))
        others = [other(id="p", value=1) for other, _, _ in KINDS if other is not settle]
        for request in (settle(id="p", value=2), *others):
            history.when(request).then_rejected("promise_already_settled", promise_id="p", state=state)

    def test_one_that_nobody_knows(self) -> None:
        given().when(p.PromiseResolve(id="q")).then_rejected("promise_not_found", promise_id="q")

    def test_a_value_has_at_most_256_kib(self) -> None:
        given(MADE).when(p.PromiseResolve(id="p", value="v" * 262_143)).then_rejected(
            "validation_failed", field="value", reason="at most 262144 bytes as JSON"
        )

    def test_its_deadline_ends_it_when_it_is_there(self) -> None:
        history = given(p.PromiseCreated(promise_id="p", owner=HOST, deadline=AT + timedelta(seconds=5)))
        told(history, p.PromiseExpire(id="p")).then_nothing()
        late = facts(after=timedelta(seconds=5))
        over = told(history, p.PromiseExpire(id="p"), facts=late).then(p.PromiseTimedOut(promise_id="p"))
        told(over, p.PromiseExpire(id="p"), facts=late).then_nothing()
        over.when(p.PromiseResolve(id="p")).then_rejected("promise_already_settled", promise_id="p", state="timed_out")

    def test_one_without_a_deadline_waits_for_ever(self) -> None:
        told(given(MADE), p.PromiseExpire(id="p"), facts=facts(after=timedelta(days=999))).then_nothing()

    def test_what_was_settled_long_ago_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(p, "KEPT_SETTLED", 2)
        history = given(MADE)
        for n in range(4):
            history = history.and_given(
                p.PromiseCreated(promise_id=f"p{n}", owner=HOST), p.PromiseResolved(promise_id=f"p{n}")
            )
        assert set(history.state.promises.known) == {"p", "p2", "p3"}
        assert {each for _, each in history.state.sequences} == {"p", "p2", "p3"}


class TestThePromiseOfAnExecution:
    @pytest.mark.parametrize("history", [(), (completed(),)])
    def test_it_settles_with_its_execution_and_by_nobody(self, history: tuple[Event, ...]) -> None:
        for settle in (p.PromiseResolve, p.PromiseReject):
            having_run(*history).when(settle(id="exec:x1")).then_rejected(
                "validation_failed", field="id", reason="settles with its execution"
            )
        having_run(*history).when(p.PromiseCancel(id="exec:x1")).then_rejected(
            "validation_failed", field="id", reason="settles with its execution: cancel the execution"
        )

    def test_there_is_none_without_its_execution(self) -> None:
        given().when(p.PromiseResolve(id="exec:x1")).then_rejected("promise_not_found", promise_id="exec:x1")


def answer(value: str | None, n: int | None = None) -> c.ExecutionAnswer:
    return c.ExecutionAnswer(execution_id="x1", value=value, n=n)


class TestQuestions:
    def test_the_tower_asks_while_the_execution_is_open(self) -> None:
        told(having_run(), question()).then(asked())
        told(having_run(completed()), question()).then_rejected(
            "execution_already_ended", execution_id="x1", state="completed"
        )
        told(given(), question()).then_rejected("execution_not_found", execution_id="x1")

    def test_an_answer_settles_the_oldest_open_one_or_the_one_that_is_named(self) -> None:
        history = having_run(asked(1), asked(2))
        happened = history.when(answer("yes"))
        happened.then(p.PromiseResolved(promise_id="exec:x1:input:1", value="yes")).when(answer("no")).then(
            p.PromiseResolved(promise_id="exec:x1:input:2", value="no")
        )
        assert happened.result == {"promise_id": "exec:x1:input:1", "state": "resolved", "replay": False}
        history.when(answer(None, n=2)).then(p.PromiseResolved(promise_id="exec:x1:input:2", value=None))

    def test_the_same_answer_again_is_a_repeat_and_another_is_refused(self) -> None:
        history = having_run(asked()).when(answer("yes", n=1)).accepted()
        again = history.when(answer("yes", n=1))
        again.then_nothing()
        assert again.result["replay"] is True
        history.when(answer("no", n=1)).then_rejected(
            "promise_already_settled", promise_id="exec:x1:input:1", state="resolved"
        )

    def test_there_is_nothing_to_answer(self) -> None:
        having_run().when(answer("yes")).then_rejected("promise_not_found", promise_id="exec:x1:input:1")
        having_run().when(answer("yes", n=7)).then_rejected("promise_not_found", promise_id="exec:x1:input:7")
        having_run(completed()).when(answer("yes")).then_rejected(
            "execution_already_ended", execution_id="x1", state="completed"
        )

    def test_only_one_of_its_choices(self) -> None:
        history = having_run(asked(choices=["merge", "wait"]))
        for request in (answer("burn"), p.PromiseResolve(id="exec:x1:input:1", value="burn")):
            history.when(request).then_rejected("validation_failed", field="value", reason="not one of merge, wait")
        history.when(answer("wait")).then(p.PromiseResolved(promise_id="exec:x1:input:1", value="wait"))

    def test_an_answer_is_text_of_at_most_64_kib(self) -> None:
        history = having_run(asked())
        history.when(p.PromiseResolve(id="exec:x1:input:1", value=7)).then_rejected(
            "validation_failed", field="value", reason="the answer to a question is text, or null for the end of input"
        )
        history.when(answer("v" * 65_537)).then_rejected(
            "validation_failed", field="value", reason="more than 65536 bytes of UTF-8"
        )

    def test_a_secret_answer_stands_in_no_event(self) -> None:
        history = having_run(asked(secret=True))
        happened = history.when(answer("hunter2"), facts=facts(text_digest="d1"))
        after = happened.then(p.PromiseResolved(promise_id="exec:x1:input:1", value={"secret_digest": "d1"}))
        assert "hunter2" not in repr((happened.events, after.state))
        assert after.state.executions.texts == {"d1"}
        assert told(after, complete()).accepted().state.executions.texts == frozenset()
        history.when(answer("hunter2")).then_rejected("tower_busy", queued=1)
        history.when(p.PromiseResolve(id="exec:x1:input:1", value="hunter2")).then_rejected(
            "validation_failed",
            field="id",
            reason="a secret question: execution.answer keeps the answer out of the log",
        )

    def test_what_is_open_at_the_end_is_cancelled_with_it(self) -> None:
        told(having_run(asked(1), asked(2)), complete()).then(completed(), unasked(1), unasked(2))

    def test_a_second_attempt_finds_its_questions_and_answers(self) -> None:
        again = e.ExecutionRetryScheduled(execution_id="x1", session_id="s", attempt=1, reason="lost")
        history = having_run(asked(1), retry=RETRY).when(answer("yes")).accepted().and_given(asked(2))
        history = told(history, lose()).then(again)
        first, second = history.state.executions.open["x1"].questions
        assert (first.state, first.value) == (PromiseState.RESOLVED, "yes")
        assert second.state is PromiseState.PENDING
        told(history, question(2)).then_nothing()

    def test_what_cannot_run_again_keeps_no_answers(self) -> None:
        state = having_run(asked()).when(answer("yes")).accepted().state.executions
        assert state.open["x1"].questions == ()

    def test_a_promise_that_only_looks_like_one_changes_no_execution(self) -> None:
        before = having_run(requested("x2")).state.executions
        odd = [
            p.PromiseCreated(promise_id=each, owner=TOWER) for each in ("exec:x1:input:", "exec:x1:input:-1", "exec:x1")
        ]
        assert having_run(requested("x2"), *odd).state.executions == before
