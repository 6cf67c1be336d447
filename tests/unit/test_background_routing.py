"""Who hears what: names, sources, order, depth; all in the append of the event itself."""

from typing import Any

import pytest

from domain.background import events as e
from domain.background.commands import BackgroundRecordRunEnded
from domain.executions.events import SessionEmitted
from domain.messages import Event
from domain.sessions.commands import SessionCancel
from tests.unit import talks
from tests.unit.given import History
from tests.unit.yards import (
    BG,
    at,
    declaration,
    emit,
    end_turn,
    finish,
    in_order,
    kinds,
    run_ended,
    run_of,
    spawn_run,
    told,
    works,
)


def heard(events: tuple[Event, ...]) -> list[str]:
    """Which background sessions it fired, in order."""
    return [event.background_id for event in events if isinstance(event, e.TriggerFired | e.TriggerRefused)]


def from_sources(*sources: str, names: tuple[str, ...] = ("work:ready",)) -> list[dict[str, Any]]:
    config: dict[str, Any] = {"event_names": list(names), "source_sessions": list(sources)}
    return [{"type": "session_event", "config": config}]


class TestNames:
    @pytest.mark.parametrize(
        ("patterns", "name", "hears"),
        [
            (("work:ready",), "work:ready", True),
            (("work:ready",), "work:read", False),
            (("work:*",), "work:ready", True),
            (("work:*",), "works:ready", False),
            (("*",), "a:b", True),
            (("work:other", "work:*"), "work:ready", True),
        ],
    )
    def test_exact_by_the_first_word_or_all(self, patterns: tuple[str, ...], name: str, hears: bool) -> None:
        events = works(declaration("workers", *patterns)).when(emit(name), facts=at()).events
        assert heard(events) == ([BG] if hears else [])

    def test_one_event_fires_once_however_often_it_is_named(self) -> None:
        triggers = [
            {"type": "session_event", "config": {"event_names": ["other:x", "*"]}},
            {"type": "session_event", "config": {"event_names": ["work:ready", "work:*"]}},
        ]
        events = works(declaration(triggers=triggers)).when(emit(), facts=at()).events
        (fired,) = (event for event in events if isinstance(event, e.TriggerFired))
        assert fired.trigger == 0

    def test_all_that_listen_hear_it_in_the_order_of_their_declaration(self) -> None:
        there = works(declaration("z", "*"), declaration("a"), declaration("m", "work:*"))
        assert heard(there.when(emit(), facts=at()).events) == in_order(there)

    def test_it_says_from_where(self) -> None:
        there = works().and_given(*talks.running("lead"))
        emitted, fired, _ = there.when(emit(data={"n": 1}, session_id="lead"), facts=at()).events
        assert emitted == SessionEmitted(session_id="lead", name="work:ready", data={"n": 1})
        assert isinstance(fired, e.TriggerFired)
        assert (fired.source, fired.source_session_id, fired.event_name) == ("lead", "lead", "work:ready")
        assert (fired.data, fired.depth) == ({"n": 1}, 0)

    def test_each_event_fires_with_an_id_of_its_own(self) -> None:
        there = works(declaration(pool_size=5))
        for _ in range(3):
            there = there.when(emit(), facts=at()).accepted()
        assert len(there.state.backgrounds.known[BG].running) == 3


class TestSources:
    @pytest.mark.parametrize(("source", "hears"), [("lead", True), ("reviewer", True), ("other", False)])
    def test_a_session_goes_by_its_id_and_its_name(self, source: str, hears: bool) -> None:
        there = works(declaration(triggers=from_sources(source))).and_given(*talks.running("lead"))
        assert heard(there.when(emit(session_id="lead"), facts=at()).events) == ([BG] if hears else [])
        assert heard(there.when(emit(), facts=at()).events) == []

    def test_a_run_goes_by_the_name_of_its_background_session(self) -> None:
        after = declaration("after", triggers=from_sources("workers", names=("session:completed", "work:done")))
        there = works(declaration(on_complete_emit="work:done"), after).when(emit(), facts=at()).accepted()
        (trigger_id,) = there.state.backgrounds.known[BG].running
        over = end_turn(spawn_run(there, trigger_id), run_of(there, trigger_id))
        assert heard(over.events) == ["bg-after-0002"]
        assert heard(finish(there, trigger_id).events) == ["bg-after-0002"]


