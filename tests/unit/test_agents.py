"""Agents: adoption and its protection (layouts.md, invariants 2, 7 and 8), what agents report, and how they go."""

import pytest

from domain.agents.commands import AgentAdopt, AgentRecordGone, AgentReport
from domain.agents.decide import LOST_AT_ONCE
from domain.agents.events import Gone
from domain.agents.state import session_to_resume
from domain.containers import ContainerFacts, ContainerGone, ContainerRecordFound
from domain.layouts import commands as c
from domain.messages import HOST, TOWER, Request
from domain.sends import PaneSend
from tests.unit.builders import (
    BENCH,
    OTHER_BENCH,
    adopt,
    adopted,
    agent_gone,
    create,
    facts,
    failed_layout,
    in_tmux,
    layout,
    layout_moved,
    moved,
    ready_layout,
    recreate,
    recreated,
    registered,
    reported,
)
from tests.unit.given import History, given

CONTAINERS = (HOST, BENCH, OTHER_BENCH)
SEEN = facts("A", panes=[in_tmux("%1", 1), in_tmux("%7", 77)])


class TestAdopting:
    def test_registers_a_pane_that_no_tower_made(self) -> None:
        happened = given().when(adopt(role="slave", capability="review"), facts=SEEN)
        happened.then(adopted(role="slave", capability="review"))
        assert happened.result == {
            "agent_id": "A",
            "container_id": HOST,
            "tmux_pane_id": "%7",
            "label": "reviewer",
            "origin": "adopted",
            "replay": False,
        }

    @pytest.mark.parametrize("field", ["label", "role", "capability"])
    @pytest.mark.parametrize("value", ["", "two words", "x" * 65, "a\nb", "a:b"])
    def test_what_an_operator_names_is_an_identifier(self, field: str, value: str) -> None:
        request = AgentAdopt(**{"container_id": HOST, "tmux_pane_id": "%7", "label": "reviewer", field: value})
        given().when(request, facts=SEEN).then_rejected(
            "validation_failed", field=field, reason="not an identifier: 1 to 64 characters of A-Z a-z 0-9 _ . -"
        )

    @pytest.mark.parametrize("place", ["", "7", "%", "%x", "@1", "%7\n", "theirs:0.1", "%" + "1" * 19])
    def test_a_pane_is_named_by_its_id_in_tmux(self, place: str) -> None:
        given().when(adopt(place), facts=SEEN).then_rejected(
            "validation_failed",
            field="tmux_pane_id",
            reason="not an id of tmux: % and a number, as `list-panes -F '#{pane_id}'` shows it",
        )

    def test_an_unknown_container(self) -> None:
        given().when(adopt(container=BENCH), facts=SEEN).then_rejected("container_not_found", container_id=BENCH)

    @pytest.mark.parametrize(
        ("there", "reason"),
        [
            (in_tmux("%8"), "tmux of the container has no pane %7"),
            (in_tmux(pane_id="L-m1"), "pane %7 is managed: a tower made it"),
            (in_tmux(pane_id="of-another-tower"), "pane %7 is managed: a tower made it"),
            (in_tmux(title="@MANAGED:token:m1"), "pane %7 is managed: a tower made it"),
            (in_tmux(dead=True), "the process of pane %7 has ended"),
        ],
    )
    def test_only_a_living_pane_that_is_there_and_nobodys(self, there, reason: str) -> None:
        given().when(adopt(), facts=facts("A", panes=[there])).then_rejected(
            "validation_failed", field="tmux_pane_id", reason=reason
        )

    def test_without_an_answer_of_tmux_it_is_to_be_tried_again(self) -> None:
        given().when(adopt(), facts=facts("A", panes=None)).then_rejected("tower_busy", queued=0)

    def test_again_is_a_replay_whatever_else_it_says(self) -> None:
        history = given(adopted())
        for request in (adopt(), adopt(label="other", role="x")):
            happened = history.when(request, facts=facts("B", panes=[in_tmux()]))
            happened.then_nothing()
            assert (happened.result["agent_id"], happened.result["label"]) == ("A", "reviewer")
            assert happened.result["replay"] is True

    def test_again_is_a_replay_while_tmux_cannot_be_asked(self) -> None:
        given(adopted()).when(adopt(), facts=facts("B", panes=None)).then_nothing()

    def test_another_process_in_the_same_place_is_another_agent(self) -> None:
        """tmux counts from 0 again after its server ended, and a pane may be respawned."""
        happened = given(adopted()).when(adopt(), facts=facts("B", panes=[in_tmux(pid=78)]))
        happened.then(agent_gone("A", "vanished"), adopted("B", pid=78))
        assert happened.result["agent_id"] == "B"

    def test_the_same_place_in_two_containers_is_two_agents(self) -> None:
        given(adopted(), containers=CONTAINERS).when(adopt(container=BENCH), facts=facts("B", panes=[in_tmux()])).then(
            adopted("B", container=BENCH)
        )


