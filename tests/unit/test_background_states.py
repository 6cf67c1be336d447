"""Background sessions from their declaration to their end: the table in `domain/background/state.py`."""

from datetime import timedelta
from typing import Any

import pytest

from domain.background import commands as c
from domain.background import events as e
from domain.background.definition import MAX_DECLARED, digest_of
from domain.background.events import BackgroundState
from domain.sessions.commands import SessionCancel, SessionEnd
from tests.unit import talks
from tests.unit.builders import AT, BENCH
from tests.unit.given import History, given
from tests.unit.yards import (
    BG,
    at,
    declaration,
    declare,
    declared,
    definition,
    emits,
    running,
    starting,
    stopped,
    told,
    works,
)


def state_of(there: History, background_id: str = BG) -> BackgroundState:
    return there.state.backgrounds.known[background_id].state


def failed(count: int = 1, after_s: float | None = 1, error: str = "no folder") -> e.BackgroundFailed:
    restart_at = None if after_s is None else AT + timedelta(seconds=after_s)
    return e.BackgroundFailed(
        background_id=BG, error=error, error_type="OSError", restart_count=count, restart_at=restart_at
    )


def fails(digest: str | None = None) -> c.BackgroundRecordFailed:
    digest = digest or digest_of(definition())
    return c.BackgroundRecordFailed(background_id=BG, definition_digest=digest, error="no folder", error_type="OSError")


DUE = c.BackgroundRecordRestartDue(background_id=BG)
START = c.BackgroundStart(background_id=BG)
STOP = c.BackgroundStop(background_id=BG)


class WhenDeclared:
    def test_it_starts_with_its_parent(self) -> None:
        told((), declare(declaration())).then(declared(), starting())

    def test_or_when_somebody_asks(self) -> None:
        given_ = declaration(start_on_parent_start=False)
        there = told((), declare(given_)).then(declared(of=definition(start_on_parent_start=False)))
        there.when(START).then(starting("asked"))

    def test_again_and_the_same_is_nothing(self) -> None:
        told(works(), declare(declaration())).then_nothing()

    def test_ids_count_the_declarations_of_the_node(self) -> None:
        there = works(declaration("a"), declaration("b"))
        assert sorted(there.state.backgrounds.known) == ["bg-a-0001", "bg-b-0002"]
        gone = told(there, declare(declaration("b"))).then(stopped("withdrawn", background_id="bg-a-0001"))
        assert sorted(gone.state.backgrounds.known) == ["bg-b-0002"]
        told(gone, declare(declaration("b"), declaration("a"))).then(
            declared("bg-a-0003", definition("a")), starting(background_id="bg-a-0003")
        )

    def test_another_definition_takes_the_place_of_the_one_that_was(self) -> None:
        other = definition(pool_size=2)
        there = told(works(), declare(declaration(pool_size=2))).then(declared(of=other), starting("declared"))
        assert there.state.backgrounds.known[BG].definition == other

    def test_one_that_was_stopped_stays_so_with_another_definition(self) -> None:
        there = works().when(STOP).accepted()
        told(there, declare(declaration(pool_size=2))).then(declared(of=definition(pool_size=2)))

    def test_one_that_rests_after_failures_is_tried_again(self) -> None:
        there = works().and_given(failed(4, None))
        told(there, declare(declaration())).then(starting())

    def test_a_fault_is_told_by_its_field_and_nothing_is_declared(self) -> None:
        told((), declare(declaration(), declaration("b", pool_size=0))).then_rejected(
            "validation_failed",
            field="background_sessions[1].pool_size",
            reason="a whole number from 1 to 100 was expected, not 0",
        )

    def test_a_node_has_room_for_so_many(self) -> None:
        many = tuple(declaration(f"b{n}") for n in range(MAX_DECLARED))
        there = told((), declare(*many)).accepted()
        one_more = declare(declaration(), source="bundle", parent_session_id="lead")
        told(there.and_given(*talks.waiting("lead")), one_more).then_rejected(
            "validation_failed",
            field="background_sessions",
            reason="400 are declared on this node, and at most 400 may be",
        )
        told(there, declare(*many[1:], declaration())).accepted()

    def test_what_a_configuration_declares_is_not_what_a_bundle_does(self) -> None:
        there = works().and_given(*talks.waiting("lead"))
        mine = declare(declaration(), source="bundle", parent_session_id="lead", bundle="/b", folder="/f")
        second = "bg-workers-0002"
        known: dict[str, Any] = {"source": "bundle", "parent_session_id": "lead", "bundle": "/b", "folder": "/f"}
        told(there, mine).then(declared(second, **known), starting(background_id=second))


