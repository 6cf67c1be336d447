"""Executions: asking for one, whose turn it is, one at a time."""

from typing import Any

import pytest
from msgspec import structs

from domain.executions import commands as c
from domain.executions.state import startable, startable_after
from domain.messages import Event
from tests.unit.builders import facts
from tests.unit.cells import (
    IDS,
    ask,
    cancel,
    cancelled,
    complete,
    completed,
    lost,
    paused,
    requested,
    running,
    start,
    started,
    told,
)
from tests.unit.given import given


class TestAskingForOne:
    def test_it_is_recorded_as_it_was_asked(self) -> None:
        happened = given().when(ask(timeout=5.0, priority=9, concurrency_key="deploy", transaction="rollback_always"))
        happened.then(requested(timeout_s=5.0, priority=9, concurrency_key="deploy", transaction="rollback_always"))
        assert happened.result == {
            "execution_id": "x1",
            "session_id": "s",
            "promise_id": "exec:x1",
            "state": "requested",
            "replay": False,
        }

    def test_without_a_session_it_gets_one_of_its_own(self) -> None:
        given().when(ask(execution_id=None, session=None), facts=IDS).then(
            requested("made-x", "made-s", throwaway=True)
        )

    @pytest.mark.parametrize(
        ("field", "options"),
        [("id", {"execution_id": "a:b"}), ("id", {"execution_id": ""}), ("session_id", {"session": "a.b"})],
    )
    def test_ids_can_stand_in_a_subject(self, field: str, options: dict[str, Any]) -> None:
        reason = "1 to 64 characters of A-Z a-z 0-9 _ -"
        given().when(ask(**options)).then_rejected("validation_failed", field=field, reason=reason)

    def test_code_is_at_most_256_kib_of_utf_8(self) -> None:
        given().when(ask("#" * 262_144)).then(requested(code="#" * 262_144))
        given().when(ask("é" * 131_073)).then_rejected(
            "validation_failed", field="code", reason="262146 bytes of UTF-8, not at most 262144"
        )

    @pytest.mark.parametrize("history", [(requested(),), running(), (*running(), completed())])
    def test_the_same_id_again_runs_nothing_twice(self, history: tuple[Event, ...]) -> None:
        again = given(*history).when(ask())
        again.then_nothing()
        assert (again.result["promise_id"], again.result["replay"]) == ("exec:x1", True)

    @pytest.mark.parametrize("end", [(), (started("made-x"), completed("made-x"))])
    def test_the_same_key_again_runs_nothing_twice(self, end: tuple[Event, ...]) -> None:
        history = given(requested("made-x", idempotency_key="k"), *end)
        again = history.when(ask(execution_id=None, idempotency_key="k"), facts=facts("x2", "s2"))
        again.then_nothing()
        assert again.result["execution_id"] == "made-x"

    @pytest.mark.parametrize(
        "other",
        [
            {"code": "2"},
            {"session": "t"},
            {"session": None},
            {"timeout": 1.0},
            {"retry": "safe"},
            {"priority": 5},
            {"concurrency_key": "c"},
            {"transaction": "rollback_always"},
            {"when_busy": "reject"},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_the_same_key_with_other_code_or_options_is_a_conflict(self, other: dict[str, Any]) -> None:
        history = given(requested("made-x", idempotency_key="k"), started("made-x"), completed("made-x"))
        history.when(
            ask(**{"execution_id": None, "idempotency_key": "k", **other}), facts=facts("x2", "s2")
        ).then_rejected("idempotency_conflict", idempotency_key="k")

    def test_the_same_id_with_another_key_is_a_conflict(self) -> None:
        given(requested()).when(ask(idempotency_key="k")).then_rejected("idempotency_conflict", idempotency_key="k")

    def test_a_key_is_its_origins_own(self) -> None:
        history = given(requested("made-x", idempotency_key="k"))
        history.when(ask(execution_id=None, idempotency_key="k"), origin="policy", facts=facts("x2", "s2")).then(
            requested("x2", owner="policy", idempotency_key="k")
        )

    def test_a_throw_away_session_takes_nothing_else(self) -> None:
        history = given(requested(session="own", throwaway=True))
        history.when(ask(execution_id="x2", session="own")).then_rejected("session_not_found", session_id="own")
        history.when(c.SessionCheckpoint(session_id="own"), facts=IDS).then_rejected(
            "session_not_found", session_id="own"
        )

    def test_a_throw_away_session_goes_with_its_execution(self) -> None:
        history = given(*running(session="own", throwaway=True))
        assert "own" in history.state.executions.sessions
        assert "own" not in told(history, complete()).accepted().state.executions.sessions

    def test_nobody_in_a_container_may(self) -> None:
        for request in (
            ask(),
            cancel(),
            c.ExecutionAnswer(execution_id="x1", value="y"),
            c.SessionCheckpoint(session_id="s"),
        ):
            given(*running()).when(request, origin="b" * 64).then_rejected("host_only")


class TestBusy:
    @pytest.mark.parametrize("history", [(requested(),), running()])
    def test_reject_is_refused_at_once(self, history: tuple[Event, ...]) -> None:
        given(*history).when(ask(execution_id="x2", when_busy="reject")).then_rejected(
            "worker_busy", session_id="s", execution_id="x1"
        )

    def test_reject_in_an_idle_session_is_taken(self) -> None:
        given(*running(), completed()).when(ask(execution_id="x2", when_busy="reject")).then(
            requested("x2", when_busy="reject")
        )

    def test_at_most_1000_wait_in_a_session(self) -> None:
        full = given(*(requested(f"x{n}") for n in range(1_000)))
        full.when(ask(execution_id="more")).then_rejected("tower_busy", queued=1_000)
        full.when(ask(execution_id="more", session="t")).then(requested("more", "t"))

    def test_at_most_10000_are_open_on_a_node(self) -> None:
        full = given(*(requested(f"x{n}", f"s{n}") for n in range(10_000)))
        full.when(ask(execution_id="more")).then_rejected("tower_busy", queued=10_000)


class TestTurns:
    def test_it_starts_when_its_session_is_idle(self) -> None:
        happened = told(given(requested()), start())
        history = happened.then(started())
        assert happened.result == {"execution_id": "x1", "state": "running", "recorded": True}
        again = told(history, start())
        again.then_nothing()
        assert again.result == {"execution_id": "x1", "state": "running", "recorded": False}

    def test_it_starts_at_once_when_a_worker_waits_and_nobody_comes_before_it(self) -> None:
        waiting = structs.replace(facts(), worker_waits=True)
        given().when(ask(), facts=waiting).then(requested())
        idle = given(*running(), completed())
        happened = idle.when(ask(execution_id="x2"), facts=waiting)
        happened.then(requested("x2"), started("x2"))
        assert happened.result["state"] == "requested"
        idle.when(ask(execution_id="x2")).then(requested("x2"))
        given(*running()).when(ask(execution_id="x2"), facts=waiting).then(requested("x2"))
        given(*running(), completed(), requested("x2")).when(ask(execution_id="x3"), facts=waiting).then(
            requested("x3")
        )

    @pytest.mark.parametrize(
        "holder", [running("x2", "t", concurrency_key="k"), (requested("x2", "t", concurrency_key="k"),)]
    )
    def test_it_does_not_start_at_once_while_another_has_its_key_or_waits_for_it(
        self, holder: tuple[Event, ...]
    ) -> None:
        waiting = structs.replace(facts(), worker_waits=True)
        history = given(*running(), completed(), *holder)
        history.when(ask(execution_id="x3", concurrency_key="k"), facts=waiting).then(
            requested("x3", concurrency_key="k")
        )

    def test_one_at_a_time_in_a_session_in_order(self) -> None:
        history = given(requested(), requested("x2"))
        told(history, start("x2")).then_nothing()
        history = history.and_given(started())
        told(history, start("x2")).then_nothing()
        told(history.and_given(completed()), start("x2")).then(started("x2"))

    def test_sessions_run_beside_each_other(self) -> None:
        told(given(*running(), requested("x2", "t")), start("x2")).then(started("x2", session="t"))

    def test_a_higher_priority_goes_first(self) -> None:
        history = given(requested(), requested("x2", priority=9))
        told(history, start()).then_nothing()
        told(history, start("x2")).then(started("x2"))

    def test_one_at_a_time_of_a_concurrency_key_in_order(self) -> None:
        history = given(
            requested("x1", "s", concurrency_key="k"),
            requested("x2", "t", concurrency_key="k"),
            requested("x3", "u"),
        )
        told(history, start("x2")).then_nothing()
        history = history.and_given(started())
        told(history, start("x2")).then_nothing()
        told(history, start("x3")).then(started("x3", session="u"))
        told(history.and_given(completed()), start("x2")).then(started("x2", session="t"))

    def test_nobody_overtakes_one_that_waits_for_its_key(self) -> None:
        history = given(*running("x1", "s", concurrency_key="k"), requested("x2", "t", concurrency_key="k"))
        told(history.and_given(requested("x3", "t")), start("x3")).then_nothing()

    @pytest.mark.parametrize("attempt", [0, 2])
    def test_only_the_attempt_that_is_next_starts(self, attempt: int) -> None:
        told(given(requested()), start(attempt=attempt)).then_nothing()

    def test_what_may_start_is_told_of_each_session(self) -> None:
        history = given(
            requested("x1", "s", concurrency_key="k"),
            requested("x2", "t", concurrency_key="k"),
            requested("x3", "u"),
            requested("x4", "u", priority=9),
        )
        executions = history.state.executions
        assert [each.turn[2] for each in startable(executions)] == ["x4", "x1"]
        after = history.and_given(started())
        assert startable_after(started(), after.state.executions) == ()
        done = after.and_given(completed())
        assert [each.turn[2] for each in startable_after(completed(), done.state.executions)] == ["x2"]

    @pytest.mark.parametrize("event", [paused(), lost(), cancelled()], ids=lambda event: type(event).__name__)
    def test_what_does_not_run_holds_neither_session_nor_key(self, event: Event) -> None:
        history = given(*running(concurrency_key="k"), requested("x2", concurrency_key="k"))
        told(history.and_given(event), start("x2")).then(started("x2"))
