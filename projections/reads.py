"""What all queries share: the database, how far its projections are, and from where somebody looks."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from projections.changes import Changes
from projections.paging import Page, Query
from projections.ports import Database
from projections.progress import Progress, behind
from projections.projection import Projection
from projections.rows import Item, snapshot

T = TypeVar("T")


class Reads:
    """Queries are its methods, in classes by what they are about."""

    def __init__(
        self,
        database: Database,
        progress: Progress,
        head: Callable[[], Awaitable[int]],
        *,
        within: str | None = None,
    ) -> None:
        """`within`: only what a peer inside this container may see; None sees all."""
        self._database = database
        self._progress = progress
        self._head = head
        self._within = within

    @property
    def changes(self) -> Changes:
        """Who waits for single rows."""
        return self._progress.changes

    async def _page(
        self,
        projection: Projection,
        query: Query,
        statement: sa.Select[*tuple[Any, ...]],
        item: Callable[[Mapping[Any, Any]], Item],
    ) -> Page:
        statement = query.apply(statement)

        def work(connection: sa.Connection) -> Page:
            position = snapshot(connection, projection)
            rows = connection.execute(statement).mappings().all()
            return Page([item(row) for row in rows[: query.limit]], query.next_cursor(rows), position)

        return await self._read(projection, work)

    async def _read(self, projection: Projection, work: Callable[[sa.Connection], T]) -> T:
        status = self._progress[projection.name]
        if not status.serves:
            raise behind(status, await self._head())
        return await self._database.read(work)