class TestLabels:
    """Invariant 2, with adopted agents."""

    def test_the_label_of_a_live_pane_is_taken(self) -> None:
        given(*ready_layout()).when(adopt(label="m1"), facts=SEEN).then_rejected(
            "managed_pane_label_conflict", container_id=HOST, label="m1"
        )

    def test_the_label_of_an_adopted_agent_is_taken(self) -> None:
        history = given(adopted("B", tmux_pane_id="%1", pid=1), containers=CONTAINERS)
        history.when(adopt(), facts=SEEN).then_rejected(
            "managed_pane_label_conflict", container_id=HOST, label="reviewer"
        )
        history.when(adopt(container=BENCH), facts=SEEN).then(adopted(container=BENCH))

    def test_one_that_is_gone_frees_its_label(self) -> None:
        given(adopted("B", tmux_pane_id="%1"), agent_gone("B", tmux_pane_id="%1")).when(adopt(), facts=SEEN).then(
            adopted()
        )

    def test_a_failed_pane_frees_its_label(self) -> None:
        given(*failed_layout()).when(adopt(label="m1"), facts=SEEN).then(adopted(label="m1"))

    def test_ordinals_go_past_those_of_adopted_agents(self) -> None:
        given(adopted(label="m1")).when(create(), facts=facts("L", "L-m2")).then(*layout("L", "m2", session="work"))

    def test_a_literal_label_conflicts_with_an_adopted_agent(self) -> None:
        given(adopted(label="lead")).when(create("lead"), facts=facts("L", "L-lead")).then_rejected(
            "managed_pane_label_conflict", container_id=HOST, label="lead"
        )

    def test_so_does_a_recreated_pane(self) -> None:
        given(*failed_layout(), adopted(label="m1")).when(recreate("L-m1"), facts=facts("L-new")).then_rejected(
            "managed_pane_label_conflict", container_id=HOST, label="m1"
        )


@pytest.mark.parametrize(
    "request_",
    [
        c.PaneRemove(pane_id="A"),
        recreate("A"),
        PaneSend(pane_id="A", text="hello"),
        AgentReport(pane_id="A", agent_session="s"),
    ],
    ids=lambda request: type(request).__name__,
)
class TestProtection:
    """Invariant 7: an id in the agents registry but not a managed pane."""

    def test_an_adopted_agent_is_not_acted_on(self, request_: Request) -> None:
        given(adopted()).when(request_).then_rejected("managed_pane_protected_adopted", agent_id="A", is_adopted=True)

    def test_nor_when_it_is_gone(self, request_: Request) -> None:
        given(adopted(), agent_gone()).when(request_).then_rejected(
            "managed_pane_protected_adopted", agent_id="A", is_adopted=True
        )

    def test_a_bench_peer_hears_it_of_its_own_container_only(self, request_: Request) -> None:
        history = given(adopted(container=BENCH), containers=CONTAINERS)
        history.when(request_, origin=BENCH).then_rejected(
            "managed_pane_protected_adopted", agent_id="A", is_adopted=True
        )
        history.when(request_, origin=OTHER_BENCH).then_rejected("host_only")

    def test_an_id_that_nobody_knows_is_not_found(self, request_: Request) -> None:
        given().when(request_).then_rejected("managed_pane_not_found", pane_id="A")


