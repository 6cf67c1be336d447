"""Adopted agents on a real tmux server: what may be adopted, that nothing of it is touched, how its end is seen."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.tmux.support import reported, reporter
from tests.integration.tower.conftest import Desk
from tests.waiting import eventually

MOVES = {"window_", "session_", "client_", "server_", "next_session_id", "last_window_index", "active_window_index"}
"""What a pane's dump tells of its surroundings and of time."""

PLACE = {"pane_left", "pane_right", "pane_top", "pane_bottom", "pane_width", "pane_height", "pane_index", "pane_active"}
PLACE |= {"pane_at_left", "pane_at_right", "pane_at_top", "pane_at_bottom", "pane_last", "pane_marked", "pane_tabs"}
PLACE |= {
    "cursor_x",
    "cursor_y",
    "scroll_region_lower",
    "history_size",
    "history_bytes",
    "history_all_bytes",
    "cursor_character",
    "pane_path",
}
"""What follows from how many panes share a window."""


def theirs(desk: Desk, session: str = "theirs", *command: str) -> str:
    """A session of the operator's own; the tmux id of its pane, whose program prints nothing."""
    made = desk.tmux("new-session", "-d", "-P", "-F", "#{pane_id}", "-x", "100", "-y", "30", "-s", session, *command)
    pane = made.strip()
    desk.tmux("select-pane", "-t", pane, "-T", "my own title")
    desk.tmux("set-option", "-p", "-t", pane, "@mine", "kept")
    return pane


def adopt(desk: Desk, tmux_pane_id: str, label: str = "reviewer", **data: Any) -> dict[str, Any]:
    return desk.accepted("agent", "adopt", _data(tmux_pane_id, label, **data))


def _data(tmux_pane_id: str, label: str = "reviewer", **data: Any) -> dict[str, Any]:
    return {"container_id": "host", "tmux_pane_id": tmux_pane_id, "label": label, **data}


def dump(desk: Desk, pane: str, *, without: set[str] | None = None) -> dict[str, str]:
    """Every format of the pane, its options, its window's and session's, and what stands on its screen."""
    lines = desk.tmux("display-message", "-a", "-p", "-t", pane).splitlines()
    formats = {name: value for name, _, value in (line.partition("=") for line in lines)}
    assert formats["pane_id"] == pane
    left_out = MOVES | (without or set())
    kept = {
        name: value
        for name, value in formats.items()
        if not any(name == each or (each.endswith("_") and name.startswith(each)) for each in left_out)
    }
    kept["options of the pane"] = desk.tmux("show-options", "-p", "-t", pane)
    kept["screen"] = desk.tmux("capture-pane", "-p", "-t", pane).rstrip("\n")
    if without is None:
        kept["options of its window"] = desk.tmux("show-options", "-w", "-t", pane)
        kept["options of its session"] = desk.tmux("show-options", "-t", pane)
        kept["environment"] = desk.tmux("show-environment", "-t", pane)
        kept["name"] = desk.tmux("display-message", "-p", "-t", pane, "#{session_name} #{window_name} #{window_layout}")
    return kept


