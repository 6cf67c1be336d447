"""The queries about bundles; part of `ReadModels`, whose rules hold here too."""

from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from projections import bundles
from projections.bundles import BUNDLES, PROJECTION
from projections.paging import DEFAULT_LIMIT, Order, Page, Query, invalid
from projections.reads import Reads
from projections.rows import Item, filtered, snapshot
from projections.tables import indexable, storable

_bundles: Any = BUNDLES.table.c

_ORDER: Final = Order((_bundles.state_rank, _bundles.name, _bundles.id))


class BundlePage:
    """Those that serve first, then by name. `work` reads it. Raises `validation_failed`."""

    def __init__(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> None:
        if state is not None and state not in bundles.RANKS:
            raise invalid("state", f"one of {', '.join(bundles.RANKS)}")
        filters = {"state": state, "name": None if name is None else indexable(name)}
        self._query = Query("bundles", _ORDER, filters, limit, cursor)
        self._statement = self._query.apply(filtered(sa.select(BUNDLES.table), filters))

    def work(self, connection: sa.Connection) -> Page:
        position = snapshot(connection, PROJECTION)
        rows = connection.execute(self._statement).mappings().all()
        items = [bundles.shown(row) for row in rows[: self._query.limit]]
        return Page(items, self._query.next_cursor(rows), position)


def bundle(connection: sa.Connection, text: str) -> Item | None:
    """By id or URI, else by name: the one that serves, and of several the first in lists."""
    snapshot(connection, PROJECTION)
    wanted = storable(text)
    exact = sa.select(BUNDLES.table).where(sa.or_(_bundles.id == wanted, _bundles.uri == wanted))
    named = sa.select(BUNDLES.table).where(_bundles.name == indexable(text))
    for statement in (exact, named.order_by(_bundles.state_rank, _bundles.id)):
        row = connection.execute(statement.limit(1)).mappings().first()
        if row is not None:
            return bundles.shown(row)
    return None


class BundleQueries(Reads):
    async def bundles(self, **asked: Any) -> Page:
        """Those that serve first, then by name."""
        return await self._read(PROJECTION, BundlePage(**asked).work)

    async def bundle(self, text: str, /) -> Item | None:
        """By id, URI or name."""
        return await self._read(PROJECTION, partial(bundle, text=text))
