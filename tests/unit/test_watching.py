"""What the watcher makes of a look at tmux."""

from typing import Any

import pytest

from domain.agents.events import Gone
from domain.layouts.state import Layouts
from domain.messages import HOST, Event
from handlers.effects.adopted import lost_agents
from handlers.effects.watching import compare, doubtful, reports, spawned_panes
from handlers.ports import SeenPane
from tests.unit.builders import adopted, agent_gone, gone, layout, moved, ready_layout, spawned
from tests.unit.given import given


def layouts(*history: Event) -> Layouts:
    return given(*history).state.layouts


def seen(pane_id: str | None, **fields: Any) -> SeenPane:
    """A pane alive in tmux."""
    living: dict[str, Any] = {
        "tmux_pane_id": "%1",
        "pid": 100,
        "session_name": "session-L",
        "own_session": True,
        "window_index": 0,
        "pane_index": 0,
        "title": "whatever its program says",
        "command": "sh",
        "dead": False,
        "exit_code": None,
        "signal": None,
        "piped": True,
    }
    return SeenPane(pane_id=pane_id, **{**living, **fields})


def found(state: Layouts, *look: SeenPane) -> list[tuple[str, str]]:
    """(pane, step) of what is reported."""
    findings = compare(spawned_panes(state, HOST), look, state)
    return [(pane_id, step) for pane_id, step, _ in reports(findings)]


class TestExpectations:
    def test_only_panes_that_were_made_are_missed(self):
        state = layouts(*layout("L", "m1", "s1"), spawned("L-s1"))
        assert [pane.pane_id for pane in spawned_panes(state, HOST)] == ["L-s1"]

    def test_panes_of_other_containers_are_not_expected_here(self):
        bench = "b" * 64
        history = given(*ready_layout("L"), *ready_layout("M", container=bench), containers=(HOST, bench))
        assert [pane.pane_id for pane in spawned_panes(history.state.layouts, bench)] == ["M-m1"]


class TestAReadyPane:
    state = layouts(*ready_layout("L", "m1", "s1", "s2"))

    def test_that_is_seen_alive_is_no_news(self):
        assert found(self.state, *(seen(f"L-{label}") for label in ("m1", "s1", "s2"))) == []

    def test_that_is_not_seen_vanished(self):
        assert found(self.state, seen("L-m1"), seen("L-s2")) == [("L-s1", "vanished")]

    def test_that_is_dead_exited_with_what_tmux_knows(self):
        dead = seen("L-s1", dead=True, signal=9)
        findings = compare(spawned_panes(self.state, HOST), [seen("L-m1"), dead, seen("L-s2")], self.state)
        ((pane_id, step, request),) = reports(findings)
        assert (pane_id, step) == ("L-s1", "exited")
        assert (request.exit_code, request.signal) == (None, 9)  # type: ignore[attr-defined]

    def test_is_known_by_its_user_option_and_not_by_title_or_place(self):
        moved_away = seen("L-s1", title="m1", session_name="elsewhere", window_index=7, tmux_pane_id="%9")
        assert found(self.state, seen("L-m1"), moved_away, seen("L-s2"), seen(None, title="s1")) == []


class TestOtherPanes:
    def test_a_dead_pane_that_is_degraded_already_is_no_news(self):
        state = layouts(*ready_layout(), moved("L-m1", "ready", "degraded", "process_exited"))
        assert found(state, seen("L-m1", dead=True, exit_code=1)) == []

    def test_a_dead_pane_that_is_being_created_is_the_pipelines_to_judge(self):
        assert found(layouts(*layout(), spawned("L-m1")), seen("L-m1", dead=True, exit_code=1)) == []

    def test_the_remains_of_a_removed_pane_are_found(self):
        state = layouts(*ready_layout(), moved("L-m1", "ready", "removed"), gone("L-m1"))
        assert [left.pane_id for left in compare((), [seen("L-m1")], state).left] == ["L-m1"]

    def test_what_is_not_ours_is_left_alone(self):
        state = layouts(*ready_layout())
        findings = compare((), [seen(None), seen("of-another-tower")], state)
        assert (findings.gone, findings.exited, findings.left) == ((), (), ())


@pytest.mark.parametrize(("gone_count", "expected"), [(0, False), (1, False), (2, False), (3, True), (4, True)])
def test_more_than_half_gone_at_once_is_looked_at_again(gone_count: int, expected: bool):
    panes = spawned_panes(layouts(*ready_layout("L", "m1", "s1", "s2", "s3")), HOST)
    assert len(panes) == 4
    assert doubtful(panes[:gone_count], panes) is expected


class TestAnAdoptedAgent:
    agents = given(adopted(), adopted("B", "other", tmux_pane_id="%8", pid=88)).state.agents.adopted_in(HOST)
    b_is_there = seen(None, tmux_pane_id="%8", pid=88)

    def lost(self, *look: SeenPane) -> list[tuple[str, Gone]]:
        return [(each.agent_id, each.reason) for each in lost_agents(self.agents, look)]

    def test_that_is_seen_alive_is_no_news(self):
        moved_away = seen(None, tmux_pane_id="%7", pid=77, session_name="session-L", title="renamed", command="vim")
        assert self.lost(moved_away, self.b_is_there) == []

    def test_that_is_not_seen_vanished(self):
        assert self.lost(self.b_is_there) == [("A", Gone.VANISHED)]

    def test_that_is_dead_exited(self):
        assert self.lost(seen(None, tmux_pane_id="%7", pid=77, dead=True), self.b_is_there) == [("A", Gone.EXITED)]

    def test_in_whose_place_another_process_runs_vanished(self):
        assert self.lost(seen(None, tmux_pane_id="%7", pid=78), self.b_is_there) == [("A", Gone.VANISHED)]

    def test_that_is_gone_is_missed_no_more(self):
        assert given(adopted(), agent_gone()).state.agents.adopted_in(HOST) == ()
