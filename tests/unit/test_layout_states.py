"""The state of a layout (layouts.md, state machine): made of its panes that are neither removed nor superseded."""

import itertools

import msgspec
import pytest

from domain.layouts import commands as c
from domain.layouts.events import PaneState, Stage
from domain.layouts.state import Pane, aggregate
from domain.messages import HOST, TOWER
from tests.unit.builders import (
    exited,
    failed_layout,
    gone,
    layout,
    layout_moved,
    log_attached,
    marker_cleared,
    moved,
    ready,
    ready_layout,
    recreate,
    recreated,
    registered,
    settled,
    spawned,
)
from tests.unit.builders import facts as some_facts
from tests.unit.given import given


def _pane(state: PaneState, stage: Stage | None = None) -> Pane:
    (pane,) = given(*layout()).state.layouts.panes.values()
    return msgspec.structs.replace(pane, state=state, failed_stage=stage if state is PaneState.FAILED else None)


@pytest.mark.parametrize("states", list(itertools.combinations_with_replacement(PaneState, 3)))
def test_any_creating_else_any_failed_else_any_degraded_else_all_removed_else_ready(
    states: tuple[PaneState, ...],
) -> None:
    present = set(states) - {PaneState.REMOVED}
    expected = next(
        (state for state in ("creating", "failed", "degraded", "ready") if state in present),
        "removed",
    )
    for order in set(itertools.permutations(states)):
        panes = tuple(_pane(state, Stage.REGISTRATION) for state in order)
        assert aggregate(panes) == (expected, "registration" if expected == "failed" else None)


def test_the_failed_stage_is_that_of_the_first_failed_pane() -> None:
    panes = (
        _pane(PaneState.READY),
        _pane(PaneState.FAILED, Stage.PANE_VANISHED),
        _pane(PaneState.FAILED, Stage.PANE_CREATE),
    )
    assert aggregate(panes) == ("failed", "pane_vanished")


class WhenCreating:
    def test_is_ready_with_its_last_pane(self) -> None:
        (
            given(*layout("L", "m1", "s1"), *ready("L-m1"), spawned("L-s1"), settled("L-s1"), registered("L-s1"))
            .when(c.PaneRecordLogAttached(pane_id="L-s1", path="L-s1.log"), origin=TOWER)
            .then(
                log_attached("L-s1"),
                marker_cleared("L-s1"),
                moved("L-s1", "creating", "ready"),
                layout_moved("L", "creating", "ready"),
            )
        )

    def test_stays_creating_while_a_pane_is_created_though_another_failed(self) -> None:
        (
            given(*layout("L", "m1", "s1"))
            .when(c.PaneFail(pane_id="L-m1", stage="pane_create", reason="no space"), origin=TOWER)
            .then(moved("L-m1", "creating", "failed", "pane_create", "no space"))
            .when(c.PaneFail(pane_id="L-s1", stage="registration", reason="locked"), origin=TOWER)
            .then(
                moved("L-s1", "creating", "failed", "registration", "locked"),
                layout_moved("L", "creating", "failed", "pane_create"),
            )
        )


class WhenReady:
    def test_is_degraded_with_a_pane_and_failed_with_another(self) -> None:
        (
            given(*ready_layout("L", "m1", "s1"))
            .when(c.PaneRecordExited(pane_id="L-m1", exit_code=1), origin=TOWER)
            .then(
                exited("L-m1"),
                moved("L-m1", "ready", "degraded", "process_exited"),
                layout_moved("L", "ready", "degraded"),
            )
            .when(c.PaneRecordVanished(pane_id="L-s1"), origin=TOWER)
            .then(
                moved("L-s1", "ready", "failed", "pane_vanished"),
                layout_moved("L", "degraded", "failed", "pane_vanished"),
            )
        )

    def test_stays_ready_when_one_of_its_panes_is_removed(self) -> None:
        history = given(*ready_layout("L", "m1", "s1")).when(c.PaneRemove(pane_id="L-m1")).accepted()
        assert history.state.layouts.layouts["L"].state == "ready"


class WhenFailed:
    def test_is_creating_again_with_the_successor_and_ready_once_it_is(self) -> None:
        (
            given(*failed_layout("L", "pane_vanished"))
            .when(recreate("L-m1"), facts=some_facts("L-new"))
            .then(*recreated("L-m1", "L-new"), layout_moved("L", "failed", "creating"))
            .and_given(spawned("L-new"), settled("L-new"), registered("L-new"))
            .when(c.PaneRecordLogAttached(pane_id="L-new", path="L-new.log"), origin=TOWER)
            .then(
                log_attached("L-new"),
                marker_cleared("L-new"),
                moved("L-new", "creating", "ready"),
                layout_moved("L", "creating", "ready"),
            )
        )

    def test_takes_over_the_stage_of_the_next_failed_pane_when_the_first_is_removed(self) -> None:
        (
            given(
                *layout("L", "m1", "s1"),
                moved("L-m1", "creating", "failed", "pane_create"),
                moved("L-s1", "creating", "failed", "registration"),
                layout_moved("L", "creating", "failed", "pane_create"),
            )
            .when(c.PaneRemove(pane_id="L-m1"))
            .then(
                moved("L-m1", "failed", "removed"), gone("L-m1"), layout_moved("L", "failed", "failed", "registration")
            )
            .when(c.PaneRemove(pane_id="L-s1"))
            .then(moved("L-s1", "failed", "removed"), gone("L-s1"), layout_moved("L", "failed", "removed"))
        )

    def test_several_layouts_that_one_report_moves_follow_in_order(self) -> None:
        events = (
            given(*ready_layout("A"), *ready_layout("B", "m2"))
            .when(c.ContainerRecover(container_id=HOST, present_pane_ids=()), origin=TOWER)
            .events
        )
        assert events[-2:] == (
            layout_moved("A", "ready", "failed", "recovery_reattach"),
            layout_moved("B", "ready", "failed", "recovery_reattach"),
        )
