"""A projection: a name, its tables, and a pure mapping from events to rows; and how a batch of events is applied.

Rows are read, folded and written once a batch, whatever number of events touched them. Rows and position change in
one transaction, so that every event is applied exactly once, also with two projectors on one database.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from domain.envelope import Recorded, Stored, decode, foreign
from projections import tables
from projections.tables import POSITIONS, ReadTable

Row = dict[str, Any]
Key = tuple[str, str | int]
"""Name of a table, key of a row."""

Rows = dict[Key, Row]


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """`kinds`: of which aggregates it takes events, None for all. `touched`: the rows that an event needs to be read,
    those that it makes anew left out. `fold` changes rows, or adds some, and never fails on odd history.
    Raise `version` with every change of `fold`: the read model is then rebuilt at the next start.
    """

    name: str
    version: int
    tables: tuple[ReadTable, ...]
    kinds: frozenset[str] | None
    touched: Callable[[Recorded], Iterable[Key]]
    fold: Callable[[Rows, Recorded], None]

    @property
    def digest(self) -> str:
        return tables.digest(self.tables, self.version)


class Rewound(Exception):
    """The database stands at `position`, before what was read from the log: read on from there."""

    def __init__(self, name: str, position: int) -> None:
        super().__init__(f"{name} stands at {position} in the database")
        self.position: Final = position


class Batch:
    """Consecutive messages of the log, each decoded once, when the first projection wants it."""

    def __init__(self, stored: Sequence[Stored]) -> None:
        self.stored: Final = stored
        self._decoded: dict[int, Recorded] = {}

    def part(self, start: int, end: int) -> "Batch":
        part = Batch(self.stored[start:end])
        part._decoded = self._decoded
        return part

    def after(self, position: int) -> "Batch | None":
        """What stands after `position`; None when nothing does."""
        if self.first > position:
            return self
        return self.part(position - self.first + 1, len(self.stored)) if self.last > position else None

    @property
    def first(self) -> int:
        return self.stored[0].position

    @property
    def last(self) -> int:
        return self.stored[-1].position

    def events(self, after: int, kinds: frozenset[str] | None) -> list[Recorded]:
        """Without entries that are not the tower's own. Raises `UndecodableEvent`."""
        if kinds is not None and kinds.isdisjoint(self._kinds):
            return []
        return [
            self._recorded(stored)
            for stored, kind in zip(self.stored, self._kinds, strict=True)
            if kind is not None and (kinds is None or kind in kinds) and stored.position > after
        ]

    @cached_property
    def _kinds(self) -> list[str | None]:
        """Of each message, None for what is not the tower's own."""
        return [None if foreign(stored) else kind_of(stored.subject) for stored in self.stored]

    def _recorded(self, stored: Stored) -> Recorded:
        recorded = self._decoded.get(stored.position)
        if recorded is None:
            recorded = self._decoded[stored.position] = decode(stored)
        return recorded


def kind_of(subject: str) -> str:
    """Fourth part of `tower.evt.{node}.{kind}.{id}.{event}`."""
    parts = subject.split(".", 4)
    return parts[3] if len(parts) == 5 else ""


def fingerprint(payload: bytes) -> str:
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


def apply(connection: sa.Connection, projection: Projection, suffix: str, batch: Batch, expected: int) -> int:
    """The position after `batch`. What the database has seen already is left out; `Rewound` if it has seen less than
    `expected`, the position before the batch."""
    name = projection.name + suffix
    position = _positions(connection, [name]).get(name)
    if position is None or position < expected:
        raise Rewound(name, position or 0)
    if position >= batch.last:
        return position
    _write(connection, projection, suffix, batch.events(position, projection.kinds))
    _move(connection, [name], position, batch)
    return batch.last


class Apart(Exception):
    """The projections do not stand at the same position: each must be advanced by itself."""


def apply_together(connection: sa.Connection, projections: Sequence[Projection], batch: Batch) -> None:
    """The same for all serving projections at once, which must all stand right before `batch`: a third of the
    statements and one commit. Raises `Rewound`, `Apart`, or what one of them finds wrong with an event."""
    names, expected = [projection.name for projection in projections], batch.first - 1
    positions = _positions(connection, names)
    for name in names:
        position = positions.get(name, 0)
        if position < expected:
            raise Rewound(name, position)
        if position > expected:
            raise Apart(name)
    for projection in projections:
        _write(connection, projection, "", batch.events(expected, projection.kinds))
    _move(connection, names, expected, batch)