class TestABenchPeer:
    def test_adopts_in_its_own_container_only(self) -> None:
        history = given(containers=CONTAINERS)
        history.when(adopt(container=BENCH), origin=BENCH, facts=SEEN).then(adopted(container=BENCH))
        for theirs in (HOST, OTHER_BENCH, "nowhere"):
            history.when(adopt(container=theirs), origin=BENCH, facts=SEEN).then_rejected("host_only")

    def test_reports_of_its_own_panes_only(self) -> None:
        history = given(
            *ready_layout("OWN", container=BENCH), *ready_layout("THEIRS", container=OTHER_BENCH), containers=CONTAINERS
        )
        history.when(AgentReport(pane_id="OWN-m1", agent_session="a-session"), origin=BENCH).then(reported("OWN-m1"))
        for theirs in ("THEIRS-m1", "unknown"):
            history.when(AgentReport(pane_id=theirs, agent_session="s"), origin=BENCH).then_rejected("host_only")


class TestReporting:
    def test_is_kept_with_the_agent(self) -> None:
        happened = given(*ready_layout()).when(AgentReport(pane_id="L-m1", agent_session="a-session"))
        history = happened.then(reported("L-m1"))
        assert happened.result == {
            "agent_id": "agent-L-m1",
            "pane_id": "L-m1",
            "agent_session": "a-session",
            "replay": False,
        }
        assert history.state.agents.known["agent-L-m1"].agent_session == "a-session"

    def test_the_same_again_is_no_news(self) -> None:
        happened = given(*ready_layout(), reported("L-m1")).when(AgentReport(pane_id="L-m1", agent_session="a-session"))
        happened.then_nothing()
        assert happened.result["replay"] is True

    def test_a_later_one_counts(self) -> None:
        given(*ready_layout(), reported("L-m1")).when(AgentReport(pane_id="L-m1", agent_session="later")).then(
            reported("L-m1", "later")
        )

    def test_before_the_registration_stage_it_registers(self) -> None:
        """An agent may be quicker than the settle time."""
        history = (
            given(*layout())
            .when(AgentReport(pane_id="L-m1", agent_session="a-session"), facts=facts("agent-L-m1"))
            .then(registered("L-m1"), reported("L-m1"))
        )
        spawned = c.PaneRecordSpawned(pane_id="L-m1", tmux_pane_id="%1", tmux_pane_index=0, pid=100)
        history = history.when(spawned, origin=TOWER).accepted()
        history = history.when(c.PaneRecordLaunchSettled(pane_id="L-m1", elapsed_ms=5), origin=TOWER).accepted()
        history.when(c.PaneRegister(pane_id="L-m1"), origin=TOWER, facts=facts("x")).then_nothing()
        attached = history.when(c.PaneRecordLogAttached(pane_id="L-m1", path="log"), origin=TOWER).accepted()
        assert attached.state.layouts.panes["L-m1"].state == "ready"

    @pytest.mark.parametrize("value", ["", "x" * 257, "a\nb", "a\x00", "a\x1b[0m", "\ud800"])
    def test_is_1_to_256_printable_characters(self, value: str) -> None:
        given(*ready_layout()).when(AgentReport(pane_id="L-m1", agent_session=value)).then_rejected(
            "validation_failed", field="agent_session", reason="1 to 256 printable characters"
        )

    @pytest.mark.parametrize("value", ["x", "x" * 256, "é ü", "0b51e0c4-6bd1-4a0d-9c6c-5f0f6a7d9f3e"])
    def test_is_taken_as_it_is(self, value: str) -> None:
        given(*ready_layout()).when(AgentReport(pane_id="L-m1", agent_session=value)).then(reported("L-m1", value))

    def test_is_no_option_of_a_command_line(self) -> None:
        given(*ready_layout()).when(AgentReport(pane_id="L-m1", agent_session="--yes")).then_rejected(
            "validation_failed", field="agent_session", reason="a session id does not begin with a hyphen"
        )

    def test_a_pane_that_does_not_stand_has_no_agent(self) -> None:
        given(*failed_layout()).when(AgentReport(pane_id="L-m1", agent_session="s")).then_rejected(
            "managed_pane_not_ready", pane_id="L-m1", current_state="failed"
        )


