"""The database of the read models, in memory, with backups; and what its tables must hold once a log was followed."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from domain.envelope import Recorded
from projections.ports import DatabaseTrouble
from projections.projection import Rows
from projections.registry import PROJECTIONS
from tests.simulation.wire import Wire

T = TypeVar("T")


class Shelf:
    """A real SQLite that outlives every process. It can be put back to what it was at the last backup."""

    def __init__(self) -> None:
        self.engine = sa.create_engine(
            "sqlite://", poolclass=sa.StaticPool, connect_args={"isolation_level": None, "check_same_thread": False}
        )
        event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self._backup = sqlite3.connect(":memory:")

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except OperationalError as error:
            # As after a backup from before there were tables.
            raise DatabaseTrouble(str(error.orig)) from error

    def back_up(self) -> None:
        self._driver().backup(self._backup)

    def restore(self) -> None:
        self._backup.backup(self._driver())

    def close(self) -> None:
        self._backup.close()
        self.engine.dispose()

    def _driver(self) -> sqlite3.Connection:
        connection = self.engine.raw_connection()
        assert isinstance(connection.driver_connection, sqlite3.Connection)
        return connection.driver_connection


class SimulatedDatabase:
    """The `Database` port."""

    def __init__(self, shelf: Shelf, wire: Wire) -> None:
        self._shelf = shelf
        self._wire = wire

    async def read(self, work: Callable[[sa.Connection], T], /) -> T:
        return await self._wire.call("database.read", lambda: self._shelf.run(work), DatabaseTrouble)

    async def write(self, work: Callable[[sa.Connection], T], /) -> T:
        return await self._wire.call("database.write", lambda: self._shelf.run(work), DatabaseTrouble)


def differences(shelf: Shelf, records: Sequence[Recorded]) -> list[str]:
    """Rows that are not the fold of the log, every column of them."""
    lines: list[str] = []
    for projection in PROJECTIONS:
        expected: Rows = {}
        for record in records:
            if projection.kinds is None or record.envelope.kind in projection.kinds:
                projection.fold(expected, record)
        for read in projection.tables:
            select = sa.select(read.table)
            found = shelf.run(lambda connection, s=select: [dict(row) for row in connection.execute(s).mappings()])
            there = {(read.name, row[read.key]): row for row in found}
            wanted = {key: row for key, row in expected.items() if key[0] == read.name}
            lines += [
                f"read model {key}: {there.get(key)}, the log says {wanted.get(key)}"
                for key in sorted(there.keys() | wanted.keys(), key=str)
                if there.get(key) != wanted.get(key)
            ]
    return lines
