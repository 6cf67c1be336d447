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
from adapters.tmux.errors import CommandFailed, ConnectionLost, NoAnswer
from adapters.tmux.framing import BadFraming, Block, Framer
from adapters.tmux.process import Process
from adapters.tmux.quoting import Command, sequence

_LAST_WORDS_S = 1.0


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


class ControlConnection:
    """A `tmux -C` process attached to the tower's own small session. Made by `connect`; the owner must `close` it."""

    def __init__(self) -> None:
        self.opened_at = asyncio.get_running_loop().time()
        self._framer = Framer()
        self._requests: deque[_Request] = deque()
        self._process: Process | None = None
        self._lost: str | None = None
        self._attached = asyncio.Event()

    @classmethod
    async def connect(cls, address: Address, *, start_server: bool, timeout_s: float) -> "ControlConnection":
        """Attach to the control session, made when missing. Raises `ConnectFailed`; `OSError` without the program."""
        connection = cls()
        session = address.control_session
        # Two words, so that tmux executes cat itself instead of asking the user's shell to.
        words = ("-C", "new-session", "-A", "-s", session, "cat", "-")
        connection._process = await Process.start(
            address,
            address.argv(*words, start_server=start_server),
            on_output=connection._output,
            on_end=lambda: connection._give_up("the control connection ended"),
        )
        try:
            await connection._open(session, timeout_s)
        except BaseException:
            await connection.close()
            raise
        return connection

    @property
    def alive(self) -> bool:
        return self._lost is None

    async def run(self, commands: Sequence[Command], *, timeout_s: float | None) -> list[str]:
        """All output lines of one sequence. `CommandFailed` if a command was refused, `ConnectionLost` if unanswered.

        An answer that does not come in time (`NoAnswer`) ends the connection: what it would still carry must not meet
        a later request.
        """
        if self._lost is not None or self._process is None:
            raise ConnectionLost(self._lost or "not connected")
        request = _Request(f"at-{secrets.token_hex(8)}", asyncio.get_running_loop().create_future())
        lines = f"{sequence(commands)}\n{sequence([['display-message', '-p', request.token]])}\n"
        self._requests.append(request)
        self._process.write(lines)
        try:
            async with asyncio.timeout(timeout_s):
                # A cancelled request stays in the queue, so that its answer is still taken off the line.
                return await request.answer
        except TimeoutError:
            late = f"no answer from tmux within {timeout_s} s"
            self._give_up(late)
            raise NoAnswer(late) from None

    async def close(self) -> None:
        """End the client, reap its process and free its pipes. Repeatable."""
        self._give_up("closed")
        if self._process is not None:
            await self._process.close()

    async def _open(self, session: str, timeout_s: float) -> None:
        commands: list[Command] = [
            ["refresh-client", "-f", "no-output"],
            # On, it would be a crash of the whole server: tmux 3.3a frees the session under clients that are leaving.
            ["set-option", "-t", f"={session}:", "destroy-unattached", "off"],
            ["set-option", "-t", f"={session}:", "detach-on-destroy", "on"],
        ]
        try:
            # The server may read our lines before it has attached us: they would run without a client.
            async with asyncio.timeout(timeout_s):
                await self._attached.wait()
            await self.run(commands, timeout_s=timeout_s)
        except (TimeoutError, NoAnswer) as error:
            raise ConnectFailed(None, f"no answer from tmux within {timeout_s} s") from error
        except (ConnectionLost, CommandFailed) as error:
            process = self._process
            assert process is not None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await process.exited.wait()
            raise ConnectFailed(process.exit_code, process.said or str(error)) from error

    def _give_up(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        self._attached.set()
        while self._requests:
            request = self._requests.popleft()
            if not request.answer.done():
                request.answer.set_exception(ConnectionLost(self._lost))
        if self._process is not None:
            self._process.end_input()

    def _output(self, data: bytes) -> None:
        try:
            for block in self._framer.feed(data):
                self._block(block)
        except BadFraming as error:
            self._give_up(str(error))
        if self._framer.ended:
            self._give_up("tmux ended the control connection")

    def _block(self, block: Block) -> None:
        if not block.ours:
            self._attached.set()
            return
        if not self._requests:
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
