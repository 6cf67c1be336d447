"""tmux inside real containers, beyond the terminal's contract: what becomes of a container, and of the way to it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapters.containers.addresses import Servers
from adapters.containers.engine import CliEngine
from adapters.containers.pane_logs import follow_argv, open_log, read_tail
from adapters.tmux.address import Address
from adapters.tmux.terminals import TmuxTerminals
from domain.containers import ContainerFacts
from handlers.ports import PaneToCreate, Terminal, TerminalError, TerminalGone, TerminalUnreachable
from tests.integration.containers.engines import Container
from tests.integration.tmux.support import processes_of
from tests.waiting import eventually

Start = Callable[..., Container]


class Desk:
    """The registry and the terminals of a tower that has one command line."""

    def __init__(self, cli: str, bench: Path) -> None:
        self.cli = cli
        self.bench = bench
        self.known: dict[str, ContainerFacts] = {}
        self._servers = Servers(cli, self.known.get)
        self.terminals = TmuxTerminals(Address(socket_path=str(bench / "host.sock"), node="local"), self._address)

    def _address(self, container_id: str) -> Address:
        server = self._servers.of(container_id)
        shared = (server.bench_dir, self.bench) if server.bench_dir else None
        return Address(socket_path=server.socket_path, node="local", launcher=server.launcher, shared=shared)

    async def scan(self) -> None:
        engine = CliEngine(setting=self.cli, filters=(), bench=self.bench, known=self.known.get)
        found = {each.container_id: each for each in await engine.scan()}
        self.known.clear()
        self.known.update(found)

    def of(self, container: Container):
        return self.terminals.of(container.container_id)


@pytest.fixture
async def desk(cli: str, short_tmp: Path) -> AsyncIterator[Desk]:
    bench = short_tmp / "bench"
    bench.mkdir(mode=0o755)
    desk = Desk(cli, bench)
    yield desk
    await desk.terminals.close()


def pane(pane_id: str, script: str = "exec sleep 100000", log_path: str = "/tmp/logs/x.log") -> PaneToCreate:
    argv = ("/bin/sh", "-c", script)
    return PaneToCreate(pane_id=pane_id, title="t", argv=argv, env={}, working_dir=None, log_path=log_path)


async def ids(desk: Desk, container: Container) -> list[str | None]:
    return [each.pane_id for each in await desk.of(container).panes()]


class TestServers:
    async def test_the_user_and_the_tower_see_the_same_tmux(self, desk: Desk, start: Start):
        container = start(user="dev")
        await desk.scan()
        (made,) = await desk.of(container).create_session("ours", [pane("p1")])
        socket = "/tmp/tmux-1000/default"
        assert "ours" in container.tmux("list-sessions", socket=socket)
        container.tmux("new-session", "-d", "-s", "theirs", "sleep 100000", socket=socket)
        assert await desk.of(container).sessions() == {"ours", "theirs"}
        assert container.execute("ls", "-ld", "/tmp/tmux-1000").startswith("drwx------")
        assert made.pid > 1

    async def test_the_same_session_name_in_two_containers(self, desk: Desk, start: Start):
        one, other = start(), start()
        await desk.scan()
        await asyncio.gather(*(desk.of(each).create_session("same", [pane("p1")]) for each in (one, other)))
        assert await ids(desk, one) == await ids(desk, other) == ["p1"]

    async def test_text_beyond_ascii_and_the_users_own_environment(self, desk: Desk, start: Start):
        container = start(user="dev")
        await desk.scan()
        script = 'echo "$HOME $LANG ünï" >/tmp/said; exec sleep 100000'
        (made,) = await desk.of(container).create_session("s", [pane("p1", script)])
        await desk.of(container).set_title(made.tmux_pane_id, "p1", "tïtle")
        assert [each.title for each in await desk.of(container).panes()] == ["tïtle"]
        said = await eventually(lambda: container.execute("cat", "/tmp/said", check=False), "the pane speaks")
        assert said == "/home/dev C.UTF-8 ünï\n"


class TestContainersThatAreNotThere:
    async def test_stopped_and_paused_say_nothing_and_come_back(self, desk: Desk, start: Start):
        container = start()
        await desk.scan()
        await desk.of(container).create_session("s", [pane("p1")])
        container.pause()
        with pytest.raises(TerminalUnreachable):
            await desk.of(container).panes()
        container.unpause()
        assert await ids(desk, container) == ["p1"]
        container.stop()
        with pytest.raises(TerminalUnreachable):
            await desk.of(container).panes()
        container.start()
        with pytest.raises(TerminalGone):
            await desk.of(container).panes()

    async def test_a_removed_one_is_gone_and_takes_no_panes(self, desk: Desk, start: Start):
        container = start()
        await desk.scan()
        await desk.of(container).create_session("s", [pane("p1")])
        container.remove()
        for ask in (desk.of(container).panes, desk.of(container).sessions):
            with pytest.raises(TerminalGone):
                await ask()
        with pytest.raises(TerminalGone):
            await desk.of(container).create_session("s", [pane("p2")])
        await desk.of(container).kill_pane("%0", "p1")

    async def test_its_death_is_told_at_once_by_the_end_of_the_connection(self, desk: Desk, start: Start):
        container = start()
        await desk.scan()
        terminal = desk.of(container)
        await terminal.create_session("s", [pane("p1")])
        await terminal.look()
        container.remove()
        async with asyncio.timeout(20):
            with pytest.raises(TerminalGone):
                await _watched(terminal)

    async def test_without_tmux_it_says_so(self, desk: Desk, start: Start):
        container = start(without=("tmux",))
        await desk.scan()
        with pytest.raises(TerminalError, match="tmux is not installed there") as refused:
            await desk.of(container).create_session("s", [pane("p1")])
        assert not isinstance(refused.value, TerminalUnreachable | TerminalGone)

    async def test_a_user_who_is_not_there(self, desk: Desk, start: Start):
        container = start(labels={"agenttower.user": "nobody-here", "agenttower.tmux_socket": "/tmp/s"})
        await desk.scan()
        with pytest.raises(TerminalError):
            await desk.of(container).panes()

    async def test_a_paused_one_keeps_nobody_waiting(self, desk: Desk, start: Start):
        stuck, other = start(), start()
        await desk.scan()
        for each in (stuck, other):
            await desk.of(each).create_session("s", [pane("p1")])
        stuck.pause()
        waiting = asyncio.create_task(desk.of(stuck).panes())
        assert await ids(desk, other) == ["p1"]
        assert not waiting.done()
        with pytest.raises(TerminalUnreachable):
            await waiting
        stuck.unpause()


class TestTheWayThere:
    async def test_a_killed_exec_is_replaced(self, desk: Desk, start: Start):
        container = start()
        await desk.scan()
        terminal = desk.of(container)
        await terminal.create_session("s", [pane("p1")])
        await terminal.look()
        execs = await eventually(lambda: _execs(container), "the connections stand")
        for pid in execs:
            os.kill(pid, signal.SIGKILL)
        assert await ids(desk, container) == ["p1"]
        await terminal.add_panes("s", [pane("p2")])
        assert sorted(each.pane_id or "" for each in await terminal.look()) == ["p1", "p2"]

    async def test_what_is_registered_otherwise_is_left_and_reached_anew(self, desk: Desk, start: Start):
        container = start()
        await desk.scan()
        await desk.of(container).create_session("s", [pane("p1")])
        before = _execs(container)
        facts = desk.known[container.container_id]
        desk.known[facts.container_id] = ContainerFacts(
            container_id=facts.container_id, name=facts.name, uid=1000, user="dev", tmux_socket="/tmp/dev.sock"
        )
        with pytest.raises(TerminalGone):
            await desk.of(container).panes()
        await eventually(lambda: not before & _execs(container), "the old connections end")
        desk.known[facts.container_id] = facts
        assert await ids(desk, container) == ["p1"]

    async def test_one_that_is_not_registered_is_gone_and_its_connections_end(self, desk: Desk, start: Start):
        container = start()
        await desk.scan()
        await desk.of(container).create_session("s", [pane("p1")])
        assert _execs(container)
        del desk.known[container.container_id]
        with pytest.raises(TerminalGone, match="not registered"):
            await desk.of(container).panes()
        desk.terminals.of(container.container_id).registry_changed()  # type: ignore[attr-defined]
        await eventually(lambda: not _execs(container), "its connections end")

    async def test_no_command_line_any_more_is_no_death(self, desk: Desk, start: Start):
        container = start()
        await desk.scan()
        desk._servers._setting = "/nowhere/docker"  # type: ignore[misc]
        with pytest.raises(TerminalUnreachable, match="/nowhere/docker"):
            await desk.of(container).panes()

    async def test_impatient_questions_leave_a_connection_behind(self, desk: Desk, start: Start):
        container = start()
        await desk.scan()
        await desk.of(container).create_session("s", [pane("p1")])
        await desk.terminals.close()
        fresh = Desk(desk.cli, desk.bench)
        fresh.known = desk.known
        fresh._servers = Servers(desk.cli, desk.known.get)

        async def told() -> bool:
            try:
                async with asyncio.timeout(0.02):
                    return await fresh.of(container).sessions() == {"s"}
            except TimeoutError:
                return False

        await eventually(told, "the connection is made while nobody waits for it")
        await fresh.terminals.close()


class TestLogs:
    async def test_below_the_bench_folder_they_are_files_of_the_host(self, desk: Desk, start: Start):
        container = start(user="dev", mounts={desk.bench: "/bench"})
        await desk.scan()
        script = "echo said; exec sleep 100000"
        await desk.of(container).create_session("s", [pane("p1", script, "/bench/logs/panes/p1.log")])
        log = desk.bench / "logs/panes/p1.log"
        await eventually(lambda: log.read_bytes() == b"said\r\n", "it is read here")
        assert log.stat().st_mode & 0o777 == 0o622
        assert log.stat().st_uid == os.getuid()

    @pytest.mark.parametrize("path", ["/bench/logs/panes/p1.log", "/proc/nowhere/p1.log"])
    async def test_one_that_cannot_be_written_is_an_error(self, desk: Desk, start: Start, path: str):
        container = start(user="dev", mounts={desk.bench: "/bench"})
        desk.bench.chmod(0o700)
        await desk.scan()
        (made,) = await desk.of(container).create_session("s", [pane("p1", log_path=path)])
        with pytest.raises(TerminalError, match="cannot be written") as refused:
            await desk.of(container).attach_log(made.tmux_pane_id, "p1", path)
        assert not isinstance(refused.value, TerminalUnreachable | TerminalGone)

    async def test_a_container_cannot_lead_the_tower_out_of_the_folder(self, desk: Desk, start: Start):
        container = start(mounts={desk.bench: "/bench"})
        await desk.scan()
        secret = desk.bench.parent / "secret"
        secret.mkdir()
        (desk.bench / "logs").mkdir()
        (desk.bench / "logs" / "panes").symlink_to(secret)
        (made,) = await desk.of(container).create_session("s", [pane("p1", log_path="/bench/logs/panes/p1.log")])
        with pytest.raises(TerminalError, match="log cannot be written"):
            await desk.of(container).attach_log(made.tmux_pane_id, "p1", "/bench/logs/panes/p1.log")
        assert not list(secret.iterdir())
        with pytest.raises(OSError, match=r"symbolic|directory"):
            open_log(str(desk.bench / "logs/panes/p1.log"), desk.bench)

    async def test_elsewhere_they_are_read_through_exec(self, desk: Desk, start: Start):
        container = start(user="dev")
        await desk.scan()
        facts, path = desk.known[container.container_id], "/tmp/agenttower-1000/logs/p1.log"
        script = "for i in 1 2 3; do echo line $i; done; read more; echo $more; exec sleep 100000"
        (made,) = await desk.of(container).create_session("s", [pane("p1", script, path)])

        async def tail() -> bytes:
            try:
                return await read_tail(desk.cli, facts, path, lines=2)
            except FileNotFoundError:
                return b""

        async def told() -> bool:
            return await tail() == b"line 2\r\nline 3\r\n"

        await eventually(told, "the last two lines")
        assert container.execute("ls", "-l", path).startswith("-rw-------")
        with pytest.raises(FileNotFoundError):
            await read_tail(desk.cli, facts, "/tmp/none.log", lines=2)
        follower = await asyncio.create_subprocess_exec(
            *follow_argv(desk.cli, facts, path, lines=1),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert follower.stdout is not None
        assert await follower.stdout.readline() == b"line 3\r\n"
        container.tmux("send-keys", "-t", made.tmux_pane_id, "more", "Enter", socket="/tmp/tmux-1000/default")
        assert await follower.stdout.readline() == b"more\r\n"
        follower.kill()
        await follower.wait()
        await eventually(lambda: "tail -n 1" not in container.execute("ps", "-ef"), "nobody follows in there any more")


async def _watched(terminal: Terminal) -> None:
    """Until its panes are surely gone."""
    while True:
        with contextlib.suppress(TerminalUnreachable):
            await terminal.look()


def _execs(container: Container) -> set[int]:
    """The command lines of ours that hold a control connection into the container."""
    found: set[int] = set()
    for pid in processes_of(os.getpid()):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"exec" in words and container.container_id.encode() in words and b"-C" in words:
                found.add(pid)
    return found
