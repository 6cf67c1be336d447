"""layout.restore (layouts.md, restart and restore): all that went with its tmux comes back in one command."""

from datetime import timedelta
from typing import Any

import pytest

from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.state import PaneState
from domain.messages import HOST, TOWER, Event
from tests.unit.builders import (
    BENCH,
    OTHER_BENCH,
    exited,
    facts,
    failed_layout,
    layout_moved,
    moved,
    ready_layout,
    recreate,
    recreated,
    removed_layout,
)
from tests.unit.given import History, given
from tests.unit.test_restarts import READY, cancelled, vanished

RESTORE = c.LayoutRestore(layout_id="L")


def lost(*labels: str, container: str = HOST) -> History:
    """The machine was started again: nothing of the layout is left."""
    history = given(*ready_layout("L", *labels, container=container), containers=(HOST, BENCH, OTHER_BENCH))
    recover = c.ContainerRecover(container_id=container, present_pane_ids=())
    return history.when(recover, origin=TOWER).accepted()


def restored(*pairs: tuple[str, str, str], state: str = "creating", **more: Any) -> Event:
    made = tuple(e.RestoredPane(predecessor_id=old, pane_id=new, label=label) for old, new, label in pairs)
    fields: dict[str, Any] = {"chain_too_deep": (), "conflicts": (), **more}
    return e.LayoutRestored(layout_id="L", recreated=made, state=PaneState(state), **fields)


class TestWhatComesBack:
    def test_every_pane_that_recovery_did_not_find_in_order_of_slot(self) -> None:
        happened = lost("m1", "s1").when(RESTORE, facts=facts("N-1", "N-2"))
        assert happened.events[0] == restored(("L-m1", "N-1", "m1"), ("L-s1", "N-2", "s1"))
        made = [event for event in happened.events if isinstance(event, e.PaneCreated)]
        assert [(pane.pane_id, pane.slot, pane.predecessor_id, pane.chain_depth) for pane in made] == [
            ("N-1", 0, "L-m1", 1),
            ("N-2", 1, "L-s1", 1),
        ]
        assert happened.events[-1] == layout_moved("L", "failed", "creating")

    def test_each_is_made_as_a_recreate_makes_it(self) -> None:
        lost().when(RESTORE, facts=facts("L-new")).then(
            restored(("L-m1", "L-new", "m1")), *recreated("L-m1", "L-new"), layout_moved("L", "failed", "creating")
        )

    def test_a_pane_that_vanished_while_the_tower_ran(self) -> None:
        history = given(*ready_layout("L", "m1", "s1"), moved("L-s1", "ready", "failed", "pane_vanished"))
        (first, *_) = history.when(RESTORE, facts=facts("L-new")).events
        assert first == restored(("L-s1", "L-new", "s1"))

    def test_the_newest_of_a_chain(self) -> None:
        once = lost().when(recreate("L-m1"), facts=facts("L-new")).accepted()
        again = once.and_given(moved("L-new", "creating", "failed", "recovery_reattach"))
        (first, *_) = again.when(RESTORE, facts=facts("L-newer")).events
        assert first == restored(("L-new", "L-newer", "m1"))

    @pytest.mark.parametrize("stage", ["pane_create", "launch_command", "registration", "log_attach"])
    def test_not_what_never_was_there(self, stage: str) -> None:
        given(*failed_layout("L", stage)).when(RESTORE).then_nothing()

    def test_not_what_lives_is_dead_or_removed(self) -> None:
        for events in (
            ready_layout("L"),
            (*ready_layout("L"), exited("L-m1"), moved("L-m1", "ready", "degraded", "process_exited")),
            removed_layout("L"),
        ):
            given(*events).when(RESTORE).then_nothing()

    def test_a_restart_that_was_to_come_is_cancelled(self) -> None:
        history = given(*READY).when(vanished(), origin=TOWER).accepted()
        happened = history.when(RESTORE, facts=facts("L-new"))
        assert happened.events[1] == cancelled("L-lead")
        assert happened.accepted().state.layouts.panes["L-new"].restarts == ()


