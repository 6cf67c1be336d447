"""Who may use the broker's store: one tower, and only after the broker of an earlier one has closed it.

Two files, both locked by flock, which the kernel frees with the last process that holds the open file: `tower.lock` is
the tower's own, `store.lock` is inherited by the broker and lasts as long as either of them.
"""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

from adapters.nats.backoff import pause

POLL_S: Final = 0.05
BROKER_ENDS_WITHIN_S: Final = 15.0


class StoreLocked(Exception):
    """Another tower uses the store; the text names its process id."""


class StoreLock:
    """`fd` is what the broker must inherit; -1 while the lock is not held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tower_fd = -1
        self.fd = -1

    async def acquire(self) -> None:
        """Raises `StoreLocked` at once when a tower holds it; waits for a broker that is still closing its store."""
        try:
            self._tower_fd = self._open("tower.lock")
            if not _locked(self._tower_fd):
                raise self._in_use(self._tower_fd, "")
            self.fd = self._open("store.lock")
            deadline = asyncio.get_running_loop().time() + BROKER_ENDS_WITHIN_S
            while not _locked(self.fd):
                if asyncio.get_running_loop().time() > deadline:
                    raise self._in_use(self.fd, ", a nats-server whose tower is gone")
                # The kernel tells nobody that a lock is free, unless a thread blocks for it.
                await pause(POLL_S)
        except BaseException:
            self.release()
            raise
        _write_pid(self._tower_fd, os.getpid())

    def name_broker(self, pid: int) -> None:
        """Note whom to name when the broker outlives its tower."""
        _write_pid(self.fd, pid)

    def release(self) -> None:
        for fd in (self.fd, self._tower_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self._tower_fd = -1

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _in_use(self, fd: int, note: str) -> StoreLocked:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        return StoreLocked(f"the broker's store {self._folder} is in use by process {holder}{note}")


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_pid(fd: int, pid: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{pid}\n".encode(), 0)
