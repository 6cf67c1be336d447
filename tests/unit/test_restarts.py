"""The restart policy `on_failure` (layouts.md, restart and restore): which deaths, how long, how often, who stops it.

The pane `L-lead` has the policy, its fellow `L-m1` has `never`.
"""

from datetime import timedelta

import pytest

from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.decide import lose_containers
from domain.layouts.restarts import MOST_IN_WINDOW, WINDOW
from domain.messages import HOST, POLICY, TOWER, Event, Request
from handlers.effects.restarting import open_restarts
from tests.unit.builders import (
    AT,
    exited,
    facts,
    gone,
    launch_exited,
    layout,
    layout_moved,
    moved,
    ready,
    ready_layout,
    recreate,
    recreated,
    settled,
    spawned,
)
from tests.unit.given import History, given

READY = (*layout("L", "lead"), *ready("L-lead"), layout_moved("L", "creating", "ready"))
SECOND = timedelta(seconds=1)


def scheduled(pane_id: str, after: timedelta, *earlier: timedelta) -> Event:
    return e.PaneRestartScheduled(
        pane_id=pane_id,
        layout_id=pane_id.rpartition("-")[0],
        due_at=AT + after,
        earlier=tuple(AT + each for each in earlier),
    )


def cancelled(pane_id: str) -> Event:
    return e.PaneRestartCancelled(pane_id=pane_id, layout_id=pane_id.rpartition("-")[0])


def given_up(pane_id: str, reason: e.RestartEnd) -> Event:
    return e.PaneRestartGivenUp(pane_id=pane_id, layout_id=pane_id.rpartition("-")[0], reason=reason)


def died(pane_id: str = "L-lead", code: int | None = 1, signal: int | None = None) -> Request:
    return c.PaneRecordExited(pane_id=pane_id, exit_code=code, signal=signal)


def vanished(pane_id: str = "L-lead") -> Request:
    return c.PaneRecordVanished(pane_id=pane_id)


def restarts_of(history: History, request: Request, after: timedelta = timedelta()) -> list[Event]:
    """What the policy made of it."""
    happened = history.when(request, origin=TOWER, facts=facts("agent", after=after))
    kinds = e.PaneRestartScheduled | e.PaneRestartCancelled | e.PaneRestartGivenUp
    return [event for event in happened.events if isinstance(event, kinds)]


def waiting() -> History:
    """The pane died of code 1 and is to be made anew a second later."""
    return given(*READY).when(died(), origin=TOWER, facts=facts()).accepted()


def removed_by_policy() -> History:
    return waiting().when(c.PaneRemove(pane_id="L-lead"), origin=POLICY, facts=facts(after=SECOND)).accepted()


def restarted() -> History:
    made = removed_by_policy().when(recreate("L-lead"), origin=POLICY, facts=facts("L-1", after=SECOND)).accepted()
    return made.and_given(*ready("L-1"))


def after_restarts(count: int, every: timedelta) -> History:
    """A chain that the policy made anew so often, each time so long after the time before; the newest is ready."""
    history = given(*READY)
    newest = "L-lead"
    for number in range(1, count + 1):
        at = facts(f"L-{number}", after=every * number)
        history = history.when(died(newest), origin=TOWER, facts=at).accepted()
        history = history.when(c.PaneRemove(pane_id=newest), origin=POLICY, facts=at).accepted()
        history = history.when(recreate(newest), origin=POLICY, facts=at).accepted().and_given(*ready(f"L-{number}"))
        newest = f"L-{number}"
    return history


