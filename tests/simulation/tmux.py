"""A tmux server a container, what people and programs do to it, and the terminal port of one process on it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from handlers.ports import (
    PaneNotThere,
    PaneToCreate,
    SeenPane,
    SessionExists,
    TerminalError,
    TerminalGone,
    TerminalUnreachable,
)
from tests.simulation.wire import Wire

T = TypeVar("T")

LOOK_S = 0.5
FIRST_PID = 1000


@dataclass(eq=False)
class Pane:
    """`pane_id`: the user option, None for a pane of the operator's own."""

    tmux_pane_id: str
    pid: int
    pane_id: str | None
    title: str
    command: str
    dead: bool = False
    exit_code: int | None = None
    signal: int | None = None
    piped: bool = False


@dataclass(eq=False)
class Session:
    name: str
    panes: list[Pane] = field(default_factory=list)
    own: bool = True


class Server:
    """What runs on one socket. `changed` is called after every change; without sessions there is no server.
    `reachable`: its container runs."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.sessions: dict[str, Session] = {}
        self.running = False
        self.reachable = True
        self.started: list[Callable[[Pane], None]] = []
        self.typed: list[Callable[[Pane, str], None]] = []
        self._listeners: list[Callable[[], None]] = [changed]
        self._next_pane = 0
        self._next_pid = FIRST_PID

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        self._listeners.remove(listener)

    def panes(self) -> Iterator[tuple[Session, Pane]]:
        return ((session, pane) for session in self.sessions.values() for pane in session.panes)

    def listed(self) -> tuple[SeenPane, ...]:
        if not self.running:
            raise TerminalGone("no server running")
        return tuple(_seen(session, pane) for session, pane in self.panes())

    # --- what the tower does ---------------------------------------------------------------------------------------

    def create_session(self, name: str, panes: Sequence[PaneToCreate]) -> tuple[SeenPane, ...]:
        name = tmux_name(name)
        if name in self.sessions:
            raise SessionExists(f"duplicate session: {name}")
        if not panes:
            raise TerminalError("a session needs a pane")
        if not self.running:
            self.running, self._next_pane = True, 0
        self.sessions[name] = Session(name)
        return self._split(name, panes)

    def add_panes(self, name: str, panes: Sequence[PaneToCreate]) -> tuple[SeenPane, ...]:
        if not panes:
            return ()
        if not self.running:
            raise TerminalGone("no server running")
        if tmux_name(name) not in self.sessions:
            raise TerminalError(f"can't find session: {name}")
        return self._split(tmux_name(name), panes)

    def attach_log(self, tmux_pane_id: str, pane_id: str) -> None:
        self._find(tmux_pane_id, pane_id).piped = True
        self._tell()

    def set_title(self, tmux_pane_id: str, pane_id: str, title: str) -> None:
        self._find(tmux_pane_id, pane_id).title = title
        self._tell()

    def kill_pane(self, tmux_pane_id: str, pane_id: str) -> None:
        for session, pane in list(self.panes()):
            if pane.tmux_pane_id == tmux_pane_id and pane.pane_id == pane_id:
                self.vanish(session, pane)

    def type_in(self, tmux_pane_id: str, pane_id: str, text: str) -> bool:
        """Whether the program showed it."""
        for pane in (pane for _, pane in self.panes() if pane.tmux_pane_id == tmux_pane_id):
            if pane.pane_id == pane_id and not pane.dead:
                for told in self.typed:
                    told(pane, text)
                return True
        if not self.running:
            raise TerminalGone("no server running")
        raise PaneNotThere(f"no living pane {pane_id} at {tmux_pane_id}")

    # --- what people and programs do -------------------------------------------------------------------------------

    def person_creates(self, name: str) -> None:
        """A session of the operator's own with one pane."""
        if name not in self.sessions:
            self.running = True
            self.sessions[name] = Session(name, [self._pane(None, "operator", "sh")], own=False)
            self._tell()

    def end(self, pane: Pane, exit_code: int | None, signal: int | None) -> None:
        """Its process ended; the pane remains."""
        if not pane.dead:
            pane.dead, pane.exit_code, pane.signal, pane.piped = True, exit_code, signal, False
            self._tell()

    def vanish(self, session: Session, pane: Pane) -> None:
        if pane in session.panes:
            session.panes.remove(pane)
            if not session.panes:
                del self.sessions[session.name]
            self.running = bool(self.sessions)
            self._tell()

    def kill(self) -> None:
        """The server with all its panes; the next one numbers its panes from 0 again."""
        self.sessions.clear()
        self.running = False
        self._tell()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _split(self, name: str, panes: Sequence[PaneToCreate]) -> tuple[SeenPane, ...]:
        session, made = self.sessions[name], list[Pane]()
        for wanted in panes:
            pane = self._pane(wanted.pane_id, wanted.title, wanted.argv[0])
            pane.piped = True
            session.panes.append(pane)
            made.append(pane)
        for pane in made:
            for told in self.started:
                told(pane)
        self._tell()
        return tuple(_seen(session, pane) for pane in made)

    def _pane(self, pane_id: str | None, title: str, command: str) -> Pane:
        pane = Pane(f"%{self._next_pane}", self._next_pid, pane_id, title, command)
        self._next_pane += 1
        self._next_pid += 1
        return pane

    def _find(self, tmux_pane_id: str, pane_id: str) -> Pane:
        if not self.running:
            raise TerminalGone("no server running")
        for _, pane in self.panes():
            if (pane.tmux_pane_id, pane.pane_id) == (tmux_pane_id, pane_id):
                return pane
        raise TerminalError(f"no pane {pane_id} at {tmux_pane_id}")

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def tmux_name(name: str) -> str:
    return name.replace(".", "_").replace(":", "_")


