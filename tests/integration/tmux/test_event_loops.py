"""The same on uvloop, whose transports and readers are its own."""

import asyncio
import os
import signal

import uvloop

from adapters.tmux.oneshot import run_once
from adapters.tmux.terminal import TmuxTerminal
from tests.integration.tmux.support import Server, open_fds, processes_of
from tests.waiting import eventually


async def _live_and_die(server: Server) -> None:
    terminal = TmuxTerminal(server.address())
    made = await terminal.create_session("uv", [server.pane("p1"), server.pane("p2")])
    await terminal.look()
    os.kill(made[0].pid, signal.SIGKILL)

    async def told() -> bool:
        return [(pane.pane_id, pane.signal) for pane in await terminal.look() if pane.dead] == [("p1", 9)]

    await eventually(told)
    server.kill_control_clients()
    assert len(await terminal.panes()) == 2
    assert await run_once(server.address(), [["display-message", "-p", "x"]], start_server=False, timeout_s=30) == ["x"]
    await terminal.close()
    assert server.control_clients() == []
    assert server.tmux("list-sessions", "-F", "#{session_name}") == "uv"
    server.tmux("kill-session", "-t", "=uv")


async def _twice(server: Server) -> None:
    children = set(processes_of(os.getpid()))
    await _live_and_die(server)
    # The loop keeps a few descriptors of its own from its first child process on.
    fds = open_fds()
    await _live_and_die(server)
    await eventually(lambda: set(processes_of(os.getpid())) <= children)
    await eventually(lambda: open_fds() <= fds)


def test_on_uvloop(server: Server):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_twice(server))
