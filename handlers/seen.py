"""Which command ids the log holds, and where: every command is decided once.

Ids are kept for 24 h and at most 1,000,000 of them, by the hour in which they were recorded. Whatever is older than the
oldest kept hour is answered `command_expired`, so that a command can never be decided a second time later on.
"""

import hashlib
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

RETENTION: Final = timedelta(hours=24)
LIMIT: Final = 1_000_000
MAX_AHEAD: Final = timedelta(minutes=5)
RECORD: Final = struct.Struct(">16sQ")
"""One id in a segment: its key and the position of its first event."""

_HOUR_S: Final = 3600
_RETENTION_S: Final = RETENTION.total_seconds()
_MAX_AHEAD_S: Final = MAX_AHEAD.total_seconds()


def key_of(origin: str, command_id: str) -> bytes:
    """16 bytes for (origin, id)."""
    return hashlib.blake2b(f"{origin}\0{command_id}".encode(), digest_size=16).digest()


def issued_at_s(command_id: UUID) -> float:
    """The time in a UUIDv7, in seconds since the epoch."""
    return (command_id.int >> 80) / 1000


class SeenIds:
    """In memory: key -> position of the command's first event. `horizon_s`: ids issued before it are expired."""

    def __init__(self) -> None:
        self._positions: dict[bytes, int] = {}
        self._hours: defaultdict[int, list[bytes]] = defaultdict(list)
        self._unsaved: defaultdict[int, list[bytes]] = defaultdict(list)
        self.horizon_s: float = 0.0

    def __len__(self) -> int:
        return len(self._positions)

    def position(self, key: bytes) -> int | None:
        return self._positions.get(key)

    def add(self, key: bytes, position: int, recorded_at: datetime) -> None:
        if key in self._positions:
            return
        hour = int(recorded_at.timestamp()) // _HOUR_S
        self._positions[key] = position
        self._hours[hour].append(key)
        self._unsaved[hour].append(RECORD.pack(key, position))

    def age_if_expired(self, command_id: UUID, at: datetime) -> float | None:
        """Its age in seconds (negative: ahead) if this UUIDv7 must not be decided at `at`; None if it may."""
        now_s, issued_s = at.timestamp(), issued_at_s(command_id)
        age_s = now_s - issued_s
        expired = age_s > _RETENTION_S or -age_s > _MAX_AHEAD_S or issued_s < self.horizon_s
        return age_s if expired else None

    def forget(self, now: datetime) -> list[int]:
        """Drop hours that are over 24 h old, or the oldest while there are too many ids; the dropped hours."""
        dropped: list[int] = []
        for hour in sorted(self._hours):
            end_s = (hour + 1) * _HOUR_S
            expired = end_s <= now.timestamp() - (RETENTION + MAX_AHEAD).total_seconds()
            if not expired and (len(self._positions) <= LIMIT or len(self._hours) == 1):
                break
            for key in self._hours.pop(hour):
                self._positions.pop(key, None)
            self._unsaved.pop(hour, None)
            self.horizon_s = max(self.horizon_s, end_s + MAX_AHEAD.total_seconds())
            dropped.append(hour)
        return dropped

    def take_unsaved(self) -> dict[int, bytes]:
        """What was added since the last call, as records by hour."""
        unsaved = {hour: b"".join(records) for hour, records in self._unsaved.items()}
        self._unsaved.clear()
        return unsaved

    def restore_unsaved(self, segments: Mapping[int, bytes]) -> None:
        """Give back what `take_unsaved` gave, when it could not be saved."""
        for hour, records in segments.items():
            self._unsaved[hour].insert(0, records)

    def load(self, hour: int, records: bytes, until: int) -> None:
        """Take a saved segment; records beyond position `until` (a torn tail, another log) are left out."""
        whole = len(records) - len(records) % RECORD.size
        for key, position in self._records(records[:whole]):
            if position <= until and key not in self._positions:
                self._positions[key] = position
                self._hours[hour].append(key)

    @staticmethod
    def _records(records: bytes) -> Iterable[tuple[bytes, int]]:
        return RECORD.iter_unpack(records)