def _seen(session: Session, pane: Pane) -> SeenPane:
    return SeenPane(
        pane_id=pane.pane_id,
        tmux_pane_id=pane.tmux_pane_id,
        pid=pane.pid,
        session_name=session.name,
        own_session=session.own,
        window_index=0,
        pane_index=session.panes.index(pane),
        title=pane.title,
        command=pane.command,
        dead=pane.dead,
        exit_code=pane.exit_code,
        signal=pane.signal,
        piped=pane.piped,
    )


class SimulatedTerminal:
    """The `Terminal` port on one server."""

    def __init__(self, server: Server, wire: Wire) -> None:
        self._server = server
        self._wire = wire
        self._stirred = asyncio.Event()
        server.listen(self._stirred.set)

    async def sessions(self) -> frozenset[str]:
        def names() -> frozenset[str]:
            self._server.listed()
            return frozenset(self._server.sessions)

        return await self._call("tmux.sessions", names)

    async def panes(self) -> Sequence[SeenPane]:
        return await self._call("tmux.panes", self._server.listed)

    async def create_session(self, session_name: str, panes: Sequence[PaneToCreate]) -> Sequence[SeenPane]:
        return await self._call(
            "tmux.create_session",
            lambda: self._server.create_session(session_name, panes),
            detail=f"{session_name} {_ids(panes)}",
        )

    async def add_panes(self, session_name: str, panes: Sequence[PaneToCreate]) -> Sequence[SeenPane]:
        return await self._call(
            "tmux.add_panes",
            lambda: self._server.add_panes(session_name, panes),
            detail=f"{session_name} {_ids(panes)}",
        )

    async def attach_log(self, tmux_pane_id: str, pane_id: str, log_path: str) -> None:
        await self._call(
            "tmux.attach_log",
            lambda: self._server.attach_log(tmux_pane_id, pane_id),
            detail=tmux_pane_id,
        )

    async def set_title(self, tmux_pane_id: str, pane_id: str, title: str) -> None:
        await self._call(
            "tmux.set_title",
            lambda: self._server.set_title(tmux_pane_id, pane_id, title),
            detail=f"{tmux_pane_id} {title}",
        )

    async def kill_pane(self, tmux_pane_id: str, pane_id: str) -> None:
        await self._call(
            "tmux.kill_pane",
            lambda: self._server.kill_pane(tmux_pane_id, pane_id),
            detail=f"{tmux_pane_id} {pane_id[-6:]}",
        )

    async def send_text(self, tmux_pane_id: str, pane_id: str, text: str, *, enter: bool) -> bool:
        return await self._call(
            "typing.send_text",
            lambda: self._server.type_in(tmux_pane_id, pane_id, text),
            detail=f"{tmux_pane_id} {pane_id[-6:]}",
        )

    async def look(self) -> Sequence[SeenPane]:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._stirred.wait()
        except TimeoutError:
            pass
        self._stirred.clear()
        return await self.panes()

    async def close(self) -> None:
        self._server.unlisten(self._stirred.set)

    async def _call(self, name: str, effect: Callable[[], T], *, detail: str = "") -> T:
        def reaching() -> T:
            if not self._server.reachable:
                raise TerminalUnreachable("its container does not run")
            return effect()

        return await self._wire.call(name, reaching, TerminalUnreachable, detail=detail)


class SimulatedTerminals:
    """The `Terminals` port."""

    def __init__(self, servers: Mapping[str, Server], wire: Wire) -> None:
        self._servers = servers
        self._wire = wire
        self._terminals: dict[str, SimulatedTerminal] = {}

    def of(self, container_id: str) -> SimulatedTerminal:
        if container_id not in self._terminals:
            self._terminals[container_id] = SimulatedTerminal(self._servers[container_id], self._wire)
        return self._terminals[container_id]


def _ids(panes: Sequence[PaneToCreate]) -> str:
    return " ".join(pane.pane_id[-6:] for pane in panes)
