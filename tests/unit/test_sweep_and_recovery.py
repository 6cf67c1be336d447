"""The sweep and recovery at start (layouts.md): markers of 5 min and older, what tmux shows and what it does not."""

from datetime import timedelta

import pytest

from domain.layouts import commands as c
from domain.layouts.events import LayoutRecoveryFailed, LayoutRecoveryReattached
from domain.layouts.reports import AT_ONCE
from domain.messages import HOST, TOWER, Event, Request
from handlers.batch import MAX_EVENTS
from handlers.recovery import portions
from tests.unit.builders import (
    BENCH,
    facts,
    failed_layout,
    layout,
    layout_moved,
    marker_set,
    moved,
    ready,
    ready_layout,
    recreated,
    registered,
    removed_layout,
    settled,
    spawned,
)
from tests.unit.given import History, given

FIVE_MINUTES = timedelta(minutes=5)
MICROSECOND = timedelta(microseconds=1)
STALE = "stale pending marker"


def _sweep(history: History, after: timedelta) -> tuple[Event, ...]:
    return history.when(c.PaneSweep(), origin=TOWER, facts=facts(after=after)).events


def _recover(*present: str, container: str = HOST) -> Request:
    return c.ContainerRecover(container_id=container, present_pane_ids=present)


class TestSweep:
    def test_the_bound_is_five_minutes_exactly(self) -> None:
        history = given(*layout())
        assert _sweep(history, FIVE_MINUTES - MICROSECOND) == ()
        assert _sweep(history, FIVE_MINUTES) == (
            moved("L-m1", "creating", "failed", "pane_create", STALE),
            layout_moved("L", "creating", "failed", "pane_create"),
        )

    @pytest.mark.parametrize(
        ("done", "stage"),
        [
            ((), "pane_create"),
            ((spawned("L-m1"),), "launch_command"),
            ((spawned("L-m1"), settled("L-m1")), "registration"),
            ((spawned("L-m1"), settled("L-m1"), registered("L-m1")), "log_attach"),
        ],
    )
    def test_the_stage_is_the_first_that_is_not_done(self, done: tuple[Event, ...], stage: str) -> None:
        assert _sweep(given(*layout(), *done), FIVE_MINUTES) == (
            moved("L-m1", "creating", "failed", stage, STALE),
            layout_moved("L", "creating", "failed", stage),
        )

    def test_only_the_pending_fail_and_the_layout_follows(self) -> None:
        history = given(*layout("L", "m1", "s1"), *ready("L-m1"), *ready_layout("B", "m2"), *removed_layout("X"))
        assert _sweep(history, timedelta(days=1)) == (
            moved("L-s1", "creating", "failed", "pane_create", STALE),
            layout_moved("L", "creating", "failed", "pane_create"),
        )

    def test_every_container_is_swept(self) -> None:
        history = given(*layout("A"), *layout("B", container=BENCH), containers=(HOST, BENCH))
        assert _sweep(history, FIVE_MINUTES) == (
            moved("A-m1", "creating", "failed", "pane_create", STALE),
            moved("B-m1", "creating", "failed", "pane_create", STALE),
            layout_moved("A", "creating", "failed", "pane_create"),
            layout_moved("B", "creating", "failed", "pane_create"),
        )

    def test_a_recreated_pane_has_a_marker_of_its_own_age(self) -> None:
        late = marker_set("L-new", "L-new", after=timedelta(minutes=3))
        history = given(*failed_layout(), *recreated("L-m1", "L-new")[:-1], late)
        assert _sweep(history, timedelta(minutes=8) - MICROSECOND) == ()
        assert _sweep(history, timedelta(minutes=8))

    def test_again_does_nothing(self) -> None:
        history = given(*layout()).when(c.PaneSweep(), origin=TOWER, facts=facts(after=FIVE_MINUTES)).accepted()
        assert _sweep(history, timedelta(hours=1)) == ()


