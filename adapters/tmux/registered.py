"""The terminal of a registered container: whichever tmux server the registry names now."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from adapters.tmux.address import Address
from adapters.tmux.terminal import TmuxTerminal
from handlers.ports import PaneToCreate, SeenPane, TerminalError, TerminalUnreachable

CLOSE_MOST_S = 5.0

T = TypeVar("T")


class RegisteredTerminal:
    """The `Terminal` port of one container. `address` is asked at every call, and raises the port's errors.

    Where it differs from the one before, the connections to that one are closed. The owner must `close` it.
    """

    def __init__(self, address: Callable[[], Address]) -> None:
        self._address = address
        self._terminal: TmuxTerminal | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def sessions(self) -> frozenset[str]:
        """Whoever cannot wait for the answer leaves a connection behind that makes the next one quick."""
        return await asyncio.shield(self._own(self._now().sessions()))

    async def panes(self) -> Sequence[SeenPane]:
        return await self._now().panes()

    async def create_session(self, session_name: str, panes: Sequence[PaneToCreate]) -> Sequence[SeenPane]:
        return await self._now().create_session(session_name, panes)

    async def add_panes(self, session_name: str, panes: Sequence[PaneToCreate]) -> Sequence[SeenPane]:
        return await self._now().add_panes(session_name, panes)

    async def attach_log(self, tmux_pane_id: str, pane_id: str, log_path: str) -> None:
        await self._now().attach_log(tmux_pane_id, pane_id, log_path)

    async def set_title(self, tmux_pane_id: str, pane_id: str, title: str) -> None:
        await self._now().set_title(tmux_pane_id, pane_id, title)

    async def kill_pane(self, tmux_pane_id: str, pane_id: str) -> None:
        await self._now().kill_pane(tmux_pane_id, pane_id)

    async def send_text(self, tmux_pane_id: str, pane_id: str, text: str, *, enter: bool) -> bool:
        return await self._now().send_text(tmux_pane_id, pane_id, text, enter=enter)

    async def look(self) -> Sequence[SeenPane]:
        return await self._now().look()

    def registry_changed(self) -> None:
        """Leave a server that is not the registered one any more."""
        if self._terminal is None:
            return
        try:
            address = self._address()
        except TerminalError:
            address = None
        if self._terminal.address != address:
            self._leave()

    async def close(self) -> None:
        """End the control clients; the server and its panes live on. Repeatable."""
        self._closed = True
        self._leave()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _now(self) -> TmuxTerminal:
        if self._closed:
            raise TerminalUnreachable("this terminal is closed")
        address = self._address()
        if self._terminal is not None and self._terminal.address != address:
            self._leave()
        if self._terminal is None:
            self._terminal = TmuxTerminal(address)
        return self._terminal

    def _leave(self) -> None:
        if self._terminal is not None:
            self._own(_close(self._terminal))
            self._terminal = None

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Whoever asked may have gone: an error that nobody takes is no fault.
        if not task.cancelled():
            task.exception()


async def _close(terminal: TmuxTerminal) -> None:
    """Within bounds: a container that was stopped under us says nothing."""
    try:
        async with asyncio.timeout(CLOSE_MOST_S):
            await terminal.close()
    except TimeoutError:
        pass
