"""`evolve` is total: whatever the history, in whatever order, it raises nothing and the state can be asked."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_any
from hypothesis import settings
from hypothesis import strategies as st

from domain import catalogue, tower
from domain.layouts import commands as c
from domain.layouts.events import PaneState, Stage
from domain.layouts.state import Layout, Pane, aggregate
from domain.messages import HOST, TOWER, Event
from domain.node import CommandRejected
from domain.tower import Tower
from tests.unit.builders import (
    AT,
    create,
    facts,
    failed_layout,
    launch_exited,
    layout,
    layout_moved,
    moved,
    ready,
    recreate,
    recreated,
    spawned,
)
from tests.unit.given import History, fold, given
from tests.unit.strategies import values
from tests.unit.test_invariants import read_back, reports

IDS = st.sampled_from(["a", "b", "c"])
POOLED = ("pane_id", "layout_id", "container_id", "predecessor_id", "agent_id", "label", "node", "command_id")
"""Fields drawn from few values, so that events of odd histories speak of the same things."""


def _story() -> History:
    """A layout made, broken, recreated, lost at a restart and removed, beside another one."""
    history = given().when(create("1m+2s", key="k"), facts=facts("L", "L-m1", "L-s1", "L-s2")).accepted()
    for pane_id in ("L-m1", "L-s1", "L-s2"):
        for request in reports(pane_id)[:4]:
            history = history.when(request, origin=TOWER, facts=facts(f"agent-{pane_id}")).accepted()
    history = history.when(create(session="other"), facts=facts("M", "M-m2")).accepted()
    history = history.when(c.PaneRecordExited(pane_id="L-s1", exit_code=1), origin=TOWER).accepted()
    history = history.when(c.PaneRemove(pane_id="L-s1")).accepted()
    history = history.when(recreate("L-s1", key="k"), facts=facts("L-new")).accepted()
    lost = c.ContainerRecover(container_id=HOST, present_pane_ids=("L-m1", "L-new"))
    history = history.when(lost, origin=TOWER).accepted()
    history = history.when(reports("L-new")[6], origin=TOWER).accepted()
    history = history.when(c.LayoutRemove(layout_id="L")).accepted()
    refused = CommandRejected(command_id="c", noun="pane", verb="remove", code="host_only", message="m", details={})
    return history.and_given(refused)


STORY = _story()


def _ask_all(state: Tower) -> None:
    for layout_id in state.layouts.layouts:
        aggregate(state.layouts.present_panes(layout_id))
        tower.standing(c.LayoutRemove(layout_id=layout_id), state)
    for pane in state.layouts.panes.values():
        assert pane.next_stage


@pytest.mark.parametrize("cut", range(len(STORY.events) + 1))
def test_a_snapshot_at_any_cut_and_the_tail_make_the_same_state(cut: int) -> None:
    head = given(*STORY.events[:cut]).state
    assert read_back(head) == head
    assert fold(STORY.events[cut:], read_back(head)) == STORY.state


def _any_event() -> st.SearchStrategy[Event]:
    return st.one_of(
        [
            values(
                entry.event,
                **{field: IDS if field != "predecessor_id" else IDS | st.none() for field in _pooled(entry.event)},
            )
            for entry in catalogue.EVENTS
        ]
    )


def _pooled(event: type[Event]) -> list[str]:
    return [field for field in POOLED if field in event.__struct_fields__]


@settings(max_examples=150)
@for_any(st.lists(_any_event(), max_size=25))
def test_any_events_at_all(events: list[Event]) -> None:
    _ask_all(fold(events, Tower()))


@settings(max_examples=100)
@for_any(st.integers(min_value=0), st.integers(min_value=0, max_value=len(STORY.events)))
def test_a_story_shuffled_doubled_and_with_gaps(seed: int, kept: int) -> None:
    events = [*STORY.events, *STORY.events]
    random.Random(seed).shuffle(events)
    _ask_all(fold(events[: 2 * kept], Tower()))


class TestWhatTheStateHolds:
    CREATED = Pane(
        pane_id="L-m1",
        layout_id="L",
        container_id=HOST,
        slot=0,
        role="master",
        capability="orchestrator",
        label="m1",
        launch_profile="shell",
        launch_digest="digest-of-shell",
        restart="never",
        marker="k",
        marker_set_at=AT,
    )

    def test_of_a_pane_just_created(self) -> None:
        assert given(*layout(key="k")).state.layouts.panes["L-m1"] == self.CREATED

    def test_of_a_pane_that_is_ready(self) -> None:
        assert given(*layout(key="k"), *ready("L-m1")).state.layouts.panes["L-m1"] == msgspec.structs.replace(
            self.CREATED,
            state=PaneState.READY,
            marker=None,
            marker_set_at=None,
            tmux_pane_id="%1",
            tmux_pane_index=0,
            pid=100,
            launch_settled=True,
            agent_id="agent-L-m1",
            log_path="L-m1.log",
        )

    def test_of_a_pane_whose_launch_command_exited(self) -> None:
        events = (spawned("L-m1"), launch_exited("L-m1"), moved("L-m1", "creating", "degraded", "launch_command"))
        assert given(*layout(key="k"), *events).state.layouts.panes["L-m1"] == msgspec.structs.replace(
            self.CREATED,
            state=PaneState.DEGRADED,
            failed_stage=Stage.LAUNCH_COMMAND,
            tmux_pane_id="%1",
            tmux_pane_index=0,
            pid=100,
            launch_exited=True,
            exit_code=127,
        )

    def test_of_a_pane_that_replaces_another(self) -> None:
        panes = given(*failed_layout(), *recreated("L-m1", "L-new", key="k")).state.layouts.panes
        assert panes["L-new"] == msgspec.structs.replace(
            self.CREATED, pane_id="L-new", predecessor_id="L-m1", chain_depth=1, idempotency_key="k"
        )
        assert panes["L-m1"].successor_id == "L-new"

    def test_of_a_layout(self) -> None:
        happened = given().when(create(key="k"), facts=facts("L", "L-m1", working_dir_digest="digest-of-dir"))
        assert happened.accepted().state.layouts.layouts["L"] == Layout(
            layout_id="L",
            container_id=HOST,
            template_name="solo",
            tmux_session_name="work",
            pane_ids=("L-m1",),
            working_dir_digest="digest-of-dir",
            idempotency_key="k",
        )


class TestOddHistory:
    @pytest.mark.parametrize(
        "event",
        [
            spawned("nobody-m1"),
            moved("nobody-m1", "creating", "ready"),
            layout_moved("nobody", "creating", "ready"),
            layout()[1],
        ],
    )
    def test_what_nobody_knows_changes_nothing(self, event: Event) -> None:
        before = given(*layout("A", "m9")).state
        assert tower.evolve(before, event).layouts == before.layouts

    def test_a_creation_twice_counts_once(self) -> None:
        once = given(*layout(), *ready("L-m1")).state.layouts
        assert given(*layout(), *ready("L-m1"), *layout()[:2]).state.layouts == once

    def test_the_state_that_was_given_stays(self) -> None:
        states: list[tuple[Tower, str]] = []
        state = Tower()
        for event in STORY.events:
            states.append((state, repr(state)))
            state = tower.evolve(state, event)
        assert [before for state, before in states if repr(state) != before] == []


def test_a_refusal_leaves_no_trace_in_the_state() -> None:
    refused: dict[str, Any] = {"noun": "pane", "verb": "remove", "code": "host_only", "message": "m", "details": {}}
    assert tower.evolve(STORY.state, CommandRejected(command_id="other", **refused)) == STORY.state
