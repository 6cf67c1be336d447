"""Building a projection anew from the log, in shadow tables, while the old ones serve.

It goes on where it was interrupted: the shadow has its own position. Several are built in one reading of the log.
Indexes are made when the bulk is in. The swap is one transaction, and is tried until the shadow is not behind the
serving tables.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
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

OnProgressOf = Callable[[str, int, int], Any]
"""The same, with the projection's name first."""


class RebuildFailed(Exception):
    """The old tables go on serving. Says why, for a person to act on."""


class RebuildOvertaken(RebuildFailed):
    """Another process finished, or began, a rebuild of the same projection meanwhile."""


class _Shadow:
    def __init__(self, projection: Projection, position: int, generation: int) -> None:
        self.projection: Final = projection
        self.generation: Final = generation
        self.position = position
        self.failure: RebuildFailed | None = None


async def rebuild(
    database: Database, source: Source, projection: Projection, on_progress: OnProgress | None = None
) -> None:
    """One projection; as `rebuild_all`."""

    def shown(name: str, position: int, end: int) -> None:
        if on_progress is not None:
            on_progress(position, end)

    await rebuild_all(database, source, (projection,), shown)


async def rebuild_all(
    database: Database,
    source: Source,
    projections: Sequence[Projection],
    on_progress: OnProgressOf | None = None,
) -> None:
    """Raises `RebuildFailed` when the others are done, `DatabaseTrouble`, and what the source raises; after the latter
    two call it again."""
    wanted = {projection.name: projection for projection in projections}.values()
    shadows = [_Shadow(one, *await database.write(partial(_begin, projection=one))) for one in wanted]
    await _fill(database, source, shadows, on_progress)
    for shadow in shadows:
        if shadow.failure is None:
            await _make_indexes(database, shadow)
            await _put_in_place(database, source, shadow, on_progress)
    failures = [shadow.failure for shadow in shadows if shadow.failure is not None]
    if len(failures) > 1:
        raise RebuildFailed("; ".join(str(failure) for failure in failures))
    if failures:
        raise failures[0]


async def _put_in_place(database: Database, source: Source, shadow: _Shadow, on_progress: OnProgressOf | None) -> None:
    """Fill and swap, until the swap finds that the serving tables are not ahead."""
    while shadow.failure is None:
        await _fill(database, source, [shadow], on_progress)
        try:
            serving = await database.write(partial(standing.swap, projection=shadow.projection, force=False))
            # Serving tables past the log's end were filled from another log.
            if serving > await source.last_position():
                serving = await database.write(partial(standing.swap, projection=shadow.projection, force=True))
        except LookupError:
            shadow.failure = _overtaken(shadow)
            return
        if serving == 0:
            return


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
    database: Database, source: Source, shadows: Sequence[_Shadow], on_progress: OnProgressOf | None
) -> None:
    """Up to what is the log's end now. A shadow that cannot go on is marked with its failure and left behind."""
    head = await source.last_position()
    after = min(shadow.position for shadow in shadows)
    async with aclosing(_gathered(source, after, head)) as batches:
        async for stored in batches:
            batch = Batch(stored)
            if all(shadow.failure is not None for shadow in shadows):
                return
            for shadow in shadows:
                part = batch.after(shadow.position)
                if part is None or shadow.failure is not None:
                    continue
                await _advance(database, shadow, part)
                if on_progress is not None:
                    on_progress(shadow.projection.name, shadow.position, max(head, shadow.position))


async def _advance(database: Database, shadow: _Shadow, part: Batch) -> None:
    name = shadow.projection.name
    if part.first != shadow.position + 1:
        shadow.failure = RebuildFailed(
            f"{name}: the log holds nothing from position {shadow.position + 1} to {part.first - 1} any more (pruned), "
            "so a read model cannot be made from it alone"
        )
        return
    try:
        shadow.position = await advance(database, shadow.projection, SHADOW, part, shadow.position)
    except Poison as poison:
        shadow.failure = RebuildFailed(
            f"{name}: event {poison.event} at position {poison.position} cannot be applied: {poison.reason}"
        )
    except Rewound:
        shadow.failure = _overtaken(shadow)


def _overtaken(shadow: _Shadow) -> RebuildOvertaken:
    return RebuildOvertaken(f"{shadow.projection.name}: another process rebuilds it at the same time")


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


async def _make_indexes(database: Database, shadow: _Shadow) -> None:
    """One a transaction, so that the serving tables are not held up for long."""
    for read in shadow.projection.tables:
        for index in range(len(read.indexes)):
            await database.write(
                partial(tables.create_index, read=read, suffix=SHADOW, generation=shadow.generation, index=index)
            )