class WhenStarting:
    def test_it_runs_once_all_is_watched(self) -> None:
        there = told((), declare(declaration())).accepted()
        watched = c.BackgroundRecordRunning(background_id=BG, definition_digest=digest_of(definition()))
        told(told(there, watched).then(running()), watched).then_nothing()

    def test_a_watch_of_another_definition_does_not_count(self) -> None:
        there = told((), declare(declaration())).accepted()
        told(there, c.BackgroundRecordRunning(background_id=BG, definition_digest="other")).then_nothing()
        told(there, fails("other")).then_nothing()

    def test_it_listens_from_the_start_on(self) -> None:
        there = emits(told((), declare(declaration())).accepted())
        assert len(there.state.backgrounds.known[BG].running) == 1


class WhenRunning:
    def test_a_failed_watch_is_started_again_after_1_2_and_4_seconds_and_then_it_rests(self) -> None:
        there = works()
        now = 0.0
        for count, wait_s in ((1, 1), (2, 2), (3, 4)):
            there = told(there, fails(), after_s=now).then(failed(count, now + wait_s))
            told(there, DUE, after_s=now + wait_s - 0.1).then_nothing()
            now += wait_s
            there = told(there, DUE, after_s=now).then(starting("restart", after_s=now))
        there = told(there, fails(), after_s=now).then(failed(3, None))
        assert state_of(there) is BackgroundState.FAILED
        assert not there.state.backgrounds.known[BG].listens
        told(there, DUE, after_s=100).then_nothing()
        there.when(START, facts=at(100)).then(starting("asked", after_s=100))

    def test_a_quiet_window_makes_the_count_begin_anew(self) -> None:
        there = told(works(), fails()).accepted()
        there = told(there, DUE, after_s=1).accepted()
        told(there, fails(), after_s=62).then(failed(1, 63))
        told(there, fails(), after_s=30).then(failed(2, 32))

    def test_it_rests_at_once_if_nobody_wants_restarts(self) -> None:
        there = works(declaration(restart_on_failure=False))
        told(there, fails(digest_of(definition(restart_on_failure=False)))).then(failed(0, None))

    def test_what_waits_for_its_restart_listens(self) -> None:
        there = emits(told(works(), fails()).accepted())
        assert len(there.state.backgrounds.known[BG].running) == 1

    def test_starting_it_is_nothing(self) -> None:
        works().when(START).then_nothing()

    def test_a_stop_drops_what_waits_and_lets_go_on_what_runs(self) -> None:
        there = emits(works(), times=3)
        waiting = [each.trigger_id for each in there.state.backgrounds.known[BG].waiting]
        after = there.when(STOP).then(stopped("asked", *waiting))
        assert len(after.state.backgrounds.known[BG].running) == 1
        assert not after.state.backgrounds.known[BG].listens

    def test_a_stop_while_it_waits_for_its_restart_is_the_end_of_that(self) -> None:
        there = told(works(), fails()).accepted().when(STOP).then(stopped())
        told(there, DUE, after_s=5).then_nothing()

    def test_a_start_does_not_wait_for_the_restart(self) -> None:
        there = told(works(), fails()).accepted().when(START).then(starting("asked"))
        assert there.state.backgrounds.known[BG].restarts == ()


class WhenStopped:
    def test_stopping_it_is_nothing(self) -> None:
        there = works().when(STOP).accepted()
        there.when(STOP).then_nothing()

    def test_nothing_that_happens_is_its_business(self) -> None:
        there = works().when(STOP).accepted()
        assert emits(there).events == (*there.events, emits(there).events[-1])
        told(there, fails()).then_nothing()


