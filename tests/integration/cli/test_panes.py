"""`agenttower pane …` and `agent list` on a real tower."""

import os
import signal
from typing import Any

from tests.integration.cli.conftest import Desk, columns
from tests.waiting import eventually


def panes_of(desk: Desk) -> list[dict[str, Any]]:
    """The panes of a new layout, as `pane show` gives them."""
    made = desk.layout()
    return desk.json("layout", "show", made["layout_id"])["panes"]


async def killed(desk: Desk, pane: dict[str, Any]) -> dict[str, Any]:
    """The pane after its process was killed and the tower has seen it."""
    os.kill(pane["pid"], signal.SIGKILL)

    def degraded() -> dict[str, Any] | None:
        found = desk.json("pane", "show", pane["id"])
        return found if found["state"] == "degraded" else None

    found = await eventually(degraded, "the pane is degraded")
    assert found is not None
    return found


def test_list_and_show(desk: Desk) -> None:
    master, *_ = panes_of(desk)
    rows = {row[0]: row for row in columns(desk.ok("pane", "list", "--layout", master["layout_id"][-8:]).out)}
    assert rows["ID"] == ["ID", "LABEL", "ROLE", "STATE", "AT", "RUNS", "TMUX", "PID", "ORIGIN"]
    assert rows[master["id"][-8:]][1:] == [
        master["label"],
        "master",
        "ready",
        "-",
        "shell",
        master["tmux_pane_id"],
        str(master["pid"]),
        "managed",
    ]
    assert len(rows) == 4
    shown = dict(row for row in columns(desk.ok("pane", "show", master["id"]).out) if len(row) == 2)
    assert shown["label"] == master["label"]
    assert shown["state"] == "ready"
    assert shown["pid"] == str(master["pid"])
    assert shown["log"] == master["log_path"]


def test_list_filters(desk: Desk) -> None:
    first, second, third = panes_of(desk)
    desk.ok("pane", "remove", second["id"])
    ready = [row["id"] for row in desk.json("pane", "list", "--state", "ready", "--limit", "500")["items"]]
    assert first["id"] in ready
    assert second["id"] not in ready
    layout = desk.json("pane", "list", "--layout", first["layout_id"])["items"]
    assert [row["id"] for row in layout] == [first["id"], third["id"], second["id"]]
    assert desk.run("pane", "list", "--state", "nonsense").err.startswith("validation_failed: ")


async def test_a_killed_process_shows_in_the_table(desk: Desk) -> None:
    _, slave, _ = panes_of(desk)
    broken = await killed(desk, slave)
    assert (broken["failed_stage"], broken["signal"]) == ("process_exited", 9)
    rows = {row[0]: row for row in columns(desk.ok("layout", "show", slave["layout_id"]).out)}
    assert rows[slave["id"][-8:]][3:5] == ["degraded", "process_exited, signal 9"]


def test_remove_and_recreate(desk: Desk) -> None:
    _, slave, _ = panes_of(desk)
    assert desk.ok("pane", "remove", slave["id"]).out == f"Pane {slave['id']} is removed\n"
    assert desk.ok("pane", "remove", slave["id"]).out == f"Pane {slave['id']} is removed; it was before\n"
    made = desk.json("pane", "recreate", slave["id"])
    assert (made["state"], made["predecessor_id"], made["chain_depth"]) == ("ready", slave["id"], 1)
    again = desk.ok("pane", "remove", made["pane_id"])
    assert "is removed" in again.out
    third = desk.ok("pane", "recreate", made["pane_id"])
    assert third.out.endswith(f"is ready, in place of {made['pane_id']}\n")
    shown = dict(row for row in columns(desk.ok("pane", "show", third.out.split()[1]).out) if len(row) == 2)
    assert shown["recreated from"] == made["pane_id"]
    assert shown["generation"] == "2"
    assert shown["before that"] == slave["id"][-8:]


def test_recreating_a_pane_that_lives_is_refused(desk: Desk) -> None:
    master, *_ = panes_of(desk)
    done = desk.run("pane", "recreate", master["id"])
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("managed_pane_illegal_recreate_source: ")


def test_a_pane_goes_by_label_and_session(desk: Desk) -> None:
    session = desk.session_name()
    made = desk.json("layout", "create", "--template", "1m+2s", "--session-name", session)
    _, slave, _ = made["panes"]
    for reference in (slave["label"], f"{session}/{slave['label']}", slave["pane_id"][-7:]):
        assert desk.json("pane", "show", reference)["id"] == slave["pane_id"], reference
    desk.ok("pane", "remove", slave["label"])
    newest = desk.json("pane", "recreate", f"{session}/{slave['label']}")["pane_id"]
    assert desk.json("pane", "show", f"{session}/{slave['label']}")["id"] == newest


def test_an_unknown_pane(desk: Desk) -> None:
    done = desk.run("pane", "remove", "nowhere")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("managed_pane_not_found: ")


def test_agents(desk: Desk) -> None:
    master, *_ = panes_of(desk)
    rows = {row[5]: row for row in columns(desk.ok("agent", "list", "--limit", "500").out)}
    assert rows["PANE"][:5] == ["ID", "LABEL", "ROLE", "STATE", "ORIGIN"]
    assert rows[master["id"][-8:]][1:5] == [master["label"], "master", "ready", "managed"]
    items = desk.json("agent", "list", "--limit", "500")["items"]
    assert master["id"] in [row["pane_id"] for row in items]