class TestWhichDeaths:
    def test_a_code_other_than_0(self) -> None:
        given(*READY).when(died(code=1), origin=TOWER).then(
            exited("L-lead"),
            moved("L-lead", "ready", "degraded", "process_exited"),
            scheduled("L-lead", SECOND),
            layout_moved("L", "ready", "degraded"),
        )

    def test_a_signal(self) -> None:
        assert restarts_of(given(*READY), died(code=None, signal=9)) == [scheduled("L-lead", SECOND)]

    def test_an_end_that_tmux_lost(self) -> None:
        assert restarts_of(given(*READY), died(code=None)) == [scheduled("L-lead", SECOND)]

    def test_not_code_0(self) -> None:
        assert restarts_of(given(*READY), died(code=0)) == []

    @pytest.mark.parametrize("so_far", [(), (spawned("L-lead"),), ready("L-lead")])
    def test_a_pane_that_vanished_while_the_tower_ran(self, so_far: tuple[Event, ...]) -> None:
        assert restarts_of(given(*layout("L", "lead"), *so_far), vanished()) == [scheduled("L-lead", SECOND)]

    def test_not_a_pane_that_recovery_does_not_find(self) -> None:
        lost = c.ContainerRecover(container_id=HOST, present_pane_ids=())
        assert restarts_of(given(*READY), lost) == []

    def test_not_a_launch_command_that_exits_at_once(self) -> None:
        at_once = c.PaneRecordLaunchExited(pane_id="L-lead", elapsed_ms=40, exit_code=1)
        history = given(*layout("L", "lead"), spawned("L-lead"))
        assert restarts_of(history, at_once) == []
        after = history.and_given(launch_exited("L-lead"), moved("L-lead", "creating", "degraded", "launch_command"))
        assert restarts_of(after, died()) == []

    def test_not_a_pane_that_could_not_be_made(self) -> None:
        refused = c.PaneFail(pane_id="L-lead", stage="pane_create", reason="no space")
        assert restarts_of(given(*layout("L", "lead")), refused) == []

    def test_not_a_pane_that_the_sweep_gave_up(self) -> None:
        history = given(*layout("L", "lead"), spawned("L-lead"), settled("L-lead"))
        assert restarts_of(history, c.PaneSweep(), after=timedelta(minutes=5)) == []

    def test_never_without_the_policy(self) -> None:
        for request in (died("L-m1"), vanished("L-m1")):
            assert restarts_of(given(*ready_layout()), request) == []

    def test_the_policy_is_inherited(self) -> None:
        assert restarts_of(restarted(), died("L-1"), after=3 * SECOND) == [scheduled("L-1", 5 * SECOND, SECOND)]

    def test_once_though_the_remains_vanish_too(self) -> None:
        assert restarts_of(waiting(), vanished()) == []


class TestHowLongAndHowOften:
    @pytest.mark.parametrize(("before", "wait_s"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16)])
    def test_each_wait_is_twice_the_one_before(self, before: int, wait_s: int) -> None:
        history = after_restarts(before, 30 * SECOND)
        newest = f"L-{before}" if before else "L-lead"
        (planned,) = restarts_of(history, died(newest), after=timedelta(minutes=3))
        assert isinstance(planned, e.PaneRestartScheduled)
        assert planned.due_at - AT == timedelta(minutes=3, seconds=wait_s)
        assert len(planned.earlier) == before

    def test_the_sixth_death_in_10_minutes_is_one_too_many(self) -> None:
        assert (MOST_IN_WINDOW, timedelta(minutes=10)) == (5, WINDOW)
        history = after_restarts(5, 30 * SECOND)
        assert restarts_of(history, died("L-5"), after=timedelta(minutes=3)) == [given_up("L-5", "too_many")]

    def test_what_is_older_than_10_minutes_does_not_count(self) -> None:
        history = after_restarts(5, 30 * SECOND)
        # The first was due at 31 s.
        just_in, just_out = timedelta(minutes=10, seconds=30), timedelta(minutes=10, seconds=31)
        assert restarts_of(history, died("L-5"), after=just_in) == [given_up("L-5", "too_many")]
        (planned,) = restarts_of(history, died("L-5"), after=just_out)
        assert isinstance(planned, e.PaneRestartScheduled)
        assert planned.due_at - AT == just_out + 16 * SECOND

    def test_after_a_long_life_the_wait_is_the_first_again(self) -> None:
        history = after_restarts(5, 30 * SECOND)
        late = timedelta(hours=1)
        assert restarts_of(history, died("L-5"), after=late) == [scheduled("L-5", late + SECOND)]

    def test_a_chain_without_a_generation_left_rests(self) -> None:
        history = after_restarts(15, timedelta(minutes=20))
        assert restarts_of(history, died("L-15"), after=timedelta(days=1)) == [given_up("L-15", "chain_too_deep")]

    def test_giving_up_is_said_once(self) -> None:
        history = after_restarts(5, 30 * SECOND)
        at = facts(after=timedelta(minutes=3))
        after = history.when(died("L-5"), origin=TOWER, facts=at).accepted()
        assert restarts_of(after, vanished("L-5"), after=timedelta(hours=1)) == []

    def test_the_first_wait_is_a_setting(self) -> None:
        known = facts()
        happened = given(*READY).when(died(), origin=TOWER, facts=type(known)(at=AT, restart_backoff_s=0.25))
        assert scheduled("L-lead", SECOND / 4) in happened.events


