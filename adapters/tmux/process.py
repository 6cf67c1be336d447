"""A `tmux` client as a child process, over which tmux's server cannot keep us waiting.

The server holds copies of its clients' pipes: of a stopped server's clients neither end of file nor `wait` would tell.
"""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, cast

from adapters.tmux.address import Address

_STDERR_KEPT_BYTES = 4096
_CLOSE_GRACE_S = 1.0
_LAST_OUTPUT_S = 0.1
_TRY_S = 5


def dying_with(parent: int) -> tuple[str, ...]:
    """What to put before a program that the kernel is to kill when its parent ends, and that does not start when that
    has ended already; nothing where that is missing.

    A killed tower's client would stay as long as its server: tmux 3.3a keeps one that still has output to take, also
    when nobody can take it any more.
    """
    return (*_DYING, str(parent)) if _can_die() else ()


_DYING: Final = ("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


@cache
def _can_die() -> bool:
    try:
        argv = (*_DYING, str(os.getpid()), "true")
        return subprocess.run(argv, capture_output=True, timeout=_TRY_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Process(asyncio.SubprocessProtocol):
    """Made by `start`; its owner must `close` it. `on_end` is called when no output can be expected any more."""

    def __init__(
        self, on_output: Callable[[bytes], None], on_end: Callable[[], None], on_error: Callable[[], None]
    ) -> None:
        self.exited = asyncio.Event()
        self._on_output = on_output
        self._on_end = on_end
        self._on_error = on_error
        self._stderr = b""
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._closed = asyncio.Event()

    @classmethod
    async def start(
        cls,
        address: Address,
        argv: Sequence[str],
        *,
        on_output: Callable[[bytes], None],
        on_end: Callable[[], None],
        on_error: Callable[[], None] = lambda: None,
    ) -> "Process":
        """`argv` in the environment of `address`; `on_error` is called when `said` grew. `OSError`: not executable."""
        before = await asyncio.to_thread(dying_with, os.getpid()) if address.local else ()
        starting = asyncio.ensure_future(
            asyncio.get_running_loop().subprocess_exec(
                lambda: cls(on_output, on_end, on_error),
                *before,
                *argv,
                env=dict(address.environment),
                cwd=address.working_dir,
                start_new_session=True,
            )
        )
        try:
            _, process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled half-way, asyncio would wait for pipes that the server holds.
            with contextlib.suppress(OSError):
                _, process = await starting
                await process.close()
            raise
        return process

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._transport.get_returncode() if self._transport else None

    @property
    def said(self) -> str:
        """The end of its stderr."""
        return self._stderr.decode("utf-8", "replace").strip()

    def write(self, text: str) -> None:
        if self._input is not None and not self._input.is_closing():
            self._input.write(text.encode("utf-8", "surrogateescape"))

    def end_input(self) -> None:
        if self._input is not None and not self._input.is_closing():
            self._input.write_eof()

    async def close(self) -> None:
        """End it, by force if need be, reap it and free its pipes. Repeatable."""
        transport = self._transport
        if transport is None:
            return
        self.end_input()
        try:
            async with asyncio.timeout(_CLOSE_GRACE_S):
                await self.exited.wait()
        except TimeoutError:
            self.kill()
            await self.exited.wait()
        finally:
            # Closing kills what a cancelled close would leave behind.
            transport.close()
        await self._closed.wait()

    def kill(self) -> None:
        if self._transport is not None:
            with contextlib.suppress(ProcessLookupError):
                self._transport.kill()

    # --- asyncio.SubprocessProtocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports behave like asyncio's without being of their types.
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._input = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr = (self._stderr + data)[-_STDERR_KEPT_BYTES:]
            self._on_error()
        else:
            self._on_output(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._on_end()

    def process_exited(self) -> None:
        # The server writes into our pipe itself, so the last of it may be read after the client's end.
        asyncio.get_running_loop().call_later(_LAST_OUTPUT_S, self._on_end)
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
