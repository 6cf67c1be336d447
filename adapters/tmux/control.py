"""One control-mode connection (`tmux -C`): command sequences in, their output lines back, 0.2 ms a round trip.

Requests may overlap: tmux answers in order. Each is closed by a sentinel, a random token that tmux prints back, because
an error ends a sequence and the commands after it give no answer at all.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.tmux.address import Address
from adapters.tmux.errors import CommandFailed, ConnectionLost
from adapters.tmux.framing import BadFraming, Block, Framer
from adapters.tmux.quoting import Command, sequence
from handlers.ports import TerminalUnreachable

_STDERR_KEPT_BYTES = 4096
_CLOSE_GRACE_S = 1.0
_LAST_WORDS_S = 0.1


@dataclass(slots=True)
class _Request:
    token: str
    answer: asyncio.Future[list[str]]
    output: list[str] = field(default_factory=list)
    failure: str | None = None


class ConnectFailed(Exception):
    """The `tmux` process ended before it answered once; `exit_code` is None if it had to be given up."""

    def __init__(self, exit_code: int | None, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.text = text


class ControlConnection(asyncio.SubprocessProtocol):
    """A `tmux -C` process attached to the tower's own small session. Made by `connect`; the owner must `close` it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened_at = loop.time()
        self._framer = Framer()
        self._requests: deque[_Request] = deque()
        self._stderr = b""
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._lost: str | None = None
        self._exited = asyncio.Event()
        self._closed = asyncio.Event()

    @classmethod
    async def connect(cls, address: Address, *, start_server: bool, timeout_s: float) -> "ControlConnection":
        """Attach to the control session, made when missing. Raises `ConnectFailed`; `OSError` without the program."""
        session = address.control_session
        # Two words, so that tmux executes cat itself instead of asking the user's shell to.
        argv = address.argv("-C", "new-session", "-A", "-s", session, "cat", "-", start_server=start_server)
        loop = asyncio.get_running_loop()
        _, connection = await loop.subprocess_exec(
            cls, *argv, env=dict(address.environment), cwd=address.working_dir, start_new_session=True
        )
        opening: list[Command] = [
            ["refresh-client", "-f", "no-output"],
            # The session goes with its last client, also when the tower is killed.
            ["set-option", "-t", f"={session}:", "destroy-unattached", "on"],
            ["set-option", "-t", f"={session}:", "detach-on-destroy", "on"],
        ]
        try:
            await connection.run(opening, timeout_s=timeout_s)
        except (TerminalUnreachable, CommandFailed) as error:
            exit_code, text = await connection._last_words()
            await connection.close()
            raise ConnectFailed(exit_code, text or str(error)) from error
        except BaseException:
            await connection.close()
            raise
        return connection

    @property
    def alive(self) -> bool:
        return self._lost is None

    async def run(self, commands: Sequence[Command], *, timeout_s: float | None) -> list[str]:
        """All output lines of one sequence. `CommandFailed` if a command was refused, `ConnectionLost` if unanswered.

        An answer that does not come in time ends the connection: what it would still carry must not meet a later
        request.
        """
        if self._lost is not None or self._input is None:
            raise ConnectionLost(self._lost or "not connected")
        request = _Request(f"at-{secrets.token_hex(8)}", asyncio.get_running_loop().create_future())
        self._requests.append(request)
        lines = f"{sequence(commands)}\n{sequence([['display-message', '-p', request.token]])}\n"
        self._input.write(lines.encode("utf-8", "surrogateescape"))
        try:
            async with asyncio.timeout(timeout_s):
                # A cancelled request stays in the queue, so that its answer is still taken off the line.
                return await request.answer
        except TimeoutError:
            self._give_up(f"no answer from tmux within {timeout_s} s")
            raise ConnectionLost(self._lost or "") from None

    async def close(self) -> None:
        """End the client, reap its process and free its pipes. Repeatable."""
        self._give_up("closed")
        transport = self._transport
        if transport is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_GRACE_S):
                await self._exited.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                transport.kill()
            await self._exited.wait()
        transport.close()
        # Bounded: a stopped server holds the other ends of the pipes, but ours are closed by now.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_GRACE_S):
                await self._closed.wait()

    async def _last_words(self) -> tuple[int | None, str]:
        """Exit code (None while it still runs) and stderr of a client that is ending."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._exited.wait()
        exit_code = self._transport.get_returncode() if self._transport else None
        return exit_code, self._stderr.decode("utf-8", "replace").strip()

    def _give_up(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        while self._requests:
            request = self._requests.popleft()
            if not request.answer.done():
                request.answer.set_exception(ConnectionLost(self._lost))
        if self._input is not None and not self._input.is_closing():
            self._input.close()

    def _block(self, block: Block) -> None:
        if not block.ours or not self._requests:
            return
        request = self._requests[0]
        if not block.failed and block.lines == (request.token,):
            self._requests.popleft()
            if request.answer.done():
                return
            if request.failure is None:
                request.answer.set_result(request.output)
            else:
                request.answer.set_exception(CommandFailed(request.failure, request.output))
        elif not block.failed:
            request.output += block.lines
        elif request.failure is None:
            request.failure = " ".join(block.lines)

    # --- asyncio.SubprocessProtocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        pipe = transport.get_pipe_transport(0)
        assert isinstance(pipe, asyncio.WriteTransport)
        self._input = pipe

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr = (self._stderr + data)[-_STDERR_KEPT_BYTES:]
            return
        try:
            for block in self._framer.feed(data):
                self._block(block)
        except BadFraming as error:
            self._give_up(str(error))
        if self._framer.ended:
            self._give_up("tmux ended the control connection")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd != 2:
            self._give_up("the control connection ended")

    def process_exited(self) -> None:
        # The server writes to our pipe itself, so the last answer may be read after the client's end.
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._give_up, "the control client ended")
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
