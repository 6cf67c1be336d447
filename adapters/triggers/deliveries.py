"""Deliveries that were taken, for ever, by 16 bytes of their ids: none is taken twice however late it comes again."""

import asyncio
import hashlib
import sqlite3
import threading
from pathlib import Path

import structlog

_log = structlog.get_logger("triggers")


class Deliveries:
    """SQLite in one file, opened when used. What cannot be read or kept is told in the tower's log, and its memory
    of the latest ones is the belt."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None

    async def has(self, *key: str) -> bool:
        return await asyncio.to_thread(self._has, _digest(key))

    async def keep(self, *key: str) -> None:
        await asyncio.to_thread(self._keep, _digest(key))

    def close(self) -> None:
        with self._lock:
            opened, self._open = self._open, None
            if opened is not None:
                opened.close()

    def _has(self, digest: bytes) -> bool:
        with self._lock:
            try:
                return self._db().execute("SELECT 1 FROM deliveries WHERE id = ?", (digest,)).fetchone() is not None
            except (OSError, sqlite3.Error) as error:
                _log.error("earlier deliveries cannot be looked up", reason=str(error))
                return False

    def _keep(self, digest: bytes) -> None:
        with self._lock:
            try:
                self._db().execute("INSERT OR IGNORE INTO deliveries VALUES (?)", (digest,))
            except (OSError, sqlite3.Error) as error:
                _log.error("a delivery is not remembered", reason=str(error))

    def _db(self) -> sqlite3.Connection:
        if self._open is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("CREATE TABLE IF NOT EXISTS deliveries (id BLOB PRIMARY KEY) WITHOUT ROWID")
            self._open = opened
        return self._open


def _digest(key: tuple[str, ...]) -> bytes:
    return hashlib.blake2b("\0".join(key).encode(), digest_size=16).digest()
