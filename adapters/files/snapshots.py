"""Snapshots and segments of seen command ids as files: `snapshot` and `ids/<hour>` below the node's state folder."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from adapters.files.atomic import append_records, write_private
from handlers.seen import RECORD
from handlers.snapshots import Snapshot, encode


class FileSnapshots:
    def __init__(self, folder: Path) -> None:
        self._snapshot = folder / "snapshot"
        self._segments = folder / "ids"

    async def load(self) -> bytes | None:
        return await asyncio.to_thread(self._load)

    async def save(self, snapshot: Snapshot, segments: Mapping[int, bytes], dropped_hours: list[int]) -> None:
        await asyncio.to_thread(self._save, snapshot, segments, dropped_hours)

    async def segments(self) -> Mapping[int, bytes]:
        return await asyncio.to_thread(self._read_segments)

    def _load(self) -> bytes | None:
        try:
            return self._snapshot.read_bytes()
        except FileNotFoundError:
            return None

    def _save(self, snapshot: Snapshot, segments: Mapping[int, bytes], dropped_hours: list[int]) -> None:
        for hour, records in segments.items():
            append_records(self._segments / str(hour), records, RECORD.size)
        write_private(self._snapshot, encode(snapshot))
        for hour in dropped_hours:
            (self._segments / str(hour)).unlink(missing_ok=True)

    def _read_segments(self) -> Mapping[int, bytes]:
        if not self._segments.is_dir():
            return {}
        return {int(path.name): path.read_bytes() for path in self._segments.iterdir() if path.name.isdigit()}
