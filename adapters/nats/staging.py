"""Where the embedded broker keeps an atomic batch until it commits it: in memory, while there is room.

nats-server makes a store of its own for each batch, a folder of four files in `batches` of the stream's folder, syncs
it, and removes it after the commit (2.15): half of an append's time on a disk, and more of a short one's. Its use is
that a killed server finishes at its next start what it had begun to copy into the stream, and memory outlives a process
as well. So `batches` becomes a link to a folder in memory. The server takes the link away whenever it starts, and then
uses the disk; it is made again before the next append.

A machine that loses its power in the fraction of a millisecond between the first write of a batch and its sync could
keep a part of a batch that nobody was told of; the setting `nats_staging: disk` excludes that.
"""

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

MEMORY: Final = Path("/dev/shm")  # noqa: S108  each store has a folder of its own there, for its user only

ROOM_BYTES: Final = 1024 * 1024 * 1024
"""Free memory file system below which the disk is used: more than any batch may hold."""

_log = structlog.get_logger("broker")


def free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


class Staging:
    """Of one stream, whose folder need not be there yet."""

    def __init__(self, stream: Path, memory: Path = MEMORY, free: Callable[[Path], int] = free_bytes) -> None:
        self._link = stream / "batches"
        self._memory = memory
        self._free = free
        name = hashlib.blake2b(os.fsencode(stream.resolve()), digest_size=8).hexdigest()
        self._folder = memory / f"agenttower-{os.getuid()}-{name}"
        self._failed = False

    def in_memory(self) -> bool:
        """Whether the next batch is staged in memory. Call before an append, while none is under way."""
        try:
            if self._free(self._memory) < ROOM_BYTES:
                self._unlink()
                return False
            # A folder in memory can be taken away, as by the end of its user's last login.
            return (self._link.is_symlink() and self._link.is_dir()) or self._begin()
        except OSError as error:
            if not self._failed:
                _log.info("batches are staged on the disk", reason=str(error))
            self._failed = True
            return False

    def end(self) -> None:
        """After the server's end: nothing is left in memory, but what a killed one has to finish."""
        with contextlib.suppress(OSError):
            if self._is_ours():
                self._folder.rmdir()
            self._unlink()

    def _begin(self) -> bool:
        if not self._link.parent.is_dir():
            return False
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        if not self._is_ours():
            raise OSError(f"{self._folder} is not a folder of this user's alone")
        for left in self._folder.iterdir():
            shutil.rmtree(left)
        self._unlink()
        with contextlib.suppress(FileNotFoundError):
            self._link.rmdir()
        self._link.symlink_to(self._folder)
        return True

    def _unlink(self) -> None:
        if self._link.is_symlink():
            self._link.unlink()

    def _is_ours(self) -> bool:
        found = self._folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
        return private and found.st_uid == os.getuid()
