"""How the tables of read models are described, made, replaced; and the table of positions.

Text compares by code point on both databases. Times are ISO 8601 text in UTC with six decimals, so that they compare
as text. Every table has one key column, its first.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

SHADOW: Final = "__shadow"
"""Suffix of the tables, and of the row of positions, that a rebuild fills."""

INDEXED_LENGTH: Final = 256
"""Characters of an indexed text that a caller chose; the databases bound the size of an index entry."""

METADATA: Final = sa.MetaData()


def text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def required(name: str) -> sa.Column[str]:
    return sa.Column(name, text(), nullable=False)


def optional(name: str) -> sa.Column[str]:
    return sa.Column(name, text(), nullable=True)


def number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


POSITIONS: Final = sa.Table(
    "projections",
    METADATA,
    sa.Column("name", text(), primary_key=True),
    required("digest"),
    # Names of indexes cannot be used twice while the old and the new tables stand side by side.
    number("generation"),
    number("position"),
    # Digest of the payload at `position`: tells a log from another one.
    required("fingerprint"),
    optional("stopped_reason"),
    optional("stopped_event"),
    number("stopped_position", nullable=True),
)
"""One row a projection, a second one (name + `SHADOW`) while it is rebuilt."""


class ReadTable(msgspec.Struct, frozen=True):
    """A table of a read model with its indexes, each a tuple of column names; `-name` sorts descending."""

    table: sa.Table
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def key(self) -> str:
        return self.table.columns.keys()[0]


def read_table(name: str, *columns: sa.Column[str] | sa.Column[int], indexes: Sequence[Sequence[str]]) -> ReadTable:
    """A table keyed by the first of `columns`."""
    key, *others = columns
    key.primary_key, key.nullable = True, False
    # A key of text holds its row: one tree less to keep. A number is the row's own id already.
    table = sa.Table(
        name, METADATA, key, *others, sqlite_with_rowid=isinstance(key.type, sa.BigInteger), sqlite_autoincrement=False
    )
    return ReadTable(table, tuple(tuple(index) for index in indexes))


def digest(tables: Sequence[ReadTable], version: int) -> str:
    """Changes with the definition of the tables and with `version`, the mapping's own."""
    described = [
        (
            str(read.name),
            [(str(c.name), type(c.type).__name__, bool(c.nullable), c.primary_key) for c in read.table.columns],
            read.indexes,
        )
        for read in tables
    ]
    return hashlib.blake2b(msgspec.json.encode((version, described)), digest_size=16).hexdigest()


def create(connection: sa.Connection, tables: Sequence[ReadTable], suffix: str) -> None:
    """Under their names and `suffix` ("" for those that serve)."""
    for read in tables:
        table = read.table.to_metadata(sa.MetaData(), name=read.name + suffix) if suffix else read.table
        connection.execute(CreateTable(table, if_not_exists=True))


def create_index(connection: sa.Connection, read: ReadTable, suffix: str, generation: int, index: int) -> None:
    # Not as an `sa.Index`: that would stay with the table's definition for as long as the process lives.
    quote = connection.dialect.identifier_preparer.quote
    names = read.indexes[index]
    columns = ", ".join(f"{quote(name[1:])} DESC" if name.startswith("-") else quote(name) for name in names)
    label = quote(f"ix{generation}_{read.name}_{'_'.join(name.removeprefix('-') for name in names)}")
    connection.exec_driver_sql(f"CREATE INDEX IF NOT EXISTS {label} ON {quote(read.name + suffix)} ({columns})")


def create_indexes(connection: sa.Connection, tables: Sequence[ReadTable], suffix: str, generation: int) -> None:
    for read in tables:
        for index in range(len(read.indexes)):
            create_index(connection, read, suffix, generation, index)


def drop(connection: sa.Connection, names: Sequence[str]) -> None:
    for name in names:
        connection.execute(sa.schema.DropTable(sa.Table(name, sa.MetaData()), if_exists=True))


def put_in_place(connection: sa.Connection, tables: Sequence[ReadTable]) -> None:
    """The shadow tables become the serving ones."""
    quote = connection.dialect.identifier_preparer.quote
    for read in tables:
        drop(connection, [read.name])
        connection.exec_driver_sql(f"ALTER TABLE {quote(read.name + SHADOW)} RENAME TO {quote(read.name)}")


@lru_cache(maxsize=1024)
def instant(when: datetime) -> str:
    """`2026-01-02T03:04:05.678901Z`."""
    return when.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def storable(value: str) -> str:
    """Neither database takes halves of surrogate pairs in text, and Postgres no NUL."""
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def indexable(value: str) -> str:
    """A text of a caller's choice, as it stands in an index."""
    return storable(value[:INDEXED_LENGTH])
