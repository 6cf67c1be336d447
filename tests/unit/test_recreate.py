"""pane.recreate (layouts.md, invariant 5): sources, chains, what the new pane inherits."""

import pytest

from domain.layouts import commands as c
from domain.layouts.state import MAX_GENERATIONS
from domain.messages import TOWER, Event
from tests.unit.builders import (
    KNOWN_PROFILES,
    create,
    exited,
    facts,
    failed_layout,
    gone,
    layout,
    layout_moved,
    moved,
    ready,
    ready_layout,
    recreate,
    recreated,
    removed_layout,
)
from tests.unit.given import given

WITH_SUCCESSOR = (*failed_layout(), *recreated("L-m1", "L-new"), layout_moved("L", "failed", "creating"))
OTHER = ready_layout("B", "lead")
"""A layout that does not stand in the way."""


def _chain(depth: int) -> tuple[Event, ...]:
    """A layout whose only slot was recreated `depth` times; every pane of it failed. The newest is `L-{depth}`."""
    events = list(failed_layout("L"))
    for number in range(1, depth + 1):
        before = "L-m1" if number == 1 else f"L-{number - 1}"
        events += [
            *recreated(before, f"L-{number}", depth=number),
            layout_moved("L", "failed", "creating"),
            moved(f"L-{number}", "creating", "failed", "pane_create"),
            layout_moved("L", "creating", "failed", "pane_create"),
        ]
    return tuple(events)


class TestSources:
    def test_a_failed_pane(self) -> None:
        given(*failed_layout()).when(recreate("L-m1"), facts=facts("L-new")).then(
            *recreated("L-m1", "L-new"), layout_moved("L", "failed", "creating")
        )

    def test_a_removed_pane(self) -> None:
        given(*removed_layout()).when(recreate("L-m1"), facts=facts("L-new")).then(
            *recreated("L-m1", "L-new"), layout_moved("L", "removed", "creating")
        )

    @pytest.mark.parametrize(
        ("state", "events"),
        [
            ("creating", layout()),
            ("ready", ready_layout()),
            ("degraded", (*ready_layout(), exited("L-m1"), moved("L-m1", "ready", "degraded", "process_exited"))),
        ],
    )
    def test_no_living_pane(self, state: str, events: tuple[Event, ...]) -> None:
        given(*events).when(recreate("L-m1")).then_rejected(
            "managed_pane_illegal_recreate_source", predecessor_pane_id="L-m1", current_state=state
        )

    def test_no_unknown_pane(self) -> None:
        given().when(recreate("L-m1")).then_rejected("managed_pane_not_found", pane_id="L-m1")

    @pytest.mark.parametrize("became", ["creating", "ready", "degraded"])
    def test_not_while_a_successor_lives(self, became: str) -> None:
        stages = {
            "creating": (),
            "ready": ready("L-new"),
            "degraded": (moved("L-new", "creating", "degraded", "log_attach"),),
        }
        given(*WITH_SUCCESSOR, *stages[became]).when(recreate("L-m1")).then_rejected(
            "managed_pane_concurrent_recreate", predecessor_pane_id="L-m1", in_flight_successor_pane_id="L-new"
        )

    @pytest.mark.parametrize("became", ["failed", "removed"])
    def test_not_once_it_had_a_successor_whatever_became_of_it(self, became: str) -> None:
        events: list[Event] = [moved("L-new", "creating", "failed", "pane_create")]
        if became == "removed":
            events += [moved("L-new", "failed", "removed"), gone("L-new")]
        given(*WITH_SUCCESSOR, *events).when(recreate("L-m1")).then_rejected(
            "managed_pane_illegal_recreate_source", predecessor_pane_id="L-m1", current_state="superseded"
        )

    def test_the_newest_of_a_chain(self) -> None:
        given(*_chain(1)).when(recreate("L-1"), facts=facts("L-2")).then(
            *recreated("L-1", "L-2", depth=2), layout_moved("L", "failed", "creating")
        )


class TestChains:
    def test_the_sixteenth_generation_is_made(self) -> None:
        given(*_chain(14)).when(recreate("L-14"), facts=facts("L-15")).then(
            *recreated("L-14", "L-15", depth=15), layout_moved("L", "failed", "creating")
        )
        assert MAX_GENERATIONS == 16

    def test_the_seventeenth_is_not(self) -> None:
        given(*_chain(15)).when(recreate("L-15")).then_rejected(
            "managed_pane_recreate_chain_too_deep",
            predecessor_pane_id="L-15",
            predecessor_chain_depth=15,
            limit=16,
        )

    def test_a_source_of_the_wrong_state_is_refused_as_such_at_any_depth(self) -> None:
        alive = given(*_chain(14), *recreated("L-14", "L-15", depth=15))
        alive.when(recreate("L-15")).then_rejected(
            "managed_pane_illegal_recreate_source", predecessor_pane_id="L-15", current_state="creating"
        )


