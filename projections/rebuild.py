"""Building a projection anew from the log, in shadow tables, while the old ones serve.

It goes on where it was interrupted: the shadow has its own position. Indexes are made when the bulk is in. The swap is
one transaction, and is tried until the shadow is not behind the serving tables.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from domain.envelope import Stored
from projections import standing, tables
from projections.advance import Poison, advance
from projections.ports import Database, Source, closing
from projections.projection import Batch, Projection, Rewound
from projections.tables import SHADOW

BATCH: Final = 2000
"""Messages of one transaction."""

OnProgress = Callable[[int, int], Any]
"""Called with the position reached and the log's last position."""


class RebuildFailed(Exception):
    """The old tables go on serving. Says why, for a person to act on."""


class RebuildOvertaken(RebuildFailed):
    """Another process finished, or began, a rebuild of the same projection meanwhile."""


async def rebuild(
    database: Database, source: Source, projection: Projection, on_progress: OnProgress | None = None
) -> None:
    """Raises `RebuildFailed`, `DatabaseTrouble`, and what the source raises; after the latter two call it again."""
    position, generation = await database.write(partial(_begin, projection=projection))
    indexed = False
    try:
        while True:
            head = await source.last_position()
            position = await _fill(database, source, projection, position, head, on_progress)
            if not indexed:
                await _make_indexes(database, projection, generation)
                indexed = True
                continue
            serving = await database.write(partial(standing.swap, projection=projection, force=False))
            if serving == 0:
                return
            if serving > await source.last_position():
                # The serving tables were filled from another log.
                await database.write(partial(standing.swap, projection=projection, force=True))
                return
    except Poison as poison:
        raise RebuildFailed(
            f"{projection.name}: event {poison.event} at position {poison.position} cannot be applied: {poison.reason}"
        ) from poison
    except (Rewound, LookupError) as error:
        raise RebuildOvertaken(f"{projection.name}: another process rebuilds it at the same time") from error


def _begin(connection: sa.Connection, projection: Projection) -> tuple[int, int]:
    """Position and generation of the shadow: a new one, or the one that an interrupted rebuild left."""
    shadow = standing.row_of(connection, projection.name + SHADOW)
    if shadow is not None and shadow["digest"] == projection.digest:
        return shadow["position"], shadow["generation"]
    serving = standing.row_of(connection, projection.name)
    generation = 0 if serving is None else serving["generation"] + 1
    standing.make(connection, projection, SHADOW, generation=generation)
    return 0, generation


async def _fill(
    database: Database,
    source: Source,
    projection: Projection,
    position: int,
    head: int,
    on_progress: OnProgress | None,
) -> int:
    async with aclosing(_gathered(source, position, head)) as batches:
        async for stored in batches:
            if stored[0].position != position + 1:
                raise RebuildFailed(
                    f"{projection.name}: the log holds nothing from position {position + 1} to "
                    f"{stored[0].position - 1} any more (pruned), so a read model cannot be made from it alone"
                )
            position = await advance(database, projection, SHADOW, Batch(stored), position)
            if on_progress is not None:
                on_progress(position, max(head, position))
    return position


async def _gathered(source: Source, after: int, until: int) -> AsyncGenerator[list[Stored]]:
    """What the log gives, in batches of about `BATCH`."""
    waiting: list[Stored] = []
    if after >= until:
        return
    async with closing(source.read(after, until)) as batches:
        async for stored in batches:
            waiting.extend(stored)
            if len(waiting) >= BATCH:
                yield waiting
                waiting = []
    if waiting:
        yield waiting


async def _make_indexes(database: Database, projection: Projection, generation: int) -> None:
    """One a transaction, so that the serving tables are not held up for long."""
    for read in projection.tables:
        for index in range(len(read.indexes)):
            await database.write(
                partial(tables.create_index, read=read, suffix=SHADOW, generation=generation, index=index)
            )
