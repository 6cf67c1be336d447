"""The server's own word about deaths: hooks that wake a control client blocked in `wait-for` (3 ms).

A signal without a waiter is kept by tmux, so none is lost between two waits. The hooks stand at an index of ours,
beside those of the user, and tell only that something happened: what, says the listing.
"""

import asyncio
import zlib
from collections.abc import Callable

import structlog

from adapters.tmux.control import ConnectFailed, ControlConnection
from adapters.tmux.link import CLOSE_TIMEOUT_S, REQUEST_TIMEOUT_S, Breaker, Link
from adapters.tmux.quoting import Command, sequence
from handlers.ports import TerminalError, TerminalGone

HOOKS = ("pane-died", "pane-exited", "window-layout-changed", "window-unlinked", "session-closed")
_FIRST_INDEX = 7700
_STEADY_AFTER_S = 1.0

_log = structlog.get_logger("tmux")


def _index(node: str) -> int:
    """Two towers on one server must not overwrite each other's hooks."""
    return _FIRST_INDEX + zlib.crc32(node.encode()) % 100_000


def _channel(node: str) -> str:
    return f"agenttower-look-{node}"


def set_hooks(node: str) -> list[Command]:
    signal = sequence([["wait-for", "-S", _channel(node)]])
    return [["set-hook", "-g", f"{hook}[{_index(node)}]", signal] for hook in HOOKS]


def unset_hooks(node: str) -> list[Command]:
    return [["set-hook", "-gu", f"{hook}[{_index(node)}]"] for hook in HOOKS]


class HookWaiter:
    """Calls `on_signal` at each signal and at each loss of the server. Its owner awaits `run`, which `stop` ends."""

    def __init__(self, link: Link, on_signal: Callable[[], None]) -> None:
        self._link = link
        self._address = link.address
        self._on_signal = on_signal
        self._breaker = Breaker()
        self._server_seen = asyncio.Event()
        self._stopping = False

    def server_seen(self) -> None:
        """A listing just got an answer, so that a lost connection may be tried again."""
        self._server_seen.set()

    async def stop(self) -> None:
        """Take the hooks away and end the wait, if the server answers.

        A waiting client that is simply cut off would stay in the server's memory, and take a later signal for itself.
        """
        self._stopping = True
        self._server_seen.set()
        if self._address.surely_gone():
            return
        try:
            await self._link.run(
                [*unset_hooks(self._address.node), ["wait-for", "-S", _channel(self._address.node)]],
                repeatable=True,
                timeout_s=CLOSE_TIMEOUT_S,
            )
        except TerminalError as error:
            _log.debug("hooks stay behind", node=self._address.node, reason=str(error))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started_at = loop.time()
            try:
                await self._wait_on_one_connection()
            except (ConnectFailed, TerminalError, OSError) as error:
                _log.debug("hooks are not waited for", node=self._address.node, reason=str(error))
            if loop.time() - started_at >= _STEADY_AFTER_S:
                self._breaker.worked()
            self._breaker.failed()
            self._on_signal()
            await self._pause()

    async def _pause(self) -> None:
        """Until a listing got an answer and the back-off is over: what is gone, or not looked at, needs no tries."""
        while True:
            await self._server_seen.wait()
            self._server_seen.clear()
            if self._breaker.closed() or self._stopping:
                return

    async def _wait_on_one_connection(self) -> None:
        if self._address.surely_gone():
            raise TerminalGone("no tmux server runs")
        async with self._link.gate.connecting():
            connection = await ControlConnection.connect(self._address, start_server=False, timeout_s=REQUEST_TIMEOUT_S)
        try:
            await connection.run(set_hooks(self._address.node), timeout_s=REQUEST_TIMEOUT_S)
            # What happened before the hooks stood.
            self._on_signal()
            while not self._stopping:
                await connection.run([["wait-for", _channel(self._address.node)]], timeout_s=None)
                self._on_signal()
        finally:
            async with self._link.gate.running():
                await connection.close()