class TestInheritance:
    def test_role_capability_label_slot_and_profile(self) -> None:
        before = (
            *layout("L", "m1", "s1", profiles={"s1": "claude"}),
            moved("L-s1", "creating", "failed", "pane_create"),
        )
        given(*before).when(recreate("L-s1"), facts=facts("L-new")).then(
            *recreated("L-s1", "L-new", label="s1", slot=1, profile="claude")
        )

    def test_restart_policy(self) -> None:
        before = (*layout("L", "lead"), moved("L-lead", "creating", "failed", "pane_create"))
        given(*before).when(recreate("L-lead"), facts=facts("L-new")).then(*recreated("L-lead", "L-new", label="lead"))

    def test_another_profile(self) -> None:
        given(*failed_layout()).when(recreate("L-m1", override="claude"), facts=facts("L-new")).then(
            *recreated("L-m1", "L-new", profile="claude"), layout_moved("L", "failed", "creating")
        )

    def test_the_next_generation_inherits_the_other_profile(self) -> None:
        before = (
            *failed_layout(),
            *recreated("L-m1", "L-1", profile="claude"),
            moved("L-1", "creating", "failed", "pane_create"),
        )
        given(*before).when(recreate("L-1"), facts=facts("L-2")).then(
            *recreated("L-1", "L-2", depth=2, profile="claude"), layout_moved("L", "failed", "creating")
        )

    def test_the_profile_is_resolved_again(self) -> None:
        (created, *_) = (
            given(*failed_layout()).when(recreate("L-m1"), facts=facts("L-new", profiles={"shell": "changed"})).events
        )
        assert getattr(created, "launch_digest", None) == "changed"

    def test_an_unknown_profile(self) -> None:
        given(*failed_layout()).when(recreate("L-m1", override="codex")).then_rejected(
            "managed_launch_command_not_found", profile_name="codex", known_profiles=KNOWN_PROFILES
        )

    def test_a_profile_that_is_gone(self) -> None:
        given(*failed_layout()).when(recreate("L-m1"), facts=facts(profiles={})).then_rejected(
            "managed_launch_command_not_found", profile_name="shell", known_profiles=[]
        )

    def test_the_override_is_an_identifier(self) -> None:
        given(*failed_layout()).when(recreate("L-m1", override="a b")).then_rejected(
            "validation_failed",
            field="launch_command_override",
            reason="not an identifier: 1 to 64 characters of A-Z a-z 0-9 _ . -",
        )


class WhenSomethingTookItsPlace:
    def test_its_label(self) -> None:
        given(*failed_layout("L"), *ready_layout("B", "m1")).when(recreate("L-m1")).then_rejected(
            "managed_pane_label_conflict", container_id="host", label="m1"
        )

    def test_its_session(self) -> None:
        history = given(*failed_layout("L", session="work"), *ready_layout("B", "lead", session="work"))
        history.when(recreate("L-m1")).then_rejected(
            "managed_session_name_conflict", container_id="host", tmux_session_name="work"
        )

    def test_its_session_by_a_name_that_tmux_makes_the_same(self) -> None:
        history = given(*failed_layout("L", session="a.b"), *ready_layout("B", "lead", session="a_b"))
        history.when(recreate("L-m1")).then_rejected(
            "managed_session_name_conflict", container_id="host", tmux_session_name="a.b"
        )

    def test_its_own_siblings_hold_the_session_for_it(self) -> None:
        before = (*ready_layout("L", "m1", "s1"), moved("L-m1", "ready", "failed", "pane_vanished"))
        given(*before).when(recreate("L-m1"), facts=facts("L-new")).then(
            *recreated("L-m1", "L-new"), layout_moved("L", "ready", "creating")
        )

    def test_a_session_name_that_became_free_again(self) -> None:
        history = given(*failed_layout("L", session="work"), *removed_layout("B", session="work"))
        history.when(recreate("L-m1"), facts=facts("L-new")).then(
            *recreated("L-m1", "L-new"), layout_moved("L", "failed", "creating")
        )

    def test_it_holds_its_label_against_new_layouts(self) -> None:
        history = given(*WITH_SUCCESSOR).when(create(), facts=facts("M", "M-m2")).accepted()
        assert [pane.label for pane in history.state.layouts.panes_of("M")] == ["m2"]


def test_other_layouts_do_not_matter() -> None:
    given(*OTHER, *failed_layout()).when(recreate("L-m1"), facts=facts("L-new")).then(
        *recreated("L-m1", "L-new"), layout_moved("L", "failed", "creating")
    )


def test_a_late_report_of_the_predecessor_changes_nothing() -> None:
    given(*WITH_SUCCESSOR).when(c.PaneRecordVanished(pane_id="L-m1"), origin=TOWER).then_nothing()


def test_removing_the_predecessor_leaves_the_label_to_the_successor() -> None:
    after = (
        given(*WITH_SUCCESSOR).when(c.PaneRemove(pane_id="L-m1")).then(moved("L-m1", "failed", "removed"), gone("L-m1"))
    )
    assert dict(after.state.layouts.live_labels) == {("host", "m1"): "L-new"}
