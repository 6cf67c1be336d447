"""The `result` of each command: from its events when it did something, from the state when it did nothing."""

from domain import tower
from domain.layouts import commands as c
from domain.messages import TOWER
from domain.node import CommandRejected, NodeClaimed
from tests.unit.builders import (
    create,
    facts,
    failed_layout,
    layout,
    ready_layout,
    recreate,
    registered,
    removed_layout,
    settled,
    spawned,
)
from tests.unit.given import given


class TestOfCreate:
    def test_names_the_layout_and_its_panes(self) -> None:
        happened = given().when(create("1m+2s"), facts=facts("L", "L-m1", "L-s1", "L-s2"))
        assert happened.result == {
            "layout_id": "L",
            "panes": [
                {"pane_id": "L-m1", "slot": 0, "role": "master", "label": "m1", "state": "creating"},
                {"pane_id": "L-s1", "slot": 1, "role": "slave", "label": "s1", "state": "creating"},
                {"pane_id": "L-s2", "slot": 2, "role": "slave", "label": "s2", "state": "creating"},
            ],
            "state": "creating",
            "replay": False,
        }


class TestOfRecreate:
    def test_names_the_new_pane_and_its_chain(self) -> None:
        assert given(*failed_layout()).when(recreate("L-m1"), facts=facts("L-new")).result == {
            "pane_id": "L-new",
            "predecessor_id": "L-m1",
            "chain_depth": 1,
            "layout_id": "L",
            "state": "creating",
            "replay": False,
        }


class TestOfRemove:
    def test_names_the_pane(self) -> None:
        assert given(*ready_layout("L", "m1", "s1")).when(c.PaneRemove(pane_id="L-m1")).result == {
            "layout_id": "L",
            "removed_pane_ids": ["L-m1"],
            "state": "removed",
        }

    def test_names_every_pane_of_a_layout(self) -> None:
        assert given(*ready_layout("L", "m1", "s1")).when(c.LayoutRemove(layout_id="L")).result == {
            "layout_id": "L",
            "removed_pane_ids": ["L-m1", "L-s1"],
            "state": "removed",
        }

    def test_nothing_is_left_to_name(self) -> None:
        nothing = {"layout_id": "L", "removed_pane_ids": [], "state": "removed"}
        assert given(*removed_layout()).when(c.PaneRemove(pane_id="L-m1")).result == nothing
        assert given(*removed_layout()).when(c.LayoutRemove(layout_id="L")).result == nothing


class TestOfReports:
    def test_is_empty(self) -> None:
        for request in (c.PaneRecordLaunchSettled(pane_id="L-m1", elapsed_ms=500), c.PaneSweep()):
            assert given(*layout(), spawned("L-m1")).when(request, origin=TOWER).result == {}


class TestFromTheLog:
    def test_the_same_result_whatever_happened_since(self) -> None:
        """Given again from the events of the command alone, which is all that a log knows of it."""
        happened = given().when(create(key="k"), facts=facts("L", "L-m1"))
        answered, events = happened.result, happened.events
        happened.accepted().and_given(spawned("L-m1"), settled("L-m1"), registered("L-m1"))
        assert tower.result(events) == answered


def test_refusals_and_claims_are_no_part_of_layouts() -> None:
    refused = CommandRejected(command_id="c", noun="layout", verb="create", code="host_only", message="m", details={})
    claimed = NodeClaimed(node="local", instance="i", pid=1, host="h")
    before = given(*ready_layout()).state
    after = given(*ready_layout(), refused, claimed).state
    assert (after.layouts, after.agents) == (before.layouts, before.agents)


class TestSequences:
    def test_count_per_aggregate_from_1(self) -> None:
        history = given()
        assert tower.next_sequence(history.state, spawned("L-m1")) == 1
        history = history.and_given(*layout("L", "m1", "s1"))
        assert tower.next_sequence(history.state, spawned("L-m1")) == 3
        assert tower.next_sequence(history.state, layout("L")[0]) == 2
        assert tower.next_sequence(history.state, spawned("M-m1")) == 1

    def test_a_layout_and_a_pane_of_one_id_count_apart(self) -> None:
        state = given(*layout("X-m1")).state
        assert tower.next_sequence(state, spawned("X-m1")) == 1


class TestAgents:
    def test_a_registered_pane_is_an_agent(self) -> None:
        (agent,) = given(*ready_layout()).state.agents.known.values()
        assert (agent.agent_id, agent.pane_id, agent.origin) == ("agent-L-m1", "L-m1", "managed")
