"""The lock on the broker's store: tower and broker hold it together, so that it is free only when both ended."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec

from adapters.nats.backoff import pause

POLL_S: Final = 0.05
BROKER_ENDS_WITHIN_S: Final = 15.0


class StoreLocked(Exception):
    """Another tower uses the store; the text names its process id."""


class _Holders(msgspec.Struct):
    tower: int = 0
    broker: int = 0


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class StoreLock:
    """`fd` is inherited by the broker; the lock belongs to the open file, so it lasts as long as either process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = -1

    async def acquire(self) -> None:
        """Raises `StoreLocked` at once when its tower lives; waits for a broker that is still closing its store."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = asyncio.get_running_loop().time() + BROKER_ENDS_WITHIN_S
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    holders = self._holders(fd)
                    if _alive(holders.tower):
                        raise StoreLocked(
                            f"the broker's store {self._path.parent} is in use by process {holders.tower}"
                        ) from None
                    if asyncio.get_running_loop().time() > deadline:
                        raise StoreLocked(
                            f"the broker's store {self._path.parent} is in use by process {holders.broker}"
                            " (a nats-server whose tower is gone)"
                        ) from None
                    # The kernel tells nobody when a lock becomes free without blocking a thread for it.
                    await pause(POLL_S)
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        self.name_holders(os.getpid(), 0)

    def name_holders(self, tower: int, broker: int) -> None:
        text = msgspec.json.encode(_Holders(tower, broker))
        os.pwrite(self.fd, text, 0)
        os.ftruncate(self.fd, len(text))

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @staticmethod
    def _holders(fd: int) -> _Holders:
        try:
            return msgspec.json.decode(os.pread(fd, 200, 0), type=_Holders)
        except msgspec.DecodeError:
            return _Holders()
