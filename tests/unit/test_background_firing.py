"""Firings: taken at once, waiting in order, refused, dropped, given again; and what the end of a run means."""

from datetime import timedelta
from typing import Any

import pytest

from domain.background import commands as c
from domain.background import events as e
from domain.background.firing import MAX_ATTEMPTS
from domain.background.state import Background
from domain.executions.events import SessionEmitted
from domain.messages import Event
from domain.sessions.commands import SessionRecordTurnLost
from domain.sessions.events import SessionEnded
from tests.unit import talks
from tests.unit.builders import AT
from tests.unit.given import History
from tests.unit.yards import (
    BG,
    at,
    declaration,
    declare,
    emit,
    emits,
    end_turn,
    finish,
    hooked,
    kinds,
    record,
    run_ended,
    run_of,
    spawn_run,
    told,
    works,
)


def workers(there: History) -> Background:
    return there.state.backgrounds.known[BG]


def fires(there: History, *trigger_ids: str) -> History:
    for each in trigger_ids:
        there = told(there, record(each)).accepted()
    return there


def waiting(there: History) -> list[str]:
    return [each.trigger_id for each in workers(there).waiting]


def hooks(**fields: Any) -> History:
    return works(hooked(**fields))


class WhenThereIsRoom:
    def test_it_runs_in_the_append_of_its_firing(self) -> None:
        fired, started = told(hooks(), record("f1", data={"a": 1})).events
        assert fired == e.TriggerFired(
            trigger_id="f1",
            background_id=BG,
            trigger=0,
            type="webhook",
            source="here",
            timestamp=AT,
            data={"a": 1},
            placed="run",
        )
        assert isinstance(started, e.BackgroundRunStarted)
        assert (started.trigger_id, started.session_name, started.attempt) == ("f1", "workers-1", 1)

    def test_a_pool_takes_as_many_as_it_has_places(self) -> None:
        there = fires(hooks(pool_size=3), "f1", "f2", "f3", "f4", "f5")
        assert sorted(workers(there).running) == ["f1", "f2", "f3"]
        assert waiting(there) == ["f4", "f5"]

    def test_the_end_of_a_run_lets_the_next_one_in(self) -> None:
        there = fires(hooks(pool_size=2), "f1", "f2", "f3", "f4")
        ended = finish(there, "f2")
        assert kinds(ended.events) == ["BackgroundRunEnded", "SessionEnded", "BackgroundRunStarted"]
        assert sorted(workers(ended.accepted()).running) == ["f1", "f3"]

    def test_a_larger_pool_takes_at_once_what_waits(self) -> None:
        there = fires(hooks(), "f1", "f2", "f3", "f4")
        after = told(there, declare(hooked(pool_size=3))).accepted()
        assert sorted(workers(after).running) == ["f1", "f2", "f3"]

    def test_a_smaller_pool_waits_for_the_ends(self) -> None:
        there = fires(hooks(pool_size=3), "f1", "f2", "f3", "f4")
        there = told(there, declare(hooked(pool_size=1))).accepted()
        there = finish(finish(there, "f1").accepted(), "f2").accepted()
        assert sorted(workers(there).running) == ["f3"]
        assert sorted(workers(finish(there, "f3").accepted()).running) == ["f4"]

    def test_a_session_is_named_by_the_count_and_has_an_id_of_its_own(self) -> None:
        there = fires(hooks(pool_size=9), "f1", "f2")
        runs = sorted(workers(there).running.values(), key=lambda run: run.trigger_count)
        assert [run.session_name for run in runs] == ["workers-1", "workers-2"]
        assert len({run.session_id for run in runs}) == 2


class WhenItHasToWait:
    def test_the_queue_of_one_that_blocks_refuses_who_can_ask_again(self) -> None:
        there = fires(hooks(queue_size=2), "f1", "f2", "f3")
        told(there, record("f4")).then_rejected("tower_busy", queued=2)
        assert waiting(fires(finish(there, "f1").accepted(), "f4")) == ["f3", "f4"]

    def test_and_grows_tenfold_for_what_the_log_itself_brings(self) -> None:
        there = emits(works(declaration(queue_size=1)), times=11)
        assert len(workers(there).waiting) == 10
        (_, refused) = there.when(emit(), facts=at()).events
        assert isinstance(refused, e.TriggerRefused)
        assert refused.reason == "queue_full"

    def test_the_oldest_is_dropped_where_the_newest_counts(self) -> None:
        there = fires(hooks(queue_size=2, overflow="drop_oldest"), "f1", "f2", "f3")
        fired, dropped = told(there, record("f4")).events
        assert isinstance(fired, e.TriggerFired)
        assert dropped == e.TriggerDropped(trigger_id="f2", background_id=BG, reason="drop_oldest")
        assert waiting(told(there, record("f4")).accepted()) == ["f3", "f4"]

    def test_the_newest_is_refused_where_that_is_wanted(self) -> None:
        there = fires(hooks(queue_size=2, overflow="reject"), "f1", "f2", "f3")
        (refused,) = told(there, record("f4")).events
        assert isinstance(refused, e.TriggerRefused)
        assert (refused.trigger_id, refused.reason) == ("f4", "queue_full")
        assert told(there, record("f4")).result["reason"] == "queue_full"

    def test_of_what_waits_only_the_newest_is_kept_where_they_coalesce(self) -> None:
        there = fires(hooks(coalesce="latest"), "f1", "f2")
        assert told(there, record("f3")).events[1:] == (
            e.TriggerDropped(trigger_id="f2", background_id=BG, reason="coalesced"),
        )
        there = fires(there, "f3", "f4")
        assert waiting(there) == ["f4"]
        assert sorted(workers(finish(there, "f1").accepted()).running) == ["f4"]


