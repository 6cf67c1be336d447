"""The way to one tmux server: a control connection, made anew when lost, and single processes meanwhile."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from adapters.tmux.address import Address
from adapters.tmux.control import ConnectFailed, ControlConnection
from adapters.tmux.errors import CommandFailed, ConnectionLost, NoAnswer, NoContainer, of_command, of_exit
from adapters.tmux.gate import Gate
from adapters.tmux.oneshot import run_once
from adapters.tmux.quoting import Command, sequence
from handlers.ports import TerminalError, TerminalGone, TerminalUnreachable

REQUEST_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
BACK_OFF_FIRST_S = 0.2
BACK_OFF_MOST_S = 10.0
_STEADY_AFTER_S = 1.0
_STARTS = 5

_log = structlog.get_logger("tmux")


class Breaker:
    """When the next control connection may be tried: after each failure twice as late, 0.2 s to 10 s."""

    def __init__(self) -> None:
        self._wait_s = 0.0
        self.not_before = 0.0

    def closed(self) -> bool:
        return asyncio.get_running_loop().time() >= self.not_before

    def failed(self) -> None:
        self._wait_s = min(BACK_OFF_MOST_S, max(BACK_OFF_FIRST_S, self._wait_s * 2))
        self.not_before = asyncio.get_running_loop().time() + self._wait_s

    def worked(self) -> None:
        self._wait_s = self.not_before = 0.0


class Link:
    """Runs command sequences on the server at `address`. The owner must `close` it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.gate = Gate()
        self.breaker = Breaker()
        self._connection: ControlConnection | None = None
        self._connecting = asyncio.Lock()
        self._closed = False
        self._tried = False

    async def run(
        self,
        commands: Sequence[Command],
        *,
        start_server: bool = False,
        repeatable: bool = False,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> list[str]:
        """All output lines. Raises the port's errors; `CommandFailed` carries the text and the output before it.

        A `repeatable` sequence whose connection broke is asked once more; any other is `TerminalUnreachable`, for it
        may have run.
        """
        tries = _STARTS if start_server else 0
        try:
            while True:
                try:
                    return await self._run(commands, start_server, repeatable, timeout_s)
                except NoContainer:
                    raise
                except TerminalGone:
                    # A server that is just ending still takes connections; nothing of the sequence outlives it.
                    if not tries:
                        raise
                    tries -= 1
        except CommandFailed as failure:
            raise of_command(failure) from None
        except FileNotFoundError as error:
            if not self.address.local:
                raise TerminalUnreachable(f"{self.address.launcher[0]} is not there") from error
            raise of_exit(127, str(error)) from error

    async def _run(
        self, commands: Sequence[Command], start_server: bool, repeatable: bool, timeout_s: float
    ) -> list[str]:
        connection = await self.connection(start_server=start_server)
        async with self.gate.running():
            return await self._run_on(connection, commands, start_server, repeatable, timeout_s)

    async def _run_on(
        self,
        connection: ControlConnection | None,
        commands: Sequence[Command],
        start_server: bool,
        repeatable: bool,
        timeout_s: float,
    ) -> list[str]:
        if connection is not None:
            try:
                return await connection.run(commands, timeout_s=timeout_s)
            except NoAnswer:
                raise
            except ConnectionLost:
                if self.address.surely_gone():
                    raise TerminalGone("the tmux server ended") from None
                if not repeatable or self._closed:
                    raise
        return await run_once(self.address, commands, start_server=start_server, timeout_s=timeout_s)

    async def connection(self, *, start_server: bool = False) -> ControlConnection | None:
        """The living control connection, or None while none is to be had. `TerminalGone`: no server runs."""
        if self._connection is not None and self._connection.alive:
            return self._connection
        async with self._connecting:
            if self._closed:
                raise ConnectionLost("this terminal is closed")
            if self._connection is not None and self._connection.alive:
                return self._connection
            await self._drop()
            if self.address.surely_gone():
                if not start_server:
                    raise TerminalGone(f"no tmux server runs on {self.address.socket_path}")
                self.address.make_socket_dir()
            elif not self.breaker.closed():
                return None
            return await self._connect(start_server)

    async def _connect(self, start_server: bool) -> ControlConnection | None:
        self._tried = True
        try:
            async with self.gate.connecting():
                self._connection = await ControlConnection.connect(
                    self.address, start_server=start_server, timeout_s=REQUEST_TIMEOUT_S
                )
        except ConnectFailed as failure:
            error = of_exit(failure.exit_code, failure.text)
            if isinstance(error, NoContainer) or (isinstance(error, TerminalGone) and not start_server):
                raise error from failure
            self.breaker.failed()
            if isinstance(error, TerminalUnreachable):
                raise error from failure
            _log.warning("no control connection to tmux", node=self.address.node, reason=str(error))
            return None
        return self._connection

    async def _drop(self) -> None:
        """Put away a connection that ended; one that did not last counts as a failure to connect."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        lasted_s = asyncio.get_running_loop().time() - connection.opened_at
        async with self.gate.running():
            await connection.close()
        if lasted_s < _STEADY_AFTER_S:
            self.breaker.failed()
        else:
            self.breaker.worked()

    async def close(self) -> None:
        """End the connection, and the control session unless another client is attached to it. Repeatable."""
        async with self._connecting:
            if self._closed:
                return
            self._closed = True
            async with self.gate.running():
                if self._tried:
                    with contextlib.suppress(TerminalError, OSError):
                        await self._end_control_session()
                if self._connection is not None:
                    await self._connection.close()
                    self._connection = None

    async def _end_control_session(self) -> None:
        connection = self._connection if self._connection is not None and self._connection.alive else None
        own = 1 if connection is not None else 0
        target = f"={self.address.control_session}:"
        alone = f"#{{&&:#{{==:#{{session_name}},{self.address.control_session}}},#{{==:#{{session_attached}},{own}}}}}"
        end: list[Command] = [["if-shell", "-F", "-t", target, alone, sequence([["kill-session", "-t", target]])]]
        if connection is not None:
            await connection.run(end, timeout_s=CLOSE_TIMEOUT_S)
        elif not self.address.surely_gone():
            await run_once(self.address, end, start_server=False, timeout_s=CLOSE_TIMEOUT_S)
