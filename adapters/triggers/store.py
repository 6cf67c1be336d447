"""What a source knows from one start of the tower to the next: files as they were seen, and what is yet to be told.

SQLite in the trigger's own folder. What was seen and what follows from it are written in one transaction, and what is
to be told stays until its outcome is known, under an id of its own: a crash anywhere neither loses nor doubles it. All
methods block; one thread at a time. A file that is no database any more is begun anew.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import structlog

FILE: Final = "seen.sqlite"

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS files (
  folder BLOB NOT NULL, name BLOB NOT NULL, modified INTEGER NOT NULL, changed INTEGER NOT NULL, size INTEGER NOT NULL,
  inode INTEGER NOT NULL, PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS untold (number INTEGER PRIMARY KEY, id TEXT NOT NULL, payload BLOB NOT NULL);
"""

_log = structlog.get_logger("triggers")


class Sight(NamedTuple):
    """A file as it stood: times in nanoseconds, of its content and of its inode; bytes."""

    modified: int
    changed: int
    size: int
    inode: int


class Untold(NamedTuple):
    number: int
    id: str
    payload: bytes


class Store:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: sqlite3.Connection | None = None

    def open(self) -> None:
        """Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            _log.warning("what a trigger has seen is lost; it begins anew", folder=str(self._folder), reason=str(error))
            self.close()
            for left in self._folder.glob(f"{FILE}*"):
                left.unlink(missing_ok=True)
            self._connect()

    def close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened.close()

    def _connect(self) -> None:
        path = self._folder / FILE
        self._open = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._open.execute("PRAGMA journal_mode = WAL")
        self._open.execute("PRAGMA synchronous = FULL")
        self._open.executescript(_TABLES)

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._open is not None
        return self._open

    # --- files -----------------------------------------------------------------------------------------------------

    def files_in(self, folder: bytes) -> dict[bytes, Sight]:
        rows = self._db.execute("SELECT name, modified, changed, size, inode FROM files WHERE folder = ?", (folder,))
        return {row[0]: Sight(*row[1:]) for row in rows}

    def folders(self) -> list[bytes]:
        """That hold files."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT folder FROM files")]

    def forget_files(self) -> None:
        self._db.execute("DELETE FROM files")

    # --- anything, by name -----------------------------------------------------------------------------------------

    def thing(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM things WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def things(self) -> dict[str, str]:
        return dict(self._db.execute("SELECT name, value FROM things"))

    # --- writing ---------------------------------------------------------------------------------------------------

    def write(
        self,
        *,
        seen: Iterable[tuple[bytes, bytes, Sight]] = (),
        gone: Iterable[tuple[bytes, bytes]] = (),
        things: Mapping[str, str | None] | None = None,
        untold: Sequence[tuple[str, bytes]] = (),
    ) -> list[Untold]:
        """All or nothing. `seen`, `gone`: (folder, name, …) of files. `things`: None takes one away. `untold`: (id,
        payload); the answer has them with their numbers."""
        db = self._db
        with _transaction(db):
            db.executemany("DELETE FROM files WHERE folder = ? AND name = ?", gone)
            db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
                ((folder, name, *sight) for folder, name, sight in seen),
            )
            for name, value in (things or {}).items():
                if value is None:
                    db.execute("DELETE FROM things WHERE name = ?", (name,))
                else:
                    db.execute("INSERT OR REPLACE INTO things VALUES (?, ?)", (name, value))
            written: list[Untold] = []
            for id_, payload in untold:
                number = db.execute("INSERT INTO untold (id, payload) VALUES (?, ?)", (id_, payload)).lastrowid
                written.append(Untold(number or 0, id_, payload))
        return written

    # --- what is yet to be told ------------------------------------------------------------------------------------

    def untold(self) -> list[Untold]:
        return [Untold(*row) for row in self._db.execute("SELECT number, id, payload FROM untold ORDER BY number")]

    def told(self, number: int) -> None:
        self._db.execute("DELETE FROM untold WHERE number = ?", (number,))


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection):
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
