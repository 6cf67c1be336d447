"""`container list` and `container scan`, and naming a container on the command line."""

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.cli import references
from adapters.cli.failures import Failure
from tests.integration.cli.conftest import Desk, Terminal, columns
from tests.integration.cli.test_completion import offered


def test_this_machine_is_known_without_a_scan(own_desk: Desk) -> None:
    (host,) = own_desk.json("container", "list")["items"]
    assert (host["id"], host["name"], host["state"], host["scan_id"]) == ("host", "host", "running", None)
    head, row = columns(own_desk.ok("container", "list").out)
    assert head == ["ID", "NAME", "STATE", "IMAGE", "USER", "UNMANAGED", "SCANNED"]
    assert row == ["host", "host", "running", "-", "-", "-", "-"]
    assert own_desk.ok("container", "list", "--state", "gone").out == "No container is gone.\n"
    assert own_desk.run("container", "list", "--state", "ready").code == 2


def test_a_scan_finds_panes_that_the_tower_did_not_make(desk: Desk) -> None:
    made = desk.layout()
    desk.tmux("new-session", "-d", "-s", "mine", "-x", "80", "-y", "24", "exec cat")
    desk.tmux("select-pane", "-t", "mine:", "-T", "notes")
    desk.tmux("new-session", "-d", "-s", "pending", "cat")
    desk.tmux("select-pane", "-t", "pending:", "-T", "@MANAGED:token:m1")
    found = desk.json("container", "scan")
    assert {"command_id", "position", "scan_id", "reason", "containers", "unmanaged"} == set(found)
    assert "host" in [row["id"] for row in found["containers"]]
    (pane,) = [pane for pane in found["unmanaged"] if pane["container_id"] == "host"]
    assert (pane["session_name"], pane["title"]) == ("mine", "notes")
    assert pane["command"] in ("sh", "cat")
    assert len(made["panes"]) == 3, "managed panes, those being made and the control session are not among them"
    said = desk.ok("container", "scan").out
    assert columns(said.partition("\n\n")[2]) == [
        ["CONTAINER", "PLACE", "TMUX", "PID", "COMMAND", "TITLE"],
        ["host", "mine:0.0", pane["tmux_pane_id"], str(pane["pid"]), "cat", "notes"],
    ]
    (host,) = [row for row in desk.json("container", "list")["items"] if row["id"] == "host"]
    assert host["unmanaged_pane_count"] == 1
    desk.tmux("kill-session", "-t", "mine")
    assert desk.json("container", "scan")["unmanaged"] == []


def test_its_events_are_of_one_correlation(desk: Desk) -> None:
    found = desk.json("container", "scan")
    events = desk.json("events", "query", "--correlation", found["command_id"])["items"]
    assert [event["type"].split(".")[2] for event in events] == ["scan_requested", "scanned"]
    assert [event["actor"] for event in events] == ["host", "tower"]
    assert events[1]["causationid"] == events[0]["id"]


def test_without_waiting_it_says_which_scan(desk: Desk) -> None:
    assert set(desk.json("container", "scan", "--no-wait")) == {"command_id", "position", "scan_id"}


def test_it_fits_a_terminal(desk: Desk, terminal: Terminal) -> None:
    lines = terminal.agenttower(desk.home, "container", "list")
    assert lines[0].split() == ["ID", "NAME", "STATE", "IMAGE", "USER", "UNMANAGED", "SCANNED"]


def test_filters_take_names_of_containers(desk: Desk) -> None:
    made = desk.layout()
    for words in (("layout", "list"), ("pane", "list")):
        assert desk.json(*words, "--container", "host")["items"]
        done = desk.run(*words, "--container", "nowhere")
        assert (done.code, done.err.split(":")[0]) == (1, "container_not_found")
    assert made["layout_id"] in [row["id"] for row in desk.json("layout", "list", "--container", "ho")["items"]]


def test_completion_offers_this_machine(desk: Desk) -> None:
    assert offered(desk.home, "layout", "create", "--container", "").out.split() == ["host"]
    assert offered(desk.home, "layout", "list", "--container", "h").out.split() == ["host"]


# --- names ---------------------------------------------------------------------------------------------------------


class Listed:
    """Answers `/v1/containers` with these rows."""

    def __init__(self, *rows: tuple[str, str, str]) -> None:
        self._rows = [{"id": identifier, "name": name, "state": state} for identifier, name, state in rows]

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        assert path == "/v1/containers"
        return iter(self._rows)


A, B, C = "ab" * 32, "ac" * 32, "d" * 64
LISTED: Any = Listed(
    ("host", "host", "running"), (A, "bench-1", "running"), (B, "bench", "stopped"), (C, "bench", "gone")
)


@pytest.mark.parametrize(
    ("reference", "found"),
    [("host", "host"), (A, A), ("ab", A), ("bench-1", A), ("bench-", A), ("bench", B), ("d", C), (C, C)],
)
def test_a_container_goes_by_id_name_or_the_beginning_of_either(reference: str, found: str) -> None:
    assert references.container_id(LISTED, reference) == found


@pytest.mark.parametrize("reference", ["a", "be"])
def test_what_stands_for_several_is_refused_with_all_of_them(reference: str) -> None:
    with pytest.raises(Failure, match=f"stands for 2 containers: {A[:12]} bench-1; {B[:12]} bench"):
        references.container_id(LISTED, reference)


@pytest.mark.parametrize("reference", ["x", "", "e" * 64])
def test_what_stands_for_none_is_not_found(reference: str) -> None:
    with pytest.raises(Failure) as failed:
        references.container_id(LISTED, reference)
    assert (failed.value.code, failed.value.details) == ("container_not_found", {"container_id": reference})