class TestAFullNode:
    """40 layouts of 64 panes are more than one append takes."""

    EVENTS = tuple(
        event
        for n in range(40)
        for event in ready_layout(f"L{n:02}", *(f"s{n}-{m}" for m in range(64)), session=f"w{n}")
    )

    def test_is_recovered_in_portions(self) -> None:
        history = given(*self.EVENTS)
        layouts = history.state.layouts
        groups = tuple(portions(layouts, HOST))
        assert [layout_id for group in groups for layout_id in group] == sorted(layouts.open_layouts)
        for group in groups:
            request = c.ContainerRecover(container_id=HOST, present_pane_ids=(), layout_ids=group)
            when = history.when(request, origin=TOWER)
            assert len(when.events) <= MAX_EVENTS
            history = when.accepted()
        assert not any(pane.live for pane in history.state.layouts.panes.values())

    def test_is_swept_in_portions(self) -> None:
        history = given(*(event for n in range(10) for event in layout(f"L{n}", *(f"s{n}-{m}" for m in range(64)))))
        first = _sweep(history, FIVE_MINUTES)
        assert len(first) <= MAX_EVENTS
        assert len(_sweep(history.and_given(*first), FIVE_MINUTES)) == 640 - AT_ONCE + 4


class TestRecovery:
    def test_what_stands_is_kept_and_what_is_gone_fails(self) -> None:
        given(*ready_layout("L", "m1", "s1", "s2")).when(_recover("L-m1", "L-s2"), origin=TOWER).then(
            moved("L-s1", "ready", "failed", "recovery_reattach"),
            LayoutRecoveryFailed(layout_id="L", pane_ids=("L-s1",)),
            LayoutRecoveryReattached(layout_id="L", pane_ids=("L-m1", "L-s2")),
            layout_moved("L", "ready", "failed", "recovery_reattach"),
        )

    def test_a_pane_not_yet_made_goes_on_while_its_marker_is_fresh(self) -> None:
        given(*layout()).when(_recover(), origin=TOWER, facts=facts(after=FIVE_MINUTES - MICROSECOND)).then_nothing()

    @pytest.mark.parametrize("present", [(), ("L-m1",)])
    def test_a_stale_marker_fails_present_or_not(self, present: tuple[str, ...]) -> None:
        given(*layout()).when(_recover(*present), origin=TOWER, facts=facts(after=FIVE_MINUTES)).then(
            moved("L-m1", "creating", "failed", "recovery_reattach"),
            LayoutRecoveryFailed(layout_id="L", pane_ids=("L-m1",)),
            layout_moved("L", "creating", "failed", "recovery_reattach"),
        )

    def test_a_pane_half_made_goes_on_where_it_stands(self) -> None:
        given(*layout(), spawned("L-m1")).when(_recover("L-m1"), origin=TOWER).then(
            LayoutRecoveryReattached(layout_id="L", pane_ids=("L-m1",))
        )

    def test_a_pane_half_made_and_gone_fails(self) -> None:
        given(*layout(), spawned("L-m1")).when(_recover(), origin=TOWER).then(
            moved("L-m1", "creating", "failed", "recovery_reattach"),
            LayoutRecoveryFailed(layout_id="L", pane_ids=("L-m1",)),
            layout_moved("L", "creating", "failed", "recovery_reattach"),
        )

    def test_other_containers_are_untouched(self) -> None:
        history = given(*ready_layout("L", container=BENCH), containers=(HOST, BENCH))
        history.when(_recover(), origin=TOWER).then_nothing()

    def test_what_is_not_alive_is_no_concern(self) -> None:
        given(*failed_layout("A"), *removed_layout("B")).when(
            _recover("A-m1", "B-m1", "stranger"), origin=TOWER
        ).then_nothing()

    def test_it_is_idempotent_on_a_stable_tree(self) -> None:
        kept = LayoutRecoveryReattached(layout_id="L", pane_ids=("L-m1",))
        once = given(*ready_layout()).when(_recover("L-m1"), origin=TOWER).then(kept)
        assert once.state.layouts == given(*ready_layout()).state.layouts
        once.when(_recover("L-m1"), origin=TOWER).then(kept)
        failed = once.when(_recover(), origin=TOWER).accepted()
        failed.when(_recover(), origin=TOWER).then_nothing()
