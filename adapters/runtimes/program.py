"""A program that carries out one turn: its process, its two pipes, its end, and the end of all that it started."""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from adapters.executing.children import MARK, Doomed, descendants, marked
from adapters.executing.output import READ_BYTES

PIPE_BYTES: Final = 1024 * 1024
"""Room in the pipe of the output: fewer turns of the loop for much of it."""

ROUNDS: Final = 20
"""How often what was started while others were killed is looked for."""

KILLED_S: Final = 2.0


class Pipe:
    """The read end of a pipe. `take` gives what comes; behind what the program has written, b""."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._readable = asyncio.Event()
        self._left: int | None = None
        """Bytes that may still be the program's; None while it runs."""
        os.set_blocking(fd, False)

    async def take(self) -> bytes:
        while self.open and self._left != 0:
            over = self._left is not None
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                if over:
                    return b""
                await self._change()
                continue
            if self._left is not None:
                self._left = max(0, self._left - len(data))
            return data
        return b""

    async def _change(self) -> None:
        self._readable.clear()
        self._loop.add_reader(self._fd, self._readable.set)
        try:
            await self._readable.wait()
        finally:
            if self.open:
                self._loop.remove_reader(self._fd)

    def finish(self) -> None:
        """The program has ended: what it wrote is in the pipe, which holds no more than so much."""
        self._left = fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ) if self.open else 0
        self._readable.set()

    def leave(self) -> None:
        """Nobody takes more. What the program left running may write on, into nothing, and does not fail by it."""
        if self.open:
            self._loop.add_reader(self._fd, self._discard)
            self._discard()

    def _discard(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.close()

    @property
    def open(self) -> bool:
        return self._fd >= 0

    def close(self) -> None:
        if self.open:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._readable.set()


class Program:
    """A process, leader of a session of its own; `mark` is how what it starts is known. Raises `OSError`, `ValueError`.

    `given` is its standard input, nothing without it. `leave` or `close` it when its end has come.
    """

    def __init__(
        self, argv: Sequence[str], *, folder: str, env: Mapping[str, str], mark: str, given: bytes | None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.mark = mark
        self.ended = asyncio.Event()
        self.exit_code: int | None = None
        """Negative: the signal that ended it."""
        with _input(given) as stdin, _pipe() as (out, out_end), _pipe() as (err, err_end):
            with contextlib.suppress(OSError):
                fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self._process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**env, MARK: mark},
                stdin=stdin,
                stdout=out_end,
                stderr=err_end,
                start_new_session=True,
            )
            self.stdout, self.stderr = Pipe(os.dup(out)), Pipe(os.dup(err))
        self.pid = self._process.pid
        self._loop = loop
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._over)

    def _over(self) -> None:
        self.exit_code = self._process.poll()
        if self.exit_code is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.stdout.finish()
        self.stderr.finish()
        self.ended.set()

    async def stop(self, grace_s: float) -> None:
        """TERM for it and all that it started, also outside of its group; KILL for what is there after the grace."""
        doomed = Doomed(self._group() | set(await asyncio.to_thread(marked, self.mark)))
        try:
            await doomed.end(grace_s)
            await asyncio.to_thread(doomed.wait, KILLED_S)
        finally:
            doomed.close()
        await end_all(self.mark)

    def kill(self) -> None:
        """At once, as far as it can be seen from here; for whoever cannot wait."""
        doomed = Doomed(self._group())
        doomed.send(signal.SIGKILL)
        doomed.close()

    def _group(self) -> set[int]:
        return set() if self.ended.is_set() else {self.pid, *descendants(self.pid)}

    @property
    def open(self) -> bool:
        """Whether others may still write to its pipes."""
        return self.stdout.open or self.stderr.open

    def leave(self) -> None:
        """What still comes is read and forgotten."""
        self.stdout.leave()
        self.stderr.leave()

    def close(self) -> None:
        self.stdout.close()
        self.stderr.close()


async def end_all(mark: str) -> None:
    """KILL for every process that bears the mark, until there is none."""
    for _ in range(ROUNDS):
        pids = await asyncio.to_thread(marked, mark)
        if not pids:
            return
        doomed = Doomed(pids)
        try:
            doomed.send(signal.SIGKILL)
            await asyncio.to_thread(doomed.wait, KILLED_S)
        finally:
            doomed.close()


@contextlib.contextmanager
def _input(given: bytes | None) -> Iterator[int]:
    """A descriptor to read it from: a file in memory, so that nobody has to feed a program that does not read."""
    if given is None:
        yield subprocess.DEVNULL
        return
    fd = os.memfd_create("instruction", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(given)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)
