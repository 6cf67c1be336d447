"""`agenttower background …` and `agenttower trigger …` on a real tower."""

import json
from typing import Any

import pytest
import yaml

from tests.integration.cli.conftest import Desk, Terminal, columns
from tests.waiting import eventually


@pytest.fixture(scope="module", autouse=True)
def lead(desk: Desk) -> str:
    """A session whose bundle declares two background sessions."""
    worker = {"bundle": {"name": "worker"}, "runtime": {"kind": "echo"}}
    (desk.home / "worker.yaml").write_text(yaml.safe_dump(worker))
    sessions: list[dict[str, Any]] = [
        {
            "name": "coders",
            "bundle": "./worker.yaml",
            "triggers": [{"type": "manual"}],
            "instruction": "Do {event.data[n]}",
        },
        {
            "name": "idlers",
            "bundle": "./worker.yaml",
            "triggers": [{"type": "session_event", "config": {"event_names": ["nothing:*"]}}],
        },
    ]
    lead = {"bundle": {"name": "lead"}, "runtime": {"kind": "echo"}, "background_sessions": sessions}
    (desk.home / "lead.yaml").write_text(yaml.safe_dump(lead))
    desk.ok("session", "spawn", str(desk.home / "lead.yaml"), "Lead.", "--id", "lead")
    return "lead"


async def test_one_that_is_fired_by_hand_runs(desk: Desk) -> None:
    fired = desk.json("trigger", "fire", "coders", "--data", '{"n": 7}')
    assert (fired["background_id"], fired["state"]) == ("bg-coders-0001", "run")

    def ended() -> bool:
        listed = desk.json("trigger", "list", "--background", "coders", "--state", "completed")["items"]
        return any(row["id"] == fired["trigger_id"] and row["output"] == "Do 7" for row in listed)

    await eventually(ended, "the end of its run")
    shown = desk.json("background", "status", "coders")
    assert (shown["trigger_count"], shown["running"], shown["waiting"]) == (1, 0, 0)
    assert [row["session_name"] for row in shown["triggers"]] == ["coders-1"]
    lines = desk.ok("background", "status", "coders").out.splitlines()
    assert lines[0] == "Background session bg-coders-0001"
    assert ["triggers taken", "1"] in columns("\n".join(lines)) and "coders-1" in lines[-1]
    words = desk.ok("trigger", "fire", "bg-coders-0001").out
    assert words.startswith("Trigger ") and "of bg-coders-0001 runs as session" in words


def test_they_are_listed(desk: Desk, terminal: Terminal) -> None:
    listed = {row["name"]: row for row in desk.json("background", "list")["items"]}
    assert listed["idlers"]["state"] in ("starting", "running")
    rows = columns(desk.ok("background", "list").out)
    assert rows[0] == ["NAME", "STATE", "RUNNING", "WAITING", "TAKEN", "LAST TRIGGER", "TRIGGERS"]
    assert {row[0] for row in rows[1:]} == {"coders", "idlers"}
    assert desk.ok("background", "list", "--state", "failed").out.startswith("No background sessions")
    screen = terminal.agenttower(desk.home, "background", "status", "idlers")
    assert any("session_event: event_names" in line for line in screen) and max(map(len, screen)) <= 80


def test_one_is_stopped_and_started(desk: Desk) -> None:
    assert desk.ok("background", "stop", "idlers").out == "Background session bg-idlers-0002 is stopped\n"
    assert desk.ok("background", "stop", "bg-idlers-0002").out.endswith("is stopped, as before\n")
    stopped = desk.json("background", "status", "idlers")
    assert (stopped["state"], stopped["stop_reason"]) == ("stopped", "asked")
    assert desk.ok("background", "start", "idlers").out == "Background session bg-idlers-0002 starts\n"


def test_failures_say_what_to_do(desk: Desk) -> None:
    nobody = desk.run("background", "status", "nobody")
    assert (nobody.code, nobody.err.splitlines()[1]) == (
        1,
        "`agenttower background list` shows those that are declared",
    )
    assert desk.run("trigger", "fire", "nobody").err.startswith("background_not_found")
    without = desk.run("trigger", "fire", "idlers", "--json")
    error = json.loads(without.err)["error"]
    assert error["code"] == "validation_failed" and "no trigger of type manual" in error["message"]


def test_status_counts_them(desk: Desk) -> None:
    found = desk.json("status")
    assert sum(found["background"].values()) == 2 and found["subscriptions"] == []
    assert any(line.strip().startswith("background") for line in desk.ok("status").out.splitlines())


async def test_how_a_folder_is_watched_is_said(desk: Desk) -> None:
    watching = {"type": "file_change", "config": {"path": str(desk.home / "work")}}
    lead = {
        "bundle": {"name": "w"},
        "background_sessions": [{"name": "w", "bundle": "./w.yaml", "triggers": [watching]}],
    }
    (desk.home / "w.yaml").write_text(yaml.safe_dump(lead))
    desk.ok("session", "spawn", str(desk.home / "w.yaml"), "Watch.", "--id", "w")
    await eventually(lambda: desk.json("background", "status", "w")["state"] == "running", "the watch")
    (how,) = desk.json("background", "status", "w")["watching"]
    assert how["trigger_index"] == 0 and how["how"]
    assert any(f"({how['how']})" in line for line in desk.ok("background", "status", "w").out.splitlines())
