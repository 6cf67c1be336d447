"""Processes below a worker: found, ended, and found again when their worker is gone.

A process is held by its pidfd, so that none is hit that only has the number of another. What left its group and
outlived its worker is known by a mark in the environment that the worker was started with.
"""

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MARK: Final = "AGENTTOWER_WORKER"
"""The variable in the environment of a worker and of what it starts: `{owner}:{worker}`."""

KILLED_S: Final = 2.0
"""How long the end of a killed process is waited for: it may hang in the kernel."""


def descendants(pid: int) -> set[int]:
    """Living processes below this one, those that left its group too; itself left out."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found.update(children)
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    children: list[int] = []
    for thread in threads:
        with contextlib.suppress(OSError):
            children += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return children


def _read(path: str) -> bytes:
    """A small file of /proc; done for each execution, so without a file object around it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(fd, 4096), b""))
    finally:
        os.close(fd)


class Doomed:
    """Processes that are to end. `close` when done with them."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._fds: list[int] = []
        for pid in pids:
            with contextlib.suppress(OSError):
                self._fds.append(os.pidfd_open(pid))

    def send(self, number: signal.Signals) -> None:
        for fd in self._fds:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(fd, number)

    async def end(self, grace_s: float) -> None:
        """TERM, and KILL for those that are there after the grace (at once when cancelled)."""
        self.send(signal.SIGTERM)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    for fd in self._fds:
                        await _readable(fd)
        finally:
            self.send(signal.SIGKILL)

    def wait(self, timeout_s: float) -> None:
        """Until all have ended; blocks."""
        for fd in self._fds:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(timeout_s * 1000)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)


def end_marked(mark: str) -> int:
    """Kill all processes whose environment bears this mark, or a mark that begins with it and a colon; how many.

    Reads all of /proc: not in the event loop. Call it with a tower's own mark before it starts its first worker, for
    what an earlier run left behind when it was killed.
    """
    pids = marked(mark)
    doomed = Doomed(pids)
    try:
        doomed.send(signal.SIGKILL)
        doomed.wait(KILLED_S)
    finally:
        doomed.close()
    return len(pids)


def marked(mark: str) -> list[int]:
    """Processes whose environment bears this mark, or one that begins with it and a colon; this one left out."""
    wanted = f"{MARK}={mark}".encode()
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    return [pid for pid in pids if pid != os.getpid() and _bears(pid, wanted)]


def _bears(pid: int, wanted: bytes) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return any(each == wanted or each.startswith(wanted + b":") for each in environment.split(b"\0"))
