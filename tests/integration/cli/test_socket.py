"""The command line over the bench socket, with nothing but `AGENTTOWER_SOCKET`: no home, no token, no broker."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.cli.child_tower import ChildTower
from tests.needs import need


@pytest.fixture(scope="module")
def tower() -> Iterator[ChildTower]:
    need("tmux")
    with ChildTower() as made:
        made.start()
        yield made


def cli(socket: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AGENTTOWER_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", "adapters.cli", *words],
        env=kept | {"AGENTTOWER_SOCKET": str(socket), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_is_a_full_client(tower: ChildTower, tmp_path: Path) -> None:
    socket = tower.home / "bench" / "tower.sock"
    made = cli(socket, tmp_path, "layout", "create", "--template", "1m+2s", "--session-name", "s", "--json")
    assert made.returncode == 0, made.stderr
    layout_id = json.loads(made.stdout)["layout_id"]
    listed = json.loads(cli(socket, tmp_path, "layout", "list", "--json").stdout)
    assert [row["id"] for row in listed["items"]] == [layout_id]
    removed = cli(socket, tmp_path, "pane", "remove", "s1")
    assert removed.returncode == 0, removed.stderr
    events = json.loads(cli(socket, tmp_path, "events", "query", "--type", "pane.removed", "--json").stdout)
    assert [event["actor"] for event in events["items"]] == ["host"]
    status = json.loads(cli(socket, tmp_path, "status", "--json").stdout)
    assert (status["node"], status["ready"]) == ("demo", True)


def test_a_rejection_is_exit_code_1_with_its_code(tower: ChildTower, tmp_path: Path) -> None:
    socket = tower.home / "bench" / "tower.sock"
    done = cli(socket, tmp_path, "layout", "create", "--template", "none", "--session-name", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("managed_template_not_found")


def test_panes_are_typed_into_and_their_logs_read(tower: ChildTower, tmp_path: Path) -> None:
    socket = tower.home / "bench" / "tower.sock"
    words = ("layout", "create", "--template", "1m+2s", "--session-name", "typed", "--json")
    layout = json.loads(cli(socket, tmp_path, *words).stdout)["layout_id"]
    pane = json.loads(cli(socket, tmp_path, "layout", "show", layout, "--json").stdout)["panes"][0]["id"]
    sent = json.loads(cli(socket, tmp_path, "pane", "send", pane, "echo said-$((40 + 2))", "--json").stdout)
    assert sent["pane_id"] == pane
    # The terminal echoes it, whenever the pane's shell is ready to run it.
    deadline = time.monotonic() + 30
    while "echo said-$((40 + 2))" not in cli(socket, tmp_path, "pane", "logs", pane).stdout:
        assert time.monotonic() < deadline
    assert cli(socket, tmp_path, "layout", "remove", layout).returncode == 0


@pytest.mark.parametrize("words", [("pane", "attach", "m1"), ("audit", "verify")])
def test_what_needs_the_towers_files_says_so(tower: ChildTower, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = cli(tower.home / "bench" / "tower.sock", tmp_path, *words)
    assert done.returncode == 1
    assert "out of reach over the bench socket" in done.stderr


def test_without_a_socket_it_says_where_it_looked(tmp_path: Path) -> None:
    done = cli(tmp_path / "none.sock", tmp_path, "layout", "list")
    assert done.returncode == 1
    assert str(tmp_path / "none.sock") in done.stderr
