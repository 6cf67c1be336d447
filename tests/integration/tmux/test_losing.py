"""What breaks: control clients, the server, the way to it. What is known afterwards, and that work goes on."""

import asyncio
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from adapters.tmux.address import Address
from adapters.tmux.control import ControlConnection
from adapters.tmux.errors import ConnectionLost, NoContainer
from adapters.tmux.link import BACK_OFF_FIRST_S, BACK_OFF_MOST_S, Breaker, Link
from adapters.tmux.process import dying_with
from adapters.tmux.terminal import TmuxTerminal
from adapters.tmux.terminals import TmuxTerminals, tmux_version
from handlers.ports import SessionExists, TerminalError, TerminalGone, TerminalUnreachable
from tests.integration.tmux.support import Server, alive, open_fds, processes_of
from tests.waiting import eventually


async def test_a_killed_control_client_is_replaced(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("go-on", [server.pane("p1")])
    await terminal.look()
    await eventually(lambda: len(server.control_clients()) == 2)
    for _ in range(3):
        server.kill_control_clients()
        assert [pane.pane_id for pane in await terminal.panes()] == ["p1"]
        assert [pane.pane_id for pane in await terminal.look()] == ["p1"]

    async def both_again() -> bool:
        await terminal.look()
        return len(server.control_clients()) == 2

    await eventually(both_again)
    (more,) = await terminal.add_panes("go-on", [server.pane("p2")])
    os.kill(more.pid, signal.SIGKILL)

    async def told() -> bool:
        return any(pane.signal == 9 for pane in await terminal.look())

    await eventually(told)


async def test_the_control_session_killed_by_a_person(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("go-on", [server.pane("p1")])
    await terminal.look()
    server.tmux("kill-session", "-t", "=agenttower-control-local")
    assert [pane.pane_id for pane in await terminal.panes()] == ["p1"]
    assert await terminal.sessions() == {"go-on"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_server_is_gone_and_made_again(server: Server, terminal: TmuxTerminal, number: signal.Signals):
    (first,) = await terminal.create_session("again", [server.pane("p1")])
    await terminal.look()
    pid = server.pid()
    os.kill(pid, number)
    await eventually(lambda: not alive(pid))
    for question in (terminal.panes, terminal.sessions, terminal.look):
        with pytest.raises(TerminalGone):
            await question()
    await terminal.kill_pane(first.tmux_pane_id, "p1")
    with pytest.raises(TerminalGone):
        await terminal.add_panes("again", [server.pane("p2")])
    await eventually(lambda: not alive(first.pid))

    (made,) = await terminal.create_session("again", [server.pane("p1")])
    assert made.session_name == "again"
    os.kill(made.pid, signal.SIGKILL)

    async def told() -> bool:
        return any(pane.signal == 9 for pane in await terminal.look())

    await eventually(told)


async def test_clients_come_and_go_while_panes_change(server: Server, terminal: TmuxTerminal):
    """Without the gate the server ends with a segmentation fault within some ten connections."""
    first, second = await terminal.create_session("busy", [server.pane("p1"), server.pane("p2")])
    pid = server.pid()
    link = Link(server.address())
    select = [["select-pane", "-t", pane.tmux_pane_id] for pane in (first, second)] * 5
    over = asyncio.Event()

    async def come_and_go() -> None:
        for _ in range(60):
            async with link.gate.connecting():
                client = await ControlConnection.connect(server.address(), start_server=False, timeout_s=30)
            async with link.gate.running():
                await client.close()
        over.set()

    async def change() -> None:
        while not over.is_set():
            await link.run(select)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(come_and_go())
        tasks.create_task(change())
    await link.close()
    assert alive(pid)
    assert len(await terminal.panes()) == 2


async def test_a_server_that_is_just_ending_is_started_again(server: Server):
    for _ in range(20):
        terminal = TmuxTerminal(server.address())
        (made,) = await terminal.create_session("short", [server.pane("p1")])
        await terminal.close()
        # With its last session the server ends by itself.
        server.tmux("kill-session", "-t", "=short")
        await eventually(lambda pid=made.pid: not alive(pid))


async def test_control_clients_that_end_together_do_not_end_the_server(server: Server):
    """As when the tower is killed: the server finds all of them gone at once."""
    server.configure("set -g destroy-unattached on\n")
    terminal = TmuxTerminal(server.address())
    await terminal.create_session("stay", [server.pane("p1")])
    pid = server.pid()
    for _ in range(20):
        await terminal.look()
        await eventually(lambda: len(server.control_clients()) == 2)
        clients = server.control_clients()
        os.kill(pid, signal.SIGSTOP)
        try:
            server.kill_control_clients(clients)
            await eventually(lambda clients=clients: not any(alive(client) for client in clients))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert server.tmux("list-panes", "-t", "=stay:", "-F", "#{@agenttower_pane_id}") == "p1"
        await terminal.close()
        terminal = TmuxTerminal(server.address())
    await terminal.close()
    assert server.tmux("list-sessions", "-F", "#{session_name}") == "stay"


async def test_a_server_killed_while_it_is_looked_at(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("again", [server.pane("p1")])

    async def look_for_ever() -> None:
        while True:
            await terminal.look()

    looking = asyncio.create_task(look_for_ever())
    await eventually(lambda: len(server.control_clients()) == 2)
    os.kill(server.pid(), signal.SIGKILL)
    with pytest.raises(TerminalGone):
        async with asyncio.timeout(30):
            await looking


async def test_a_frozen_server_is_unreachable_and_comes_back(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("frozen", [server.pane("p1")])
    pid = server.pid()
    link = Link(server.address())
    assert await link.run([["display-message", "-p", "x"]]) == ["x"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(TerminalUnreachable):
            await link.run([["display-message", "-p", "x"]], timeout_s=0.2)
        with pytest.raises(TerminalUnreachable):
            await asyncio.wait_for(terminal.panes(), 30)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [pane.pane_id for pane in await terminal.panes()] == ["p1"]
    assert await link.run([["display-message", "-p", "x"]]) == ["x"]
    await link.close()


async def test_a_server_that_ends_every_control_client_is_served_by_single_processes(server: Server):
    server.configure(
        "set-hook -g client-attached 'detach-client'\nset-hook -g client-session-changed 'detach-client'\n"
    )
    terminal = TmuxTerminal(server.address())
    try:
        made = await terminal.create_session("single", [server.pane(f"p{n}", env={"A": "b c"}) for n in range(3)])
        assert [pane.pane_id for pane in made] == ["p0", "p1", "p2"]
        assert all(pane.piped for pane in made)
        with pytest.raises(SessionExists):
            await terminal.create_session("single", [server.pane("p9")])
        with pytest.raises(TerminalError, match="%99"):
            await terminal.set_title("%99", "p", "x")
        await terminal.kill_pane(made[0].tmux_pane_id, "p0")
        assert [pane.pane_id for pane in await terminal.panes()] == ["p1", "p2"]
        os.kill(made[1].pid, signal.SIGKILL)

        async def told() -> bool:
            return any(pane.signal == 9 for pane in await terminal.look())

        await eventually(told)
    finally:
        await terminal.close()


async def test_a_large_layout_by_a_single_process(server: Server):
    server.configure(
        "set-hook -g client-attached 'detach-client'\nset-hook -g client-session-changed 'detach-client'\n"
    )
    terminal = TmuxTerminal(server.address())
    try:
        panes = [server.pane(f"p{n}", env={"LONG": "x" * 2000}) for n in range(40)]
        assert len(await terminal.create_session("large", panes)) == 40
    finally:
        await terminal.close()


async def test_back_off_doubles_up_to_its_bound():
    breaker = Breaker()
    loop = asyncio.get_running_loop()
    assert breaker.closed()
    waits: list[float] = []
    for _ in range(8):
        before = loop.time()
        breaker.failed()
        assert not breaker.closed()
        waits.append(round(breaker.not_before - before, 2))
    assert waits == [BACK_OFF_FIRST_S, 0.4, 0.8, 1.6, 3.2, 6.4, BACK_OFF_MOST_S, BACK_OFF_MOST_S]
    breaker.worked()
    assert breaker.closed()


async def test_closing_leaves_nothing(server: Server):
    server.tmux("new-session", "-d", "-s", "theirs", "sleep 1000")
    fds, children, tasks = open_fds(), set(processes_of(os.getpid())), asyncio.all_tasks()
    for _ in range(3):
        terminal = TmuxTerminal(server.address())
        made = await terminal.create_session("mine", [server.pane(f"p{n}") for n in range(4)])
        await terminal.look()
        await eventually(lambda: len(server.control_clients()) == 2)
        for pane in made:
            assert pane.pane_id is not None
            await terminal.kill_pane(pane.tmux_pane_id, pane.pane_id)
        await terminal.close()
        await terminal.close()
        assert server.tmux("list-sessions", "-F", "#{session_name}") == "theirs"
        assert server.control_clients() == []
    await eventually(lambda: set(processes_of(os.getpid())) <= children)
    await eventually(lambda: open_fds() <= fds)
    assert asyncio.all_tasks() == tasks


def test_a_program_that_dies_with_its_parent_does_not_outlive_one_that_has_ended(tmp_path: Path):
    for parent, starts in ((os.getpid(), True), (1, False)):
        begun = tmp_path / str(parent)
        done = subprocess.run([*dying_with(parent), "touch", str(begun)], check=False)
        assert (done.returncode == 0, begun.exists()) == (starts, starts)


async def test_a_closed_terminal_does_not_connect_again(server: Server, terminal: TmuxTerminal):
    await terminal.create_session("mine", [server.pane("p1")])
    await terminal.close()
    with pytest.raises(TerminalUnreachable):
        await terminal.panes()
    assert server.control_clients() == []


async def test_cancelled_while_connecting(server: Server):
    server.tmux("new-session", "-d", "-s", "theirs", "sleep 1000")
    fds = open_fds()
    pid = server.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        connecting = asyncio.create_task(ControlConnection.connect(server.address(), start_server=False, timeout_s=30))
        await eventually(lambda: processes_of(os.getpid()))
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
    finally:
        os.kill(pid, signal.SIGCONT)
    await eventually(lambda: open_fds() <= fds)


async def test_tmux_that_is_not_installed(short_tmp: Path):
    address = Address(socket_path=str(short_tmp / "s"), node="local", environment={"PATH": str(short_tmp)})
    terminal = TmuxTerminal(address)
    with pytest.raises(TerminalError, match="apt-get install tmux"):
        await terminal.create_session("x", [Server(short_tmp).pane("p1")])
    await terminal.close()


@pytest.mark.needs("tmux")
async def test_the_version():
    assert (await tmux_version())[0].isdigit()
    with pytest.raises(TerminalError, match="apt-get install tmux"):
        await tmux_version(("env", "PATH=/nowhere"))


def _engine(folder: Path, code: int, text: str) -> tuple[str, ...]:
    """A launcher that fails as a container engine does, with its exit code and its text."""
    program = folder / "engine"
    program.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return (str(program), "exec", "-i", "bench")


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (1, "Error response from daemon: No such container: bench", NoContainer),
        (125, 'Error: no container with name or ID "bench" found: no such container', NoContainer),
        (125, "Error: database is locked", TerminalUnreachable),
        (1, "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", TerminalUnreachable),
        (1, "Error response from daemon: container abc is restarting, wait", TerminalUnreachable),
        (1, "unable to upgrade to tcp, received 500", TerminalUnreachable),
        (137, "", ConnectionLost),
        (255, "Error: unable to find user dev: no matching entries in passwd file", TerminalError),
        (126, "unable to find user dev: no matching entries in passwd file", TerminalError),
        (1, "Error response from daemon: container abc is not running", TerminalUnreachable),
        (
            1,
            "Error response from daemon: Container abc is paused, unpause the container before exec",
            TerminalUnreachable,
        ),
        (
            255,
            "Error: can only create exec sessions on running containers: container state improper",
            TerminalUnreachable,
        ),
        (127, 'OCI runtime exec failed: exec: "tmux": executable file not found in $PATH', TerminalError),
        (1, "error connecting to /tmp/tmux-0/default (No such file or directory)", TerminalGone),
        (1, "no server running on /tmp/tmux-0/default", TerminalGone),
        (1, "error connecting to /tmp/x (Permission denied)", TerminalUnreachable),
    ],
)
async def test_what_engines_say(short_tmp: Path, code: int, text: str, error: type[TerminalError]):
    terminal = TmuxTerminal(
        Address(socket_path="/tmp/tmux-0/default", node="local", launcher=_engine(short_tmp, code, text))
    )
    try:
        with pytest.raises(error) as raised:
            await terminal.panes()
        assert type(raised.value) is error
        if code == 127:
            assert "apt-get install tmux" in str(raised.value)
    finally:
        await terminal.close()


async def test_the_host_has_one_terminal(server: Server):
    terminals = TmuxTerminals(server.address())
    try:
        assert terminals.of("host") is terminals.of("host")
        unknown = terminals.of("0" * 64)
        assert unknown is terminals.of("0" * 64)
        with pytest.raises(TerminalGone, match="not registered"):
            await unknown.panes()
    finally:
        await terminals.close()