class TestWhatASuccessorResumes:
    @staticmethod
    def chain(*profiles: str) -> History:
        """L-m1, which reported, and its successors L-1, L-2, … with these profiles; all but the last have failed."""
        history = given(*ready_layout(), reported("L-m1"))
        before = "L-m1"
        for depth, profile in enumerate(profiles, 1):
            was = "ready" if before == "L-m1" else "creating"
            history = history.and_given(
                moved(before, was, "failed", "pane_vanished"),
                *recreated(before, f"L-{depth}", depth=depth, profile=profile),
            )
            before = f"L-{depth}"
        return history

    @staticmethod
    def resumes(history: History, pane_id: str) -> str | None:
        state = history.state
        return session_to_resume(state.layouts.panes[pane_id], state.layouts, state.agents)

    def test_the_session_of_its_predecessor(self) -> None:
        assert self.resumes(self.chain("shell"), "L-1") == "a-session"

    def test_of_the_nearest_that_reported_one(self) -> None:
        assert self.resumes(self.chain("shell", "shell"), "L-2") == "a-session"

    def test_not_that_of_another_program(self) -> None:
        history = self.chain("claude", "shell")
        assert self.resumes(history, "L-1") is None
        assert self.resumes(history, "L-2") == "a-session"

    def test_a_first_pane_resumes_nothing(self) -> None:
        assert self.resumes(given(*ready_layout(), reported("L-m1")), "L-m1") is None


class TestGoing:
    def test_is_recorded_once(self) -> None:
        (
            given(adopted())
            .when(AgentRecordGone(agent_id="A", reason=Gone.EXITED), origin=TOWER)
            .then(agent_gone("A", "exited"))
            .when(AgentRecordGone(agent_id="A", reason=Gone.VANISHED), origin=TOWER)
            .then_nothing()
        )

    def test_an_agent_that_nobody_knows_cannot_go(self) -> None:
        given(*ready_layout()).when(
            AgentRecordGone(agent_id="agent-L-m1", reason=Gone.EXITED), origin=TOWER
        ).then_nothing()
        given().when(AgentRecordGone(agent_id="A", reason=Gone.EXITED), origin=TOWER).then_nothing()

    def test_of_two_in_one_place_the_second_stays(self) -> None:
        state = given(adopted(), agent_gone(), adopted("B"), agent_gone("A")).state.agents
        assert (dict(state.places), dict(state.labels)) == ({(HOST, "%7"): "B"}, {(HOST, "reviewer"): "B"})

    def test_a_layout_goes_without_it(self) -> None:
        """What is removed is the layout's own panes."""
        history = given(*failed_layout(), adopted()).when(c.LayoutRemove(layout_id="L")).accepted()
        assert not history.state.agents.known["A"].gone
        assert history.events[-1] == layout_moved("L", "failed", "removed")

    def test_they_go_with_their_container(self) -> None:
        name = BENCH[:12]
        given(adopted(), adopted("B", container=BENCH), containers=CONTAINERS).when(
            ContainerRecordFound(containers=(ContainerFacts(container_id=OTHER_BENCH, name=OTHER_BENCH[:12]),)),
            origin=TOWER,
        ).then(ContainerGone(container_id=BENCH, name=name), agent_gone("B", "container_gone", container=BENCH))

    def test_a_container_goes_with_the_last_of_many(self) -> None:
        many = [adopted(f"A{n:03}", f"r{n}", container=BENCH, tmux_pane_id=f"%{n}") for n in range(LOST_AT_ONCE + 1)]
        history = given(*many, containers=(HOST, BENCH))
        for left in (1, 0):
            history = history.when(ContainerRecordFound(containers=()), origin=TOWER).accepted()
            assert len(history.state.agents.adopted_in(BENCH)) == left
            assert (BENCH in history.state.containers.known) is bool(left)