class TestTheRestart:
    def test_is_a_removal_and_a_recreation_of_the_policys(self) -> None:
        (
            waiting()
            .when(c.PaneRemove(pane_id="L-lead"), origin=POLICY, facts=facts(after=SECOND))
            .then(
                moved("L-lead", "degraded", "removed"),
                e.PaneRemoved(pane_id="L-lead", layout_id="L", tmux_pane_id="%1"),
                layout_moved("L", "degraded", "removed"),
            )
            .when(recreate("L-lead"), origin=POLICY, facts=facts("L-1"))
            .then(*recreated("L-lead", "L-1", label="lead"), layout_moved("L", "removed", "creating"))
        )

    def test_of_a_vanished_pane_too(self) -> None:
        history = given(*READY).when(vanished(), origin=TOWER).accepted()
        after = history.when(c.PaneRemove(pane_id="L-lead"), origin=POLICY).accepted()
        made = after.when(recreate("L-lead"), origin=POLICY, facts=facts("L-1")).accepted()
        assert [pane.state for pane in made.state.layouts.panes_of("L")] == ["removed", "creating"]

    def test_is_open_until_the_successor_is_there(self) -> None:
        due = (("L-lead", AT + SECOND),)
        assert open_restarts(waiting().state.layouts) == due
        assert open_restarts(removed_by_policy().state.layouts) == due, "the half after a crash between both"
        assert open_restarts(restarted().state.layouts) == ()

    def test_again_does_nothing(self) -> None:
        removed_by_policy().when(c.PaneRemove(pane_id="L-lead"), origin=POLICY).then_nothing()
        restarted().when(recreate("L-lead"), origin=POLICY).then_nothing()

    def test_does_not_recreate_what_it_did_not_remove(self) -> None:
        waiting().when(recreate("L-lead"), origin=POLICY).then_nothing()

    def test_that_would_be_refused_leaves_the_pane_as_it_is(self) -> None:
        waiting().when(c.PaneRemove(pane_id="L-lead"), origin=POLICY, facts=facts(profiles={})).then_rejected(
            "managed_launch_command_not_found", profile_name="shell", known_profiles=[]
        )
        lost = given(*READY).when(vanished(), origin=TOWER).accepted()
        lost.and_given(*ready_layout("B", "lead")).when(c.PaneRemove(pane_id="L-lead"), origin=POLICY).then_rejected(
            "managed_pane_label_conflict", container_id=HOST, label="lead"
        )


class TestWhenSomebodyElseActs:
    def test_an_operators_removal_cancels_it(self) -> None:
        (
            waiting()
            .when(c.PaneRemove(pane_id="L-lead"))
            .then(
                cancelled("L-lead"),
                moved("L-lead", "degraded", "removed"),
                e.PaneRemoved(pane_id="L-lead", layout_id="L", tmux_pane_id="%1"),
                layout_moved("L", "degraded", "removed"),
            )
            .when(c.PaneRemove(pane_id="L-lead"), origin=POLICY)
            .then_nothing()
            .when(recreate("L-lead"), origin=POLICY)
            .then_nothing()
        )

    def test_so_does_the_removal_of_the_layout(self) -> None:
        history = waiting().when(c.LayoutRemove(layout_id="L")).accepted()
        assert open_restarts(history.state.layouts) == ()

    def test_so_does_an_operators_recreation(self) -> None:
        history = given(*READY).when(vanished(), origin=TOWER).accepted()
        happened = history.when(recreate("L-lead"), facts=facts("L-new"))
        assert happened.events[0] == cancelled("L-lead")
        assert happened.result["pane_id"] == "L-new"
        happened.accepted().when(c.PaneRemove(pane_id="L-lead"), origin=POLICY).then_nothing()

    def test_so_does_a_recovery_that_does_not_find_the_pane(self) -> None:
        lost = c.ContainerRecover(container_id=HOST, present_pane_ids=())
        assert restarts_of(waiting(), lost) == [cancelled("L-lead")]

    def test_a_recovery_that_finds_it_lets_it_stand(self) -> None:
        found = c.ContainerRecover(container_id=HOST, present_pane_ids=("L-lead",))
        assert restarts_of(waiting(), found) == []

    def test_a_gone_container_restarts_nothing(self) -> None:
        history = given(*READY)
        lost, _ = lose_containers([HOST], history.state.layouts)
        assert lost == (
            moved("L-lead", "ready", "failed", "pane_vanished", "container gone"),
            layout_moved("L", "ready", "failed", "pane_vanished"),
        )

    def test_an_operators_recreation_after_giving_up_starts_afresh(self) -> None:
        history = after_restarts(5, 30 * SECOND)
        three = timedelta(minutes=3)
        history = history.when(died("L-5"), origin=TOWER, facts=facts(after=three)).accepted()
        history = history.when(c.PaneRemove(pane_id="L-5")).accepted()
        history = history.when(recreate("L-5"), facts=facts("L-6", after=three)).accepted().and_given(*ready("L-6"))
        assert restarts_of(history, died("L-6"), after=three) == [scheduled("L-6", three + SECOND)]

    def test_a_removed_pane_is_not_restarted(self) -> None:
        history = given(*READY, moved("L-lead", "ready", "removed"), gone("L-lead"))
        for request in (died(), vanished()):
            assert restarts_of(history, request) == []
