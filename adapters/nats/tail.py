"""The newest entries of the log that this process appended itself.

Whoever follows the log in the process that writes it takes them from here, once they are acknowledged, instead of
having the broker read and send them back.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from domain.envelope import Stored
from handlers.ports import Entry

ENTRIES: Final = 8192
BYTES: Final = 32 * 1024 * 1024
"""Kept at least half, at most whole; a follower that is further behind reads from the broker."""

TAKEN: Final = 500
"""Entries given at once, at most."""


class Tail:
    """`appended` and `lost` are for the one who appends. Used from one event loop."""

    def __init__(self, *, entries: int = ENTRIES, size_bytes: int = BYTES) -> None:
        self._limit = entries
        self._limit_bytes = size_bytes
        self._kept: list[Stored] = []
        self._kept_bytes = 0
        self._last: int | None = None
        self._changed = asyncio.Event()

    def appended(self, entries: Sequence[Entry], last: int) -> None:
        """These stand in the log now, the last one at position `last`."""
        first = last - len(entries) + 1
        if self._last != first - 1:
            self._forget()
        self._kept += (
            Stored(position, entry.subject, entry.payload, entry.headers)
            for position, entry in enumerate(entries, first)
        )
        self._kept_bytes += sum(len(entry.payload) for entry in entries)
        self._last = last
        if len(self._kept) > self._limit or self._kept_bytes > self._limit_bytes:
            self._drop_older_half()
        self._tell()

    def lost(self) -> None:
        """It is not known how the log goes on: followers read from the broker until the next append."""
        self._forget()
        self._last = None
        self._tell()

    def after(self, position: int) -> list[Stored] | None:
        """The entries after `position`, [] when it is the last one; None when they are not all kept."""
        if self._last is None or not self._last - len(self._kept) <= position <= self._last:
            return None
        start = len(self._kept) - (self._last - position)
        return self._kept[start : start + TAKEN]

    async def changed(self, timeout_s: float) -> bool:
        """Wait for the next `appended` or `lost`; False when there was none in time."""
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    def _forget(self) -> None:
        self._kept, self._kept_bytes = [], 0

    def _drop_older_half(self) -> None:
        self._kept = self._kept[(len(self._kept) + 1) // 2 :]
        self._kept_bytes = sum(len(stored.payload) for stored in self._kept)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
