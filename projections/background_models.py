"""The queries about background sessions and triggers; part of `ReadModels`, whose rules hold here too."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from projections.background import (
    BACKGROUNDS,
    FIRING_STATES,
    PROJECTION,
    STATES,
    TRIGGERS,
    WAITING,
    firing_shown,
    shown,
)
from projections.bundle_models import BundleQueries
from projections.execution_models import Listing
from projections.paging import DEFAULT_LIMIT, Order, Page, Query
from projections.rows import Item, checked_state, filtered, snapshot
from projections.tables import indexable, storable

_backgrounds: Any = BACKGROUNDS.table.c
_triggers: Any = TRIGGERS.table.c

_ORDER: Final = Order((_backgrounds.state_rank, _backgrounds.name, _backgrounds.id))
_FIRED: Final = Order((_triggers.position,), descending=frozenset({"position"}))


class BackgroundPage:
    """By state (failed, starting, running, stopped), then name. `work` reads it. Raises `validation_failed`."""

    def __init__(
        self,
        *,
        name: str | None = None,
        state: str | None = None,
        parent_session_id: str | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> None:
        filters = {
            "name": None if name is None else indexable(name),
            "state": checked_state(state, STATES),
            "parent_session_id": parent_session_id,
        }
        self._query = Query("background_sessions", _ORDER, filters, limit, cursor)
        self._statement = self._query.apply(filtered(sa.select(BACKGROUNDS.table), filters))

    def work(self, connection: sa.Connection) -> Page:
        position = snapshot(connection, PROJECTION)
        rows = connection.execute(self._statement).mappings().all()
        return Page(_with_waiting(connection, rows[: self._query.limit]), self._query.next_cursor(rows), position)


def background_session(connection: sa.Connection, text: str) -> Item | None:
    """By its id, else by its name: of several the first in lists."""
    snapshot(connection, PROJECTION)
    by_id = sa.select(BACKGROUNDS.table).where(_backgrounds.id == storable(text))
    by_name = sa.select(BACKGROUNDS.table).where(_backgrounds.name == indexable(text))
    by_name = by_name.order_by(_backgrounds.state_rank, _backgrounds.declared_at.desc(), _backgrounds.id)
    for statement in (by_id, by_name):
        row = connection.execute(statement.limit(1)).mappings().first()
        if row is not None:
            return _with_waiting(connection, [row])[0]
    return None


def _with_waiting(connection: sa.Connection, rows: Sequence[Mapping[Any, Any]]) -> list[Item]:
    """With `waiting_since`, when the first firing that waits was fired."""
    waits = [row["id"] for row in rows if row["waiting"]]
    since: dict[str, str] = {}
    if waits:
        first = sa.select(_triggers.background_id, sa.func.min(_triggers.fired_at))
        first = first.where(_triggers.background_id.in_(waits), _triggers.state == WAITING)
        since = {row[0]: row[1] for row in connection.execute(first.group_by(_triggers.background_id))}
    return [{**shown(row), "waiting_since": since.get(row["id"])} for row in rows]


def trigger_page(
    *,
    background: str | None = None,
    type: str | None = None,  # noqa: A002
    state: str | None = None,
    session_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Listing:
    """The latest first. `background`: id or name."""
    filters = {"type": type, "state": checked_state(state, FIRING_STATES), "session_id": session_id}
    query = Query("triggers", _FIRED, {**filters, "background": background}, limit, cursor)
    statement = filtered(sa.select(TRIGGERS.table), filters)
    if background is not None:
        of_it = (_triggers.background_id == storable(background), _triggers.background_name == indexable(background))
        statement = statement.where(sa.or_(*of_it))
    return Listing(query, statement, firing_shown, PROJECTION)


class BackgroundQueries(BundleQueries):
    async def background_sessions(self, **asked: Any) -> Page:
        """By state, then name."""
        return await self._read(PROJECTION, BackgroundPage(**asked).work)

    async def background_session(self, text: str, /) -> Item | None:
        """By id or name."""
        return await self._read(PROJECTION, partial(background_session, text=text))

    async def triggers(self, **asked: Any) -> Page:
        """The latest first."""
        return await self._read(PROJECTION, trigger_page(**asked).work)
