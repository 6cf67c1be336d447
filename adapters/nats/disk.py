"""The disk under the embedded broker's store.

A nats-server that once failed to write for want of space gives no answer to that stream's publishers any more, also
when there is room again, until it is restarted (2.15, tried). So appends are refused while little is left, before the
broker fails, and the broker is restarted when the disk was full nevertheless and has room again.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 64 * 1024 * 1024
"""With less than this free, or less than a twentieth of a small disk, the log takes no more."""

FULL_BYTES: Final = 4 * 1024 * 1024
"""With less than this free, some write of the broker may have failed."""


def disk_space(path: Path) -> tuple[int, int]:
    """Size of the disk and what is free on it, in bytes."""
    usage = shutil.disk_usage(path)
    return usage.total, usage.free


class DiskWatch:
    def __init__(self, path: Path, space: Callable[[Path], tuple[int, int]] = disk_space) -> None:
        self._path = path
        self._space = space
        self._was_full = False

    def shortage(self) -> str | None:
        """Why nothing more may be written now; None while there is room."""
        total, free = self._space(self._path)
        if free >= min(RESERVE_BYTES, total // 20):
            return None
        return f"only {free // 1024} KiB are free on the disk of {self._path}"

    def is_over(self) -> bool:
        """True once after the disk was full and has room again: time to restart the broker."""
        total, free = self._space(self._path)
        if free < min(FULL_BYTES, total // 40):
            self._was_full = True
        elif self._was_full and free >= min(RESERVE_BYTES, total // 20):
            self._was_full = False
            return True
        return False