class WhenAskedFor:
    def test_it_has_an_id_and_a_name(self) -> None:
        there = works()
        there.when(c.BackgroundStop(name="workers")).then(stopped())
        there.when(c.BackgroundStop(name="others")).then_rejected("background_not_found", name="others")
        there.when(c.BackgroundStart(background_id="bg-x-0001")).then_rejected("background_not_found", name="bg-x-0001")

    @pytest.mark.parametrize("request_", [c.BackgroundStop(), c.BackgroundStop(name="workers", background_id=BG)])
    def test_one_of_both(self, request_: c.BackgroundStop) -> None:
        works().when(request_).then_rejected(
            "validation_failed", field="background_id", reason="either background_id or name"
        )

    def test_a_name_that_several_have_says_too_little(self) -> None:
        there = works().and_given(*talks.waiting("lead"))
        there = told(there, declare(declaration(), source="bundle", parent_session_id="lead")).accepted()
        there.when(c.BackgroundStop(name="workers")).then_rejected(
            "validation_failed",
            field="name",
            reason=f"several have this name, give the id: {BG}, bg-workers-0002",
        )

    def test_the_answer_says_what_it_is_now(self) -> None:
        assert works().when(STOP).result == {"background_id": BG, "state": "stopped", "replay": False}
        assert works().when(START).result == {"background_id": BG, "state": "running", "replay": True}

    def test_nobody_in_a_container_may_ask(self) -> None:
        works().when(STOP, origin=BENCH).then_rejected("host_only")


class WhenASessionDeclaresThem:
    def spawned(self, *sessions: dict[str, Any]) -> History:
        facts = talks.prepared(background_sessions=sessions, background_folder="/bundles")
        return given().when(talks.spawn("lead", "Lead."), facts=facts).accepted()

    def test_they_start_in_the_append_of_its_spawn(self) -> None:
        there = self.spawned(declaration(), declaration("idle", start_on_parent_start=False))
        known: dict[str, Any] = {
            "source": "bundle",
            "parent_session_id": "lead",
            "bundle": "/bundles/reviewer",
            "folder": "/bundles",
        }
        idle = declared("bg-idle-0002", definition("idle", start_on_parent_start=False), **known)
        assert there.events[2:] == (declared(**known), starting(), idle)

    def test_a_fault_in_them_refuses_the_spawn(self) -> None:
        facts = talks.prepared(background_sessions=(declaration(pool_size=0),))
        given().when(talks.spawn("lead"), facts=facts).then_rejected(
            "validation_failed",
            field="background_sessions[0].pool_size",
            reason="a whole number from 1 to 100 was expected, not 0",
        )

    @pytest.mark.parametrize("request_", [SessionCancel(session_id="lead"), SessionEnd(session_id="lead")])
    def test_they_stop_in_the_append_of_its_end(self, request_: Any) -> None:
        there = emits(self.spawned(declaration()), times=2)
        (waits,) = there.state.backgrounds.known[BG].waiting
        over = there.when(request_).accepted()
        assert over.events[-1] == stopped("parent", waits.trigger_id)
        assert over.state.backgrounds.known[BG].over

    def test_they_are_forgotten_when_nothing_of_them_runs(self) -> None:
        there = self.spawned(declaration()).when(SessionCancel(session_id="lead")).accepted()
        backgrounds = there.state.backgrounds
        assert (len(backgrounds.known), len(backgrounds.children)) == (0, 0)
        assert ("background", BG) not in there.state.sequences
        there.when(START).then_rejected("background_not_found", name=BG)

    def test_they_go_on_if_they_are_to(self) -> None:
        there = self.spawned(declaration(stop_on_parent_stop=False)).when(SessionCancel(session_id="lead")).accepted()
        assert state_of(there) is BackgroundState.STARTING

    def test_a_reload_of_the_bundle_declares_them_anew(self) -> None:
        anew = declare(
            declaration("more"), source="bundle", parent_session_id="lead", bundle="/bundles/reviewer", folder="/f"
        )
        there = told(self.spawned(declaration()), anew).accepted()
        assert list(there.state.backgrounds.known) == ["bg-more-0002"]

    def test_nothing_is_declared_for_one_that_has_ended(self) -> None:
        there = self.spawned(declaration()).when(SessionCancel(session_id="lead")).accepted()
        told(there, declare(declaration(), source="bundle", parent_session_id="lead")).then_nothing()