def _positions(connection: sa.Connection, names: Sequence[str]) -> dict[str, int]:
    """Where they stand, locked until the transaction ends. Text, because it is asked with every batch."""
    mark, lock = ("?", "") if connection.dialect.name == "sqlite" else ("%s", " FOR UPDATE")
    marks = ", ".join([mark] * len(names))
    statement = f"SELECT name, position FROM {POSITIONS.name} WHERE name IN ({marks}) ORDER BY name{lock}"  # noqa: S608
    rows = connection.exec_driver_sql(statement, tuple(names)).all()
    return {row[0]: row[1] for row in rows}


def _move(connection: sa.Connection, names: Sequence[str], position: int, batch: Batch) -> None:
    """From `position` to the end of the batch."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * len(names))
    connection.exec_driver_sql(
        f"UPDATE {POSITIONS.name} SET position = {mark}, fingerprint = {mark}, "  # noqa: S608
        f"stopped_reason = NULL, stopped_event = NULL, stopped_position = NULL "
        f"WHERE position = {mark} AND name IN ({marks})",
        (batch.last, fingerprint(batch.stored[-1].payload), position, *names),
    )


def _write(connection: sa.Connection, projection: Projection, suffix: str, events: Sequence[Recorded]) -> None:
    if not events:
        return
    wanted: dict[str, set[str | int]] = {}
    for recorded in events:
        for table, key in projection.touched(recorded):
            wanted.setdefault(table, set()).add(key)
    rows: Rows = {}
    for read in projection.tables:
        if read.name in wanted:
            rows.update(_load(connection, read, suffix, wanted[read.name]))
    before = {key: row.copy() for key, row in rows.items()}
    for recorded in events:
        projection.fold(rows, recorded)
    for read in projection.tables:
        changed = [row for key, row in rows.items() if key[0] == read.name and before.get(key) != row]
        if changed:
            _store(connection, read, suffix, changed)


def _load(connection: sa.Connection, read: ReadTable, suffix: str, keys: set[str | int]) -> Rows:
    names, wanted = read.table.columns.keys(), sorted(keys)
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql(
            f"SELECT {', '.join(names)} FROM {read.name}{suffix} "  # noqa: S608
            f"WHERE {read.key} IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(wanted).decode(),),
        )
    else:
        found = connection.exec_driver_sql(
            f"SELECT {', '.join(names)} FROM {read.name}{suffix} WHERE {read.key} = ANY(%s)",  # noqa: S608
            (wanted,),
        )
    rows = (dict(zip(names, row, strict=True)) for row in found.all())
    return {(read.name, row[read.key]): row for row in rows}


def _store(connection: sa.Connection, read: ReadTable, suffix: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert these whole rows, or put them in the place of those with the same keys."""
    if connection.dialect.name == "sqlite":
        values = itemgetter(*read.table.columns.keys())
        connection.exec_driver_sql(_sqlite_upsert(read, suffix), [values(row) for row in rows])
    else:
        connection.exec_driver_sql(_postgres_upsert(read, suffix), (msgspec.json.encode(rows).decode(),))


@lru_cache(maxsize=64)
def _sqlite_upsert(read: ReadTable, suffix: str) -> str:
    names = ", ".join(read.table.columns.keys())
    marks = ", ".join("?" for _ in read.table.columns)
    return f"INSERT INTO {read.name}{suffix} ({names}) VALUES ({marks}){_on_conflict(read)}"  # noqa: S608


@lru_cache(maxsize=64)
def _postgres_upsert(read: ReadTable, suffix: str) -> str:
    """All rows in one parameter, taken apart by the server: a fifth of the client's work of one parameter a value."""
    names = ", ".join(read.table.columns.keys())
    table = f"{read.name}{suffix}"
    rows = f"SELECT {names} FROM json_populate_recordset(NULL::{table}, %s::json)"  # noqa: S608
    return f"INSERT INTO {table} ({names}) {rows}{_on_conflict(read)}"


def _on_conflict(read: ReadTable) -> str:
    names = read.table.columns.keys()
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != read.key)
    return f" ON CONFLICT ({read.key}) DO UPDATE SET {changes}"