async def gone(desk: Desk, agent_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        agent = desk.get(f"/agents/{agent_id}")
        return agent if agent["state"] == "gone" else None

    found = await eventually(look, f"agent {agent_id} is seen to be gone")
    assert found is not None
    return found


class TestAdopting:
    async def test_a_pane_of_the_operators_becomes_an_agent_beside_the_managed_ones(self, desk: Desk):
        await desk.ready("ours")
        pane = theirs(desk, "theirs", "sleep", "100000")
        made = adopt(desk, pane, role="slave", capability="review")
        agent = desk.get(f"/agents/{made['agent_id']}")
        shown = {name: agent[name] for name in ("origin", "label", "role", "state", "tmux_pane_id", "pane_id")}
        assert shown == {
            "origin": "adopted",
            "label": "reviewer",
            "role": "slave",
            "state": "running",
            "tmux_pane_id": pane,
            "pane_id": None,
        }
        assert str(agent["pid"]) == desk.tmux("display-message", "-p", "-t", pane, "#{pane_pid}").strip()
        assert len(desk.get("/agents", origin="managed")["items"]) == 3
        again = adopt(desk, pane, label="other")
        assert again == {**made, "replay": True}
        assert len(desk.events(kind="agent")) == 1

    async def test_only_panes_that_are_there_and_nobodys(self, desk: Desk):
        layout = await desk.ready("ours")
        managed = layout["panes"][0]["tmux_pane_id"]
        pending = theirs(desk, "pending")
        desk.tmux("select-pane", "-t", pending, "-T", "@MANAGED:token:m7")
        for place in (managed, pending, "%987654"):
            error = desk.command("agent", "adopt", _data(place))["error"]
            assert (error["code"], error["details"]["field"]) == ("validation_failed", "tmux_pane_id"), place
        error = desk.command("agent", "adopt", _data(theirs(desk), "m1"))["error"]
        assert error["code"] == "managed_pane_label_conflict"
        assert desk.get("/agents", origin="adopted")["items"] == []

    def test_the_towers_own_control_session_is_no_pane_to_adopt(self, desk: Desk):
        pane = theirs(desk)
        adopt(desk, pane)
        every = set(desk.tmux("list-panes", "-a", "-F", "#{pane_id}").split())
        assert every > {pane}
        for own in every - {pane}:
            assert desk.command("agent", "adopt", _data(own, "own"))["error"]["code"] == "validation_failed"


class TestProtection:
    async def test_nothing_of_it_changes_through_the_whole_life_of_layouts_beside_it(self, desk: Desk):
        pane = theirs(desk, "theirs", "sleep", "100000")
        before = dump(desk, pane)
        agent_id = adopt(desk, pane)["agent_id"]
        layout = await desk.ready("beside")
        first, second, third = layout["panes"]
        os.kill(second["pid"], signal.SIGKILL)
        await eventually(lambda: desk.pane(second["id"])["state"] == "degraded", "the death is seen")
        desk.accepted("pane", "remove", {"pane_id": first["id"]})
        desk.accepted("pane", "recreate", {"predecessor_pane_id": first["id"]})
        await desk.settled(layout["id"])
        desk.tmux("kill-pane", "-t", third["tmux_pane_id"])
        await eventually(lambda: desk.pane(third["id"])["state"] == "failed", "it is seen to be gone")
        desk.restart()
        for verb, data in (("remove", {"pane_id": agent_id}), ("recreate", {"predecessor_pane_id": agent_id})):
            error = desk.command("pane", verb, data)["error"]
            assert error["code"] == "managed_pane_protected_adopted"
            assert error["details"] == {"agent_id": agent_id, "is_adopted": True}
        assert desk.http.get(f"/panes/{agent_id}").json()["error"]["code"] == "managed_pane_protected_adopted"
        desk.accepted("layout", "remove", {"layout_id": layout["id"]})
        await eventually(lambda: not desk.tmux_panes(), "every managed pane is killed")
        assert dump(desk, pane) == before
        assert desk.get(f"/agents/{agent_id}")["state"] == "running"

    async def test_moved_into_a_managed_session_it_survives_the_layout(self, desk: Desk):
        """In the very window of the managed panes: there only its place and size follow from theirs."""
        pane = theirs(desk, "theirs", "sleep", "100000")
        agent_id = adopt(desk, pane)["agent_id"]
        layout = await desk.ready("ours")
        desk.tmux("join-pane", "-d", "-s", pane, "-t", layout["panes"][0]["tmux_pane_id"])
        before = dump(desk, pane, without=PLACE)
        one = layout["panes"][1]
        desk.accepted("pane", "remove", {"pane_id": one["id"]})
        desk.accepted("pane", "recreate", {"predecessor_pane_id": one["id"]})
        assert (await desk.settled(layout["id"]))["state"] == "ready"
        desk.accepted("layout", "remove", {"layout_id": layout["id"]})
        await eventually(lambda: not desk.tmux_panes(), "every managed pane is killed")
        assert desk.tmux("list-panes", "-s", "-t", "=ours:", "-F", "#{pane_id}").split() == [pane]
        desk.accepted("pane", "recreate", {"predecessor_pane_id": layout["panes"][0]["id"]})
        assert (await desk.settled(layout["id"]))["state"] == "ready"
        assert dump(desk, pane, without=PLACE) == before
        assert desk.get(f"/agents/{agent_id}")["state"] == "running"


class TestGoing:
    @pytest.mark.parametrize("how", ["kill-pane", "its process"])
    async def test_is_seen_by_a_running_tower(self, desk: Desk, how: str):
        pane, other = theirs(desk), theirs(desk, "others")
        agent_id, staying = adopt(desk, pane)["agent_id"], adopt(desk, other, "writer")["agent_id"]
        if how == "kill-pane":
            desk.tmux("kill-pane", "-t", pane)
        else:
            desk.tmux("set-option", "-p", "-t", pane, "remain-on-exit", "on")
            os.kill(desk.get(f"/agents/{agent_id}")["pid"], signal.SIGKILL)
        agent = await gone(desk, agent_id)
        assert agent["gone_reason"] == ("vanished" if how == "kill-pane" else "exited")
        assert desk.get(f"/agents/{staying}")["state"] == "running"
        assert [event["type"] for event in desk.events(kind="agent", id=agent_id)] == [
            "agenttower.agent.adopted.v1",
            "agenttower.agent.gone.v1",
        ]

    async def test_while_no_tower_ran_is_seen_at_its_start(self, desk: Desk):
        pane, other = theirs(desk), theirs(desk, "others")
        agent_id, staying = adopt(desk, pane)["agent_id"], adopt(desk, other, "writer")["agent_id"]
        desk.close()
        desk.tower.kill()
        desk.tmux("kill-pane", "-t", pane)
        desk.tower.start()
        assert (await gone(desk, agent_id))["gone_reason"] == "vanished"
        assert desk.get(f"/agents/{staying}")["state"] == "running"

    async def test_with_its_server_its_place_and_label_are_free(self, desk: Desk):
        pane = theirs(desk)
        agent_id = adopt(desk, pane)["agent_id"]
        desk.tmux("kill-server")
        await gone(desk, agent_id)
        assert adopt(desk, theirs(desk))["agent_id"] != agent_id


class TestReporting:
    async def test_stands_with_the_agent(self, desk: Desk):
        layout = await desk.ready("ours")
        pane = layout["panes"][0]
        told = desk.accepted("agent", "report", {"pane_id": pane["id"], "agent_session": "a-session"})
        assert (told["agent_id"], told["replay"]) == (pane["agent_id"], False)
        assert desk.get(f"/agents/{pane['agent_id']}")["agent_session"] == "a-session"

    async def test_a_successor_resumes_what_its_predecessor_reported(self, desk: Desk, tmp_path: Path):
        """By its profile's `resume`, each word as it is written there."""
        odd, resumed = "a b; $(x) {agent_session} '#{pane_id}'", tmp_path / "resumed"
        folder = desk.tower.home / "config" / "agenttower" / "launch_profiles"
        folder.mkdir(parents=True)
        words = json.dumps(reporter(resumed, "--resume", "{agent_session}", "--name=again-{agent_session}"))
        (folder / "agent.yaml").write_text(f"name: agent\ncommand: [sleep, '100000']\nresume: {words}\n")
        layout = await desk.ready("ours", launch_command_overrides={"master:m1": "agent"})
        first = layout["panes"][0]
        desk.accepted("agent", "report", {"pane_id": first["id"], "agent_session": odd})
        desk.accepted("pane", "remove", {"pane_id": first["id"]})
        desk.accepted("pane", "recreate", {"predecessor_pane_id": first["id"]})
        given, environment, _ = await reported(resumed)
        assert given == ["--resume", odd, f"--name=again-{odd}"]
        assert environment["AGENTTOWER_PANE_ID"] != first["id"]
        assert environment["AGENTTOWER_HOME"] == str(desk.tower.home)
