"""The queries about sessions; part of `ReadModels`, whose rules hold here too."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import sqlalchemy as sa

from projections import sessions
from projections.changes import Changes
from projections.execution_models import Listing
from projections.paging import DEFAULT_LIMIT, Order, Query
from projections.rows import Item, checked_state, filtered, snapshot
from projections.sessions import PROJECTION, SESSIONS, TURNS
from projections.tables import storable

_sessions: Any = SESSIONS.table.c
_turns: Any = TURNS.table.c

_ORDER: Final = Order(
    (_sessions.state_rank, _sessions.created_at, _sessions.id), descending=frozenset({"created_at", "id"})
)

TURNS_SHOWN: Final = 100
"""Of a session, the last ones."""


def session_page(
    *,
    parent_session_id: str | None = None,
    bundle_name: str | None = None,
    state: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Listing:
    filters = {
        "parent_session_id": parent_session_id,
        "bundle_name": bundle_name,
        "state": checked_state(state, sessions.STATES),
    }
    query = Query("sessions", _ORDER, filters, limit, cursor)
    return Listing(query, filtered(sa.select(SESSIONS.table), filters), sessions.listed, PROJECTION)


def session(connection: sa.Connection, session_id: str) -> Item | None:
    """With its last `turns`, oldest first, and how many `waiting` there are."""
    snapshot(connection, PROJECTION)
    wanted = sa.select(SESSIONS.table).where(_sessions.id == storable(session_id))
    row = connection.execute(wanted).mappings().first()
    if row is None:
        return None
    of_it = sa.select(TURNS.table).where(_turns.session_id == row["id"])
    last = connection.execute(of_it.order_by(_turns.turn.desc()).limit(TURNS_SHOWN)).mappings().all()
    counted = sa.select(sa.func.count()).select_from(TURNS.table)
    waiting = connection.execute(counted.where(_turns.session_id == row["id"], _turns.state == "waiting")).scalar_one()
    turns = [sessions.turn_shown(turn) for turn in reversed(last)]
    return sessions.shown(row) | {"waiting": waiting, "turns": turns}


async def rested(
    read: Callable[[], Awaitable[Item | None]], changes: Changes, session_id: str, wait_s: float, turn: int | None
) -> Item | None:
    """What `read` gives as soon as it has nothing to do (or has ended this `turn`), or is not there; after `wait_s`
    seconds as it is then."""
    async with changes.of(("session", session_id)) as changed:
        try:
            async with asyncio.timeout(wait_s or None):
                while (item := await read()) is not None and wait_s and not _over(item, turn):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            item = await read()
    return item


def _over(item: Item, turn: int | None) -> bool:
    if turn is None:
        return item["rested_at"] is not None
    return any(each["turn"] == turn and each["ended_at"] is not None for each in item["turns"]) or (
        item["rested_at"] is not None
    )
