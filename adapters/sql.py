"""The database of the read models: SQLite or Postgres by URL, and the threads in which its blocking calls run.

On Postgres every node has a schema of its own, `tower_{node}`, so that a fleet may share one database. Neither
database is made to wait for the disk: the event log is the truth, and a read model that lost its last transactions in
a crash goes on from the position that it still holds.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import event
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from projections.ports import DatabaseTrouble

T = TypeVar("T")

READERS: Final = 4
LOCK_TIMEOUT_S: Final = 5.0
"""How long a statement waits for what another process holds, before it counts as trouble."""

CONNECT_TIMEOUT_S: Final = 5

_EVENT_FAULTS: Final = ("22", "23", "54")
"""Classes of SQLSTATE that lie in the values: data exception, integrity, program limit exceeded."""


class SqlDatabase:
    """The `Database` port of the projections. One thread writes, so that writers never wait for each other inside a
    transaction; up to `READERS` read."""

    def __init__(self, writer: sa.Engine, reader: sa.Engine, file: Path | None) -> None:
        self._writer = writer
        self._reader = reader
        self._file = file
        self._inode: int | None = None
        self._closed = False
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="sql-write")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="sql-read")

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._writer.dialect.name

    async def read(self, work: Callable[[sa.Connection], T], /) -> T:
        return await self._in_thread(self._read_threads, self._run, self._reader, work)

    async def write(self, work: Callable[[sa.Connection], T], /) -> T:
        return await self._in_thread(self._write_thread, self._run_write, work)

    async def _in_thread(self, threads: ThreadPoolExecutor, run: Callable[..., Any], *args: Any) -> Any:
        if self._closed:
            raise DatabaseTrouble("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(threads, run, *args)

    async def close(self) -> None:
        """Waits for what runs; commits nothing more."""
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._write_thread.shutdown(cancel_futures=True)
        self._read_threads.shutdown(cancel_futures=True)
        self._writer.dispose()
        self._reader.dispose()

    def _run_write(self, work: Callable[[sa.Connection], T]) -> T:
        self._check_file()
        return self._run(self._writer, work)

    def _run(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        try:
            with engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            if _faulty_values(error):
                raise
            raise DatabaseTrouble(_first_line(error)) from error

    def _check_file(self) -> None:
        """SQLite writes on into a file that was deleted or replaced: connect anew when it was."""
        if self._file is None:
            return
        try:
            inode = os.stat(self._file).st_ino
        except FileNotFoundError:
            inode = None
        if inode is None or inode != self._inode:
            self._writer.dispose()
            self._reader.dispose()
            with contextlib.suppress(SQLAlchemyError), self._writer.connect():
                self._inode = os.stat(self._file).st_ino


def open_database(url: str, *, node: str, lock_timeout_s: float = LOCK_TIMEOUT_S) -> SqlDatabase:
    """`sqlite:///path` or `postgresql://user:password@host/name`. Connects at the first use."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database is None or parsed.database == ":memory:":
            raise ValueError("the read models need a file: sqlite:///path")
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        writer = _sqlite(parsed, "BEGIN IMMEDIATE", lock_timeout_s)
        return SqlDatabase(writer, _sqlite(parsed, "BEGIN", lock_timeout_s), Path(parsed.database))
    parsed = parsed.set(drivername="postgresql+psycopg")
    writer = _postgres(parsed, node, "READ COMMITTED", lock_timeout_s)
    return SqlDatabase(writer, _postgres(parsed, node, "REPEATABLE READ", lock_timeout_s), None)


def _sqlite(url: sa.URL, begin: str, lock_timeout_s: float) -> sa.Engine:
    engine = sa.create_engine(
        url,
        pool_size=READERS,
        # The transaction is opened by us: sqlite3 would open none for a definition of tables.
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": lock_timeout_s},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def began(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgres(url: sa.URL, node: str, isolation: IsolationLevel, lock_timeout_s: float) -> sa.Engine:
    engine = sa.create_engine(
        url,
        pool_size=READERS,
        pool_pre_ping=True,
        isolation_level=isolation,
        connect_args={
            "options": f"-c synchronous_commit=off -c lock_timeout={round(lock_timeout_s * 1000)}",
            "connect_timeout": CONNECT_TIMEOUT_S,
            # A server that vanished without a word is noticed within a quarter of a minute.
            "keepalives_idle": 5,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": 15_000,
        },
    )

    @event.listens_for(engine, "connect", insert=True)
    def connected(connection: psycopg.Connection[Any], record: object) -> None:
        schema = sql.Identifier(f"tower_{node}")
        connection.autocommit = True
        with contextlib.suppress(psycopg.errors.UniqueViolation):  # another connection was first
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        connection.execute(sql.SQL("SET search_path TO {}").format(schema))
        connection.autocommit = False

    return engine


def _faulty_values(error: SQLAlchemyError) -> bool:
    """Whether the fault lies in what was to be written, so that trying again cannot help."""
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, psycopg.Error):
        return (error.orig.sqlstate or "").startswith(_EVENT_FAULTS) or (
            error.orig.sqlstate is None and isinstance(error.orig, psycopg.DataError)
        )
    return isinstance(error.orig, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError)


def _first_line(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).strip().partition("\n")[0]