class TestWhatDoesNot:
    def test_a_chain_at_its_end(self) -> None:
        history = lost("m1", "s1")
        newest = "L-m1"
        for number in range(1, 16):
            history = history.when(recreate(newest), facts=facts(f"L-{number}")).accepted()
            newest = f"L-{number}"
            history = history.and_given(moved(newest, "creating", "failed", "recovery_reattach"))
        (first, *_) = history.when(RESTORE, facts=facts("N-1", "N-2")).events
        assert first == restored(("L-s1", "N-1", "s1"), chain_too_deep=("L-15",))

    def test_a_label_that_was_taken_meanwhile_and_the_rest_goes_on(self) -> None:
        history = lost("m1", "s1").and_given(*ready_layout("B", "m1"))
        (first, *_) = history.when(RESTORE, facts=facts("N-1", "N-2")).events
        conflict = e.RestoreConflict(
            pane_id="L-m1",
            label="m1",
            code="managed_pane_label_conflict",
            message="container host has a live pane or an adopted agent with the label 'm1'",
        )
        assert first == restored(("L-s1", "N-2", "s1"), conflicts=(conflict,))

    @pytest.mark.parametrize(
        ("code", "meanwhile", "known"),
        [
            (
                "managed_session_name_conflict",
                ready_layout("B", "lead", session="session-L"),
                facts("L-new"),
            ),
            ("managed_launch_command_not_found", (), facts("L-new", profiles={})),
        ],
    )
    def test_what_a_recreate_would_refuse_is_said_by_its_code(
        self, code: str, meanwhile: tuple[Event, ...], known: Any
    ) -> None:
        happened = lost().and_given(*meanwhile).when(RESTORE, facts=known)
        (only,) = happened.events
        assert isinstance(only, e.LayoutRestored)
        assert [(each.pane_id, each.code) for each in only.conflicts] == [("L-m1", code)]
        assert (only.recreated, happened.result["state"]) == ((), "failed")

    def test_a_container_that_is_gone(self) -> None:
        history = given(*lost(container=BENCH).events)
        (only,) = history.when(RESTORE, facts=facts("L-new")).events
        assert isinstance(only, e.LayoutRestored)
        assert [each.code for each in only.conflicts] == ["container_not_found"]

    def test_an_unknown_layout(self) -> None:
        given().when(RESTORE).then_rejected("managed_layout_not_found", layout_id="L")


class TestTheAnswer:
    def test_names_what_was_made_and_what_was_not(self) -> None:
        assert lost().when(RESTORE, facts=facts("L-new")).result == {
            "layout_id": "L",
            "recreated": [{"pane_id": "L-new", "predecessor_id": "L-m1", "label": "m1"}],
            "chain_too_deep": [],
            "conflicts": [],
            "state": "creating",
        }

    def test_is_empty_when_there_is_nothing_to_do(self) -> None:
        assert given(*ready_layout("L")).when(RESTORE).result == {
            "layout_id": "L",
            "recreated": [],
            "chain_too_deep": [],
            "conflicts": [],
            "state": "ready",
        }

    def test_again_makes_nothing_while_the_first_is_under_way(self) -> None:
        made = lost().when(RESTORE, facts=facts("L-new")).accepted()
        made.when(RESTORE, facts=facts("L-newer", after=timedelta(minutes=1))).then_nothing()


class TestWhoMayAsk:
    def test_a_bench_peer_in_its_own_container_only(self) -> None:
        history = lost(container=BENCH)
        assert history.when(RESTORE, origin=BENCH, facts=facts("L-new")).events
        history.when(RESTORE, origin=OTHER_BENCH).then_rejected("host_only")
        lost().when(RESTORE, origin=BENCH).then_rejected("host_only")