class WhenItIsTold:
    def test_twice_it_is_recorded_once(self) -> None:
        there = fires(hooks(), "f1")
        told(there, record("f1")).then_nothing()
        told(finish(there, "f1").accepted(), record("f1")).then_nothing()

    def test_once_the_command_names_it(self) -> None:
        (fired, _) = told(hooks(), record(None)).events
        assert isinstance(fired, e.TriggerFired)
        assert len(fired.trigger_id) == 32

    def test_by_a_watch_of_what_is_not_declared_any_more_it_is_nothing(self) -> None:
        told(hooks(), record(trigger=1)).then_nothing()
        told(hooks(), record(type="timer")).then_nothing()
        told(hooks(), record(background_id="bg-gone-0007")).then_nothing()

    def test_to_one_that_was_stopped_it_is_refused(self) -> None:
        there = hooks().when(c.BackgroundStop(background_id=BG)).accepted()
        (refused,) = told(there, record()).events
        assert isinstance(refused, e.TriggerRefused)
        assert refused.reason == "not_running"

    def test_too_much_it_is_no_firing(self) -> None:
        told(hooks(), record(data="x" * c.DATA_BYTES)).then_rejected(
            "validation_failed", field="data", reason=f"at most {c.DATA_BYTES} bytes as JSON"
        )

    def test_of_a_timer_it_says_the_how_manyth_tick_it_is(self) -> None:
        there = works(declaration(triggers=[{"type": "manual"}, {"type": "timer", "config": {"interval_seconds": 5}}]))
        for tick in (1, 2, 3):
            due = AT + timedelta(seconds=5 * tick)
            happened = told(there, record(f"t{tick}", trigger=1, type="timer", data={"interval": 5}, timestamp=due))
            fired = happened.events[0]
            assert isinstance(fired, e.TriggerFired)
            assert fired.data == {"interval": 5, "tick": tick}
            there = happened.accepted()

    def test_a_tick_of_a_time_that_is_behind_is_none(self) -> None:
        there = works(declaration(triggers=[{"type": "timer", "config": {"interval_seconds": 5}}]))
        due = AT + timedelta(seconds=10)
        there = told(there, record("a", type="timer", timestamp=due)).accepted()
        for number, seconds in enumerate((10, 5)):
            late = record(f"b{number}", type="timer", timestamp=AT + timedelta(seconds=seconds))
            told(there, late).then_nothing()


class WhenFiredByHand:
    FIRE = c.TriggerFire(name="workers", data={"why": "I say so"})

    def test_it_runs_with_what_was_given(self) -> None:
        there = works(declaration(triggers=[{"type": "manual"}]))
        happened = there.when(self.FIRE, facts=at())
        fired = happened.events[0]
        assert isinstance(fired, e.TriggerFired)
        assert (fired.type, fired.source, fired.data) == ("manual", "host", {"why": "I say so"})
        assert happened.result == {
            "trigger_id": fired.trigger_id,
            "background_id": BG,
            "state": "run",
            "session_id": run_of(happened.accepted(), fired.trigger_id),
            "replay": False,
        }
        there.when(c.TriggerFire(name=BG), facts=at()).accepted()

    def test_only_where_it_was_declared(self) -> None:
        works().when(self.FIRE).then_rejected(
            "validation_failed", field="name", reason="workers has no trigger of type manual: declare one"
        )
        works().when(c.TriggerFire(name="nobody")).then_rejected("background_not_found", name="nobody")

    def test_only_while_it_listens(self) -> None:
        there = works(declaration(triggers=[{"type": "manual"}])).when(c.BackgroundStop(name="workers")).accepted()
        there.when(self.FIRE).then_rejected(
            "validation_failed", field="name", reason="workers is stopped: start it first"
        )


