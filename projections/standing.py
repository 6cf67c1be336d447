"""Where the projections stand in the database: made at the first start, compared with their definitions at each."""

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from projections import tables
from projections.projection import Projection
from projections.tables import POSITIONS, SHADOW


class Standing(msgspec.Struct, frozen=True):
    """`generation` grows with every rebuild. `current`: filled by today's definition. `readable`: has every column that
    queries ask for."""

    position: int
    generation: int
    fingerprint: str
    current: bool
    readable: bool


def prepare(connection: sa.Connection, projections: Sequence[Projection]) -> Mapping[str, Standing]:
    """Create what is missing; where each projection stands."""
    connection.execute(sa.schema.CreateTable(POSITIONS, if_not_exists=True))
    return {projection.name: _prepared(connection, projection) for projection in projections}


def _prepared(connection: sa.Connection, projection: Projection) -> Standing:
    row = row_of(connection, projection.name)
    there = sa.inspect(connection)
    if row is None or not all(there.has_table(read.name) for read in projection.tables):
        generation = 0 if row is None else row["generation"] + 1
        make(connection, projection, "", generation=generation)
        tables.create_indexes(connection, projection.tables, "", generation)
        return Standing(0, generation, "", current=True, readable=True)
    current = row["digest"] == projection.digest
    readable = current or _readable(there, projection)
    return Standing(row["position"], row["generation"], row["fingerprint"], current, readable)


def _readable(there: sa.Inspector, projection: Projection) -> bool:
    return all(
        set(read.table.columns.keys()) <= {column["name"] for column in there.get_columns(read.name)}
        for read in projection.tables
    )


def generations(connection: sa.Connection) -> dict[str, int]:
    """By name; changes when a projection was rebuilt."""
    rows = connection.execute(sa.select(POSITIONS.c.name, POSITIONS.c.generation))
    return {row.name: row.generation for row in rows}


def row_of(connection: sa.Connection, name: str) -> sa.RowMapping | None:
    """The row of positions, locked until the transaction ends."""
    statement = sa.select(POSITIONS).where(POSITIONS.c.name == name).with_for_update()
    return connection.execute(statement).mappings().first()


def make(connection: sa.Connection, projection: Projection, suffix: str, *, generation: int) -> None:
    """Empty tables without indexes, at position 0."""
    tables.drop(connection, [read.name + suffix for read in projection.tables])
    tables.create(connection, projection.tables, suffix)
    connection.execute(sa.delete(POSITIONS).where(POSITIONS.c.name == projection.name + suffix))
    connection.execute(
        sa.insert(POSITIONS).values(
            name=projection.name + suffix,
            digest=projection.digest,
            generation=generation,
            position=0,
            fingerprint="",
        )
    )


def record_stop(connection: sa.Connection, name: str, reason: str, event: str, position: int) -> None:
    """For those who look into the database while no tower runs."""
    connection.execute(
        sa.update(POSITIONS)
        .where(POSITIONS.c.name == name)
        .values(stopped_reason=reason, stopped_event=event, stopped_position=position)
    )


def swap(connection: sa.Connection, projection: Projection, *, force: bool) -> int:
    """Put the shadow in the place of the serving tables. 0 when done; else nothing is changed and the answer is the
    position of the serving ones, which are ahead. `force` does it all the same."""
    serving, shadow = row_of(connection, projection.name), row_of(connection, projection.name + SHADOW)
    if shadow is None:
        raise LookupError(f"{projection.name} has no shadow any more")
    if serving is not None and serving["position"] > shadow["position"] and not force:
        return serving["position"]
    tables.put_in_place(connection, projection.tables)
    connection.execute(sa.delete(POSITIONS).where(POSITIONS.c.name == projection.name))
    connection.execute(
        sa.update(POSITIONS).where(POSITIONS.c.name == projection.name + SHADOW).values(name=projection.name)
    )
    return 0
