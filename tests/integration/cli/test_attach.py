"""`agenttower pane attach` in a real terminal, and what it says where it cannot be."""

import sys
from typing import Any

import pytest

from adapters.cli.attach import check_is_there
from adapters.cli.failures import Failure
from tests.integration.cli.conftest import Desk, Terminal, environment
from tests.integration.cli.test_logs import typed
from tests.waiting import eventually


def panes_of(desk: Desk) -> list[dict[str, Any]]:
    made = desk.layout()
    return desk.json("layout", "show", made["layout_id"])["panes"]


def attach(desk: Desk, terminal: Terminal, name: str, *words: str) -> None:
    """A terminal that shows what the command shows, also after its end."""
    argv = [sys.executable, "-m", "adapters.cli", "pane", "attach", *words]
    shell = ["sh", "-c", '"$@"; echo "ended $?"; sleep 1000', "sh", *argv]
    terminal.tmux("new-session", "-d", "-s", name, "-e", f"AGENTTOWER_HOME={desk.home}", *shell)


def shown(terminal: Terminal, name: str) -> str:
    return terminal.tmux("capture-pane", "-p", "-t", f"{name}:")


async def client_on(desk: Desk, pane: dict[str, Any]) -> str:
    """`client_readonly` of the client that is on the pane."""

    def look() -> str | None:
        lines = desk.tmux("list-clients", "-F", "#{pane_id} #{client_readonly}").splitlines()
        return next((line.split()[1] for line in lines if line.startswith(f"{pane['tmux_pane_id']} ")), None)

    found = await eventually(look, "a client is on the pane")
    assert found is not None
    return found


async def test_is_the_real_tmux_client_on_that_pane(desk: Desk, terminal: Terminal) -> None:
    _, slave, _ = panes_of(desk)
    attach(desk, terminal, "attached", slave["id"])
    assert await client_on(desk, slave) == "0"
    await typed(desk, slave, "hello-there")
    await eventually(lambda: "hello-there" in shown(terminal, "attached"), "the terminal shows the pane")
    terminal.tmux("send-keys", "-t", "attached:", "echo from''-here", "Enter")
    await eventually(lambda: "from-here" in desk.tmux("capture-pane", "-p", "-t", slave["tmux_pane_id"]), "keys arrive")
    terminal.tmux("send-keys", "-t", "attached:", "C-b", "d")
    await eventually(lambda: "ended 0" in shown(terminal, "attached"), "detached")


async def test_only_looking(desk: Desk, terminal: Terminal) -> None:
    _, slave, _ = panes_of(desk)
    attach(desk, terminal, "looking", slave["id"], "--read-only")
    assert await client_on(desk, slave) == "1"


async def test_from_inside_the_tower_s_own_tmux(desk: Desk, terminal: Terminal) -> None:
    _, slave, _ = panes_of(desk)
    done = desk.run("pane", "attach", slave["id"], TMUX=f"{desk.tower.tmux_socket},1,0")
    assert done.err.startswith("attaching needs a terminal")
    argv = " ".join([sys.executable, "-m", "adapters.cli", "pane", "attach", slave["id"]])
    desk.tmux("send-keys", "-t", slave["tmux_pane_id"], f"clear; AGENTTOWER_HOME={desk.home} {argv}", "Enter")

    def refused() -> bool:
        said = desk.tmux("capture-pane", "-p", "-J", "-t", slave["tmux_pane_id"])
        return "is in the tower's tmux server already" in said and "tmux switch-client -t" in said

    await eventually(refused, "it is refused, and says what to type")


def test_without_a_terminal(desk: Desk) -> None:
    _, slave, _ = panes_of(desk)
    done = desk.run("pane", "attach", slave["id"])
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("attaching needs a terminal, on standard input and output\n")


def test_to_a_removed_pane(desk: Desk) -> None:
    _, slave, _ = panes_of(desk)
    desk.ok("pane", "remove", slave["id"])
    done = desk.run("pane", "attach", slave["id"])
    assert done.code == 1
    assert "there is nothing to attach to" in done.err


def test_to_a_pane_that_tmux_has_no_more(desk: Desk) -> None:
    """Nor to another one that has its number."""
    _, slave, _ = panes_of(desk)
    tmux = ["tmux", "-u", "-N", "-S", str(desk.tower.tmux_socket)]
    check_is_there(tmux, slave, environment())
    for gone in ({**slave, "id": "another"}, {**slave, "tmux_pane_id": "%99999"}):
        with pytest.raises(Failure, match=f"pane {gone['id']} is not in tmux any more"):
            check_is_there(tmux, gone, environment())