class WhenARunEnds:
    def run(self, **fields: Any) -> History:
        return told(hooks(**fields), record("f1", data={"id": 7})).accepted()

    def ended(self, **changed: Any) -> Event:
        known: dict[str, Any] = {"background_id": BG, "trigger_id": "f1", "attempt": 1, "success": True}
        session_id = run_of(self.run(), "f1")
        fields: dict[str, Any] = {**known, "session_id": session_id, "output": "done", **changed}
        return e.BackgroundRunEnded(**fields)

    def test_its_firing_is_consumed_and_its_session_ends(self) -> None:
        there = self.run()
        session_id = run_of(there, "f1")
        over = finish(there, "f1").then(self.ended(), SessionEnded(session_id=session_id, reason="asked"))
        assert (len(workers(over).running), len(over.state.backgrounds.runs)) == (0, 0)
        assert ("trigger", "f1") not in over.state.sequences

    def test_a_failed_run_is_consumed_too_and_its_session_can_be_resumed(self) -> None:
        failure: dict[str, Any] = {"success": False, "error": "exit status 3", "error_type": "exit_status"}
        over = finish(self.run(), "f1", "failed").then(self.ended(**failure))
        assert (workers(over).trigger_count, workers(over).last_trigger) == (1, AT)
        assert workers(over).state == "running"

    def test_it_emits_what_was_declared_for_it(self) -> None:
        there = self.run(on_complete_emit="work:completed", on_error_emit="work:failed")
        session_id = run_of(there, "f1")
        _, emitted, _ = finish(there, "f1").events
        trigger = {
            "trigger_id": "f1",
            "type": "webhook",
            "source": "here",
            "timestamp": AT.isoformat(),
            "attempt": 1,
            "data": {"id": 7},
        }
        told_: dict[str, Any] = {
            "trigger": trigger,
            "session_id": session_id,
            "session_name": "workers-1",
            "background_session": "workers",
        }
        completed = {**told_, "output": "done", "success": True}
        assert emitted == SessionEmitted(session_id=session_id, name="work:completed", data=completed, depth=1)
        _, emitted = finish(there, "f1", "failed").events
        failed = {**told_, "output": "done", "success": False, "error": "exit status 3", "error_type": "exit_status"}
        assert emitted == SessionEmitted(session_id=session_id, name="work:failed", data=failed, depth=1)

    def test_the_end_of_its_session_says_what_triggered_it(self) -> None:
        there = self.run()
        over = end_turn(spawn_run(there, "f1"), run_of(there, "f1"))
        completed: Any = over.events[1]
        assert completed.trigger["data"] == {"id": 7}

    def test_told_twice_it_is_nothing(self) -> None:
        over = finish(self.run(), "f1").accepted()
        run_ended(over, "f1").then_nothing()

    def test_it_has_not_ended_while_its_session_goes_on(self) -> None:
        run_ended(spawn_run(self.run(), "f1"), "f1").then_nothing()

    def test_without_a_session_it_ends_with_the_reason(self) -> None:
        failure = c.BackgroundFailure(error="no such bundle", error_type="bundle_not_found")
        ended = c.BackgroundRecordRunEnded(background_id=BG, trigger_id="f1", attempt=1, failure=failure)
        told(self.run(), ended).then(
            self.ended(success=False, output="", error="no such bundle", error_type="bundle_not_found")
        )

    def test_one_that_ended_with_the_tower_is_given_again(self) -> None:
        there = spawn_run(self.run(), "f1")
        first = run_of(there, "f1")
        lost = told(there, SessionRecordTurnLost(session_id=first, turn=1)).accepted()
        ended, again = run_ended(lost, "f1").events
        assert isinstance(ended, e.BackgroundRunEnded)
        assert isinstance(again, e.BackgroundRunStarted)
        assert (ended.again, ended.error_type, ended.attempt) == (True, "lost", 1)
        assert (again.attempt, again.trigger_count, again.session_name) == (2, 1, "workers-1")
        assert again.session_id != first
        there = run_ended(lost, "f1").accepted()
        run_ended(there, "f1").then_nothing()
        assert finish(there, "f1").accepted().state.backgrounds.known[BG].trigger_count == 1

    def test_but_not_for_ever(self) -> None:
        there = self.run()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            there = spawn_run(there, "f1")
            lost = SessionRecordTurnLost(session_id=run_of(there, "f1"), turn=1)
            there = run_ended(told(there, lost).accepted(), "f1", attempt).accepted()
        assert len(workers(there).running) == 0

    def test_a_cancelled_session_is_an_end(self) -> None:
        there = self.run()
        session_id = run_of(there, "f1")
        there = there.and_given(*talks.waiting(session_id)).when(talks.cancel(session_id)).accepted()
        (ended,) = run_ended(there, "f1").events
        assert isinstance(ended, e.BackgroundRunEnded)
        assert (ended.success, ended.error_type) == (False, "cancelled")


@pytest.mark.parametrize("size", [100_000, 200_000])
def test_what_led_to_a_run_is_cut_before_it_grows_from_run_to_run(size: int) -> None:
    there = works(hooked(on_complete_emit="work:completed"))
    there = told(there, record("f1", data="x" * size)).accepted()
    _, emitted, _ = finish(there, "f1").events
    assert isinstance(emitted, SessionEmitted)
    assert (emitted.data["trigger"]["data"] is None) == (size > 131_072)
