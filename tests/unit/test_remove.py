"""pane.remove, layout.remove and the reserved pane.promote (layouts.md, commands M6 and M8)."""

import pytest

from domain.layouts import commands as c
from domain.layouts.events import PaneCleanupFailed, PaneRemoved, Stage
from domain.messages import HOST, TOWER, Event
from tests.unit.builders import (
    BENCH,
    failed_layout,
    gone,
    layout,
    layout_moved,
    moved,
    ready,
    ready_layout,
    recreated,
    removed_layout,
)
from tests.unit.given import given


def _gone(pane_id: str) -> Event:
    """The pane is removed; tmux still shows it as %1."""
    return PaneRemoved(pane_id=pane_id, layout_id="L", tmux_pane_id="%1")


class TestRemovingAPane:
    def test_a_ready_one_names_what_stands_in_tmux(self) -> None:
        given(*ready_layout("L", "m1", "s1")).when(c.PaneRemove(pane_id="L-m1")).then(
            moved("L-m1", "ready", "removed"), _gone("L-m1")
        )

    def test_the_last_one_removes_the_layout(self) -> None:
        given(*ready_layout()).when(c.PaneRemove(pane_id="L-m1")).then(
            moved("L-m1", "ready", "removed"), _gone("L-m1"), layout_moved("L", "ready", "removed")
        )

    def test_the_only_failed_one_mends_the_layout(self) -> None:
        before = (
            *ready_layout("L", "m1", "s1"),
            moved("L-m1", "ready", "failed", "pane_vanished"),
            layout_moved("L", "ready", "failed", "pane_vanished"),
        )
        given(*before).when(c.PaneRemove(pane_id="L-m1")).then(
            moved("L-m1", "failed", "removed"), _gone("L-m1"), layout_moved("L", "failed", "ready")
        )

    def test_not_while_it_is_created(self) -> None:
        given(*layout()).when(c.PaneRemove(pane_id="L-m1")).then_rejected(
            "managed_pane_illegal_transition", pane_id="L-m1", current_state="creating", requested_action="remove"
        )

    def test_again_is_a_success_that_does_nothing(self) -> None:
        again = given(*removed_layout()).when(c.PaneRemove(pane_id="L-m1"))
        again.then_nothing()
        assert again.result == {"layout_id": "L", "removed_pane_ids": [], "state": "removed"}

    def test_an_unknown_one(self) -> None:
        given().when(c.PaneRemove(pane_id="nobody")).then_rejected("managed_pane_not_found", pane_id="nobody")

    def test_what_could_not_be_cleaned_up_is_recorded_and_fails_nothing(self) -> None:
        given(*removed_layout()).when(c.PaneRecordCleanupFailed(pane_id="L-m1", reason="no answer"), origin=TOWER).then(
            PaneCleanupFailed(pane_id="L-m1", layout_id="L", stage=Stage.TMUX_KILL, reason="no answer")
        )


class TestRemovingALayout:
    def test_every_pane_goes(self) -> None:
        given(*ready_layout("L", "m1", "s1")).when(c.LayoutRemove(layout_id="L")).then(
            moved("L-m1", "ready", "removed"),
            _gone("L-m1"),
            moved("L-s1", "ready", "removed"),
            _gone("L-s1"),
            layout_moved("L", "ready", "removed"),
        )

    def test_a_pane_that_is_created_stays_and_holds_it(self) -> None:
        given(*layout("L", "m1", "s1"), *ready("L-m1")).when(c.LayoutRemove(layout_id="L")).then(
            moved("L-m1", "ready", "removed"), _gone("L-m1")
        )

    def test_not_while_all_its_panes_are_created(self) -> None:
        given(*layout("L", "m1", "s1")).when(c.LayoutRemove(layout_id="L")).then_rejected(
            "managed_pane_illegal_transition", pane_id="L-m1", current_state="creating", requested_action="remove"
        )

    def test_the_superseded_go_too(self) -> None:
        before = (
            *failed_layout(),
            *recreated("L-m1", "L-new"),
            layout_moved("L", "failed", "creating"),
            *ready("L-new"),
            layout_moved("L", "creating", "ready"),
        )
        given(*before).when(c.LayoutRemove(layout_id="L")).then(
            moved("L-m1", "failed", "removed"),
            gone("L-m1"),
            moved("L-new", "ready", "removed"),
            _gone("L-new"),
            layout_moved("L", "ready", "removed"),
        )

    def test_again_is_a_success_that_does_nothing(self) -> None:
        again = given(*removed_layout()).when(c.LayoutRemove(layout_id="L"))
        again.then_nothing()
        assert again.result == {"layout_id": "L", "removed_pane_ids": [], "state": "removed"}

    def test_an_unknown_one(self) -> None:
        given().when(c.LayoutRemove(layout_id="L")).then_rejected("managed_layout_not_found", layout_id="L")


@pytest.mark.parametrize("origin", [HOST, TOWER, BENCH])
def test_promoting_is_reserved_whoever_asks(origin: str) -> None:
    given(*ready_layout()).when(c.PanePromote(), origin=origin).then_rejected(
        "not_implemented", reserved_since="FEAT-013"
    )
