"""The user's own configuration is loaded, and takes nothing from what the tower needs."""

import os

import pytest

from adapters.tmux.terminal import TmuxTerminal
from tests.integration.tmux.support import Server
from tests.waiting import eventually

EVERYTHING = """
set -g prefix C-a
set -g base-index 1
set -g pane-base-index 1
set -g remain-on-exit off
set -g remain-on-exit-format 'gone'
set -g default-command 'echo hijacked; sleep 1000'
set -g default-shell /bin/bash
set -g destroy-unattached on
set -s exit-unattached on
set -g detach-on-destroy off
set -g automatic-rename on
set -g allow-rename on
set -g set-titles on
set -g history-limit 123
set -g window-size largest
set -g aggressive-resize on
set -g pane-border-status top
set -g renumber-windows on
set -g mouse on
set -g update-environment 'FOO BAR'
set-hook -g pane-died[0] 'set -s @user_saw_death 1'
set-hook -g after-split-window 'select-layout even-horizontal'
set-hook -g after-new-session 'rename-window mine'
set -s command-alias[100] 'zoom=resize-pane -Z'
"""


async def test_everything_at_once(server: Server, terminal: TmuxTerminal):
    server.configure(EVERYTHING)
    panes = [server.sh(f"p{n}", f"echo out {n}; exec sleep 1000") for n in range(6)]
    made = await terminal.create_session("cfg.1", panes)
    assert [pane.pane_id for pane in made] == [f"p{n}" for n in range(6)]
    assert {pane.window_index for pane in made} == {1}
    assert [pane.pane_index for pane in made] == [1, 2, 3, 4, 5, 6]
    assert server.tmux("show-options", "-gv", "prefix") == "C-a"
    assert server.tmux("show-options", "-gv", "history-limit") == "123"
    assert server.tmux("list-panes", "-t", "=cfg_1:", "-F", "#{history_limit}").splitlines() == ["50000"] * 6
    for n in range(6):
        await eventually(
            lambda n=n: server.log(f"p{n}").read_text() == f"out {n}\r\n" or "out" in server.log(f"p{n}").read_text()
        )
        assert "hijacked" not in server.log(f"p{n}").read_text()

    os.kill(made[2].pid, 9)

    async def dead() -> bool:
        return [(pane.pane_id, pane.signal) for pane in await terminal.look() if pane.dead] == [("p2", 9)]

    await eventually(dead)
    await eventually(lambda: server.tmux("show-options", "-sqv", "@user_saw_death") == "1")
    (more,) = await terminal.add_panes("cfg.1", [server.pane("p9")])
    assert more.window_index == 1


async def test_sessions_outlive_the_tower(server: Server):
    server.configure(EVERYTHING)
    first = TmuxTerminal(server.address())
    made = await first.create_session("stay", [server.pane("p1"), server.pane("p2")])
    await first.look()
    await first.close()
    assert server.tmux("list-sessions", "-F", "#{session_name}") == "stay"

    second = TmuxTerminal(server.address())
    try:
        found = await second.panes()
        assert [(pane.pane_id, pane.pid) for pane in found] == [(pane.pane_id, pane.pid) for pane in made]
    finally:
        await second.close()


@pytest.mark.parametrize("line", ["no-such-command", "set -g no-such-option 1", "if-shell 'false' 'x' 'y'"])
async def test_a_broken_configuration_costs_nothing(server: Server, terminal: TmuxTerminal, line: str):
    server.configure(line + "\nset -g base-index 1\n")
    (made,) = await terminal.create_session("broken", [server.pane("p1")])
    assert not made.dead


async def test_identity_survives_moves_and_renames(server: Server, terminal: TmuxTerminal):
    first, second = await terminal.create_session("moves", [server.pane("p1"), server.pane("p2")])
    server.tmux("swap-pane", "-s", first.tmux_pane_id, "-t", second.tmux_pane_id)
    server.tmux("break-pane", "-d", "-s", first.tmux_pane_id, "-n", "broken-out")
    server.tmux("rename-session", "-t", "=moves:", "renamed")
    server.tmux("select-pane", "-t", first.tmux_pane_id, "-T", "another title")
    by_id = {pane.pane_id: pane for pane in await terminal.panes()}
    assert {key: pane.tmux_pane_id for key, pane in by_id.items()} == {
        "p1": first.tmux_pane_id,
        "p2": second.tmux_pane_id,
    }
    assert by_id["p1"].session_name == "renamed"
    assert by_id["p1"].title == "another title"


async def test_a_grouped_session_shows_no_pane_twice(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("zz", [server.pane("p1"), server.pane("p2")])
    server.tmux("new-session", "-d", "-t", "zz", "-s", "aa")
    assert await terminal.sessions() == {"aa", "zz"}
    panes = await terminal.panes()
    assert [(pane.pane_id, pane.session_name) for pane in panes] == [("p1", "zz"), ("p2", "zz")]


async def test_settings_of_the_tower_stay_out_of_panes(
    server: Server, terminal: TmuxTerminal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGENTTOWER_NATS_URL", "nats://secret@127.0.0.1")
    monkeypatch.setenv("TMUX", "/tmp/other,1,2")
    monkeypatch.setenv("HOME", str(server.home))
    address = type(server.address())(socket_path=str(server.socket), node="local")
    own = TmuxTerminal(address)
    try:
        await own.create_session("clean", [server.sh("p1", "env; echo done; exec sleep 1000")])
        await eventually(lambda: "done" in server.log("p1").read_text())
        text = server.log("p1").read_text()
        assert "AGENTTOWER_" not in text
        assert "/tmp/other" not in text
        assert f"HOME={server.home}" in text
    finally:
        await own.close()
