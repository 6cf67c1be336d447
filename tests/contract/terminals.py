"""Servers for the cases of the `Terminal` port: the simulator's, a real tmux, one inside a container."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from adapters.containers.executing import exec_words
from adapters.tmux.address import Address
from adapters.tmux.registered import RegisteredTerminal
from adapters.tmux.terminal import TmuxTerminal
from domain.containers import ContainerFacts
from handlers.ports import PaneToCreate, SeenPane, Terminal
from tests.integration.containers.engines import Container, Podman
from tests.integration.tmux import support
from tests.needs import need
from tests.simulation import tmux as simulated
from tests.simulation.wire import calm_wire

EXIT_CODE = 3


class Rig(Protocol):
    """A terminal, and what people, programs and the machine do to its server."""

    terminal: Terminal

    def pane(self, pane_id: str, *, ends: bool = False) -> PaneToCreate:
        """A pane whose program stays, or ends at once with `EXIT_CODE`."""
        ...

    def person_creates(self, session_name: str) -> None: ...

    def person_kills(self, tmux_pane_id: str) -> None: ...

    def program_dies(self, seen: SeenPane) -> None:
        """By SIGKILL."""
        ...

    def server_dies(self) -> None: ...

    async def unanswered(self, call: Callable[[], Awaitable[object]]) -> None:
        """A call whose answer does not come in time. Raises what the port raises; the server answers afterwards."""
        ...


class SimulatedRig:
    def __init__(self) -> None:
        self._server = simulated.Server()
        self._server.started.append(self._started)
        self._wire = calm_wire()
        self.terminal: Terminal = simulated.SimulatedTerminal(self._server, self._wire)

    def pane(self, pane_id: str, *, ends: bool = False) -> PaneToCreate:
        argv = ("ends",) if ends else ("stays",)
        return PaneToCreate(
            pane_id=pane_id, title=f"@MANAGED:t:{pane_id}", argv=argv, env={}, working_dir=None, log_path="x"
        )

    def _started(self, pane: simulated.Pane) -> None:
        if pane.command == "ends":
            asyncio.get_running_loop().call_soon(self._server.end, pane, EXIT_CODE, None)

    def person_creates(self, session_name: str) -> None:
        self._server.person_creates(session_name)

    def person_kills(self, tmux_pane_id: str) -> None:
        for session, pane in list(self._server.panes()):
            if pane.tmux_pane_id == tmux_pane_id:
                self._server.vanish(session, pane)

    def program_dies(self, seen: SeenPane) -> None:
        for _, pane in self._server.panes():
            if pane.pid == seen.pid:
                self._server.end(pane, None, signal.SIGKILL)

    def server_dies(self) -> None:
        self._server.kill()

    async def unanswered(self, call: Callable[[], Awaitable[object]]) -> None:
        with ExitStack() as faults:
            for name in ("tmux.create_session", "tmux.add_panes", "tmux.panes", "tmux.kill_pane", "typing.send_text"):
                faults.enter_context(self._wire.faults.scripted(name, "after"))
            await call()


class RealRig:
    """Without an answer is a server that is stopped until the call has given up."""

    def __init__(self, server: support.Server) -> None:
        self.server = server
        self.terminal: Terminal = TmuxTerminal(server.address())

    def pane(self, pane_id: str, *, ends: bool = False) -> PaneToCreate:
        return self.server.sh(pane_id, f"exit {EXIT_CODE}") if ends else self.server.pane(pane_id)

    def person_creates(self, session_name: str) -> None:
        self.server.tmux("new-session", "-d", "-s", session_name, "sleep 100000")

    def person_kills(self, tmux_pane_id: str) -> None:
        self.server.tmux("kill-pane", "-t", tmux_pane_id)

    def program_dies(self, seen: SeenPane) -> None:
        os.kill(seen.pid, signal.SIGKILL)

    def server_dies(self) -> None:
        self.server.kill()

    async def unanswered(self, call: Callable[[], Awaitable[object]]) -> None:
        pid = self.server.pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            await call()
        finally:
            os.kill(pid, signal.SIGCONT)


class ContainerRig(RealRig):
    """A server inside a container. What is not the tower's doing goes past the engine, over the socket's folder."""

    def __init__(self, server: support.Server, address: Address) -> None:
        self.server = server
        self.terminal = RegisteredTerminal(lambda: address)

    def program_dies(self, seen: SeenPane) -> None:
        self.server.tmux("run-shell", "-b", f"kill -KILL {seen.pid}")


SHARED = "/shared"


@pytest.fixture(scope="module")
def bench(engine: Podman) -> Iterator[tuple[Container, Path]]:
    """One container for all cases, and the folder that it shares with this machine."""
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        yield engine.start(mounts={Path(folder): SHARED}), Path(folder)


def contained(request: pytest.FixtureRequest, cli: str) -> ContainerRig:
    container, folder = request.getfixturevalue("bench")
    engine: Podman = request.getfixturevalue("engine")
    here = Path(tempfile.mkdtemp(dir=folder))
    server = support.Server(here)
    facts = ContainerFacts(container_id=container.container_id, name=container.name, user="root")
    there = f"{SHARED}/{here.name}"
    address = Address(
        socket_path=f"{there}/s",
        node="local",
        launcher=exec_words(engine.command_line(cli), facts),
        shared=(f"{there}/state", server.home.parent / "state"),
    )
    server.logs = Path(there) / "state" / "logs"
    return ContainerRig(server, address)


@pytest.fixture(params=["simulated", "tmux", "podman", "docker"])
async def rig(request: pytest.FixtureRequest, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    if request.param == "simulated":
        yield SimulatedRig()
        return
    need("tmux")
    monkeypatch.setattr("adapters.tmux.terminal.CREATE_TIMEOUT_S", 1.0)
    if request.param == "tmux":
        server = support.Server(short_tmp)
        real = RealRig(server)
    else:
        real = await asyncio.to_thread(contained, request, request.param)
        server = real.server
    yield real
    await real.terminal.close()
    server.kill()


async def ids(terminal: Terminal) -> list[str | None]:
    return [seen.pane_id for seen in await terminal.panes()]


async def listed(terminal: Terminal, pane_id: str) -> SeenPane:
    return next(seen for seen in await terminal.panes() if seen.pane_id == pane_id)


async def dead(terminal: Terminal, pane_id: str) -> SeenPane:
    async with asyncio.timeout(30):
        while True:
            for seen in await terminal.look():
                if seen.pane_id == pane_id and seen.dead:
                    return seen


def two(rig: Rig) -> Sequence[PaneToCreate]:
    return [rig.pane("p1"), rig.pane("p2")]