class TestLives:
    def test_a_session_that_completed(self) -> None:
        there = works(declaration("workers", "session:completed")).and_given(*talks.running("lead"))
        over = end_turn(there, "lead", output="42").events
        assert kinds(over) == ["SessionTurnCompleted", "SessionCompleted", "TriggerFired", "BackgroundRunStarted"]
        fired = over[2]
        assert isinstance(fired, e.TriggerFired)
        assert fired.data == {
            "session_id": "lead",
            "session_name": "reviewer",
            "bundle_name": "reviewer",
            "turn_count": 1,
            "output": "42",
            "success": True,
        }

    def test_a_session_that_failed_or_whose_time_was_over(self) -> None:
        there = works(declaration("workers", "session:error")).and_given(*talks.running("lead"))
        for state, type_ in (("failed", "exit_status"), ("timed_out", "timed_out")):
            fired = end_turn(there, "lead", state).events[1]
            assert isinstance(fired, e.TriggerFired)
            assert (fired.data["success"], fired.data["error_type"]) == (False, type_)

    def test_a_session_that_ended(self) -> None:
        there = works(declaration("workers", "session:end")).and_given(*talks.waiting("lead"))
        events = there.when(SessionCancel(session_id="lead"), facts=at()).events
        assert kinds(events) == ["SessionCancelled", "SessionEnded", "TriggerFired", "BackgroundRunStarted"]
        fired = events[2]
        assert isinstance(fired, e.TriggerFired)
        assert fired.data == {"session_id": "lead", "status": "cancelled"}


def loop(there: History, trigger_id: str, background_id: str = BG) -> History:
    return finish(there, trigger_id, background_id=background_id).accepted()


class TestDepth:
    def test_a_run_that_triggers_itself_ends_at_the_limit(self) -> None:
        there = works(declaration(on_complete_emit="work:ready")).when(emit(), facts=at()).accepted()
        depths: list[int] = []
        while there.state.backgrounds.known[BG].running:
            ((trigger_id, run),) = there.state.backgrounds.known[BG].running.items()
            depths.append(run.fired.depth)
            there = loop(there, trigger_id)
        assert depths == list(range(33))
        refused = [event for event in there.events if isinstance(event, e.TriggerRefused)]
        assert [(each.reason, each.depth) for each in refused] == [("depth", 33)]

    def test_two_that_trigger_each_other_do_as_well(self) -> None:
        ping = declaration("ping", "b:done", on_complete_emit="a:done")
        pong = declaration("pong", "a:done", on_complete_emit="b:done")
        there = works(ping, pong).when(emit("a:done"), facts=at()).accepted()
        rounds = 0
        while there.state.backgrounds.runs:
            ((_, (background_id, trigger_id)),) = there.state.backgrounds.runs.items()
            there = loop(there, trigger_id, background_id)
            rounds += 1
        assert rounds == 33
        assert [event.reason for event in there.events if isinstance(event, e.TriggerRefused)] == ["depth"]

    def test_the_limit_is_a_setting(self) -> None:
        there = works(declaration(on_complete_emit="work:ready")).when(emit(), facts=at()).accepted()
        (trigger_id,) = there.state.backgrounds.known[BG].running
        session_id = run_of(there, trigger_id)
        there = end_turn(spawn_run(there, trigger_id), session_id).accepted()
        ended = BackgroundRecordRunEnded(background_id=BG, trigger_id=trigger_id, attempt=1)
        events = told(there, ended, depth=0).events
        assert [each.reason for each in events if isinstance(each, e.TriggerRefused)] == ["depth"]

    def test_what_a_session_below_a_run_emits_has_the_depth_of_the_run(self) -> None:
        there = works(declaration("workers", "work:ready", "child:said")).when(emit(), facts=at()).accepted()
        (trigger_id,) = there.state.backgrounds.known[BG].running
        there = spawn_run(there, trigger_id)
        run = run_of(there, trigger_id)
        there = there.and_given(*talks.running("child", parent_session_id=run, background=True))
        there = there.and_given(*talks.running("grandchild", parent_session_id="child", background=True))
        emitted, fired = there.when(emit("child:said", session_id="grandchild"), facts=at()).events
        assert isinstance(emitted, SessionEmitted)
        assert isinstance(fired, e.TriggerFired)
        assert (emitted.depth, fired.depth) == (1, 1)

    def test_even_when_the_run_is_over_and_its_session_has_ended(self) -> None:
        there = works(declaration("workers", "work:ready", "child:said")).when(emit(), facts=at()).accepted()
        (trigger_id,) = there.state.backgrounds.known[BG].running
        there = spawn_run(there, trigger_id)
        run = run_of(there, trigger_id)
        there = there.and_given(*talks.running("child", parent_session_id=run, background=True))
        there = run_ended(end_turn(there, run).accepted(), trigger_id).accepted()
        _, fired, _ = there.when(emit("child:said", session_id="child"), facts=at()).events
        assert isinstance(fired, e.TriggerFired)
        assert fired.depth == 1
