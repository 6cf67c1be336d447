"""The queries about executions and promises; part of `ReadModels`, whose rules hold here too."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from domain.promises import PromiseState
from projections import executions, promises
from projections.changes import Aggregate, Changes
from projections.executions import EXECUTIONS, PROJECTION
from projections.paging import DEFAULT_LIMIT, Order, Page, Query
from projections.projection import Projection
from projections.promises import PROMISES
from projections.rows import Item, checked_state, filtered, snapshot
from projections.tables import storable

_executions: Any = EXECUTIONS.table.c
_promises: Any = PROMISES.table.c

_EXECUTION_ORDER: Final = Order(
    (_executions.state_rank, _executions.requested_at, _executions.id), descending=frozenset({"requested_at", "id"})
)
_PROMISE_ORDER: Final = Order(
    (_promises.pending_rank, _promises.created_at, _promises.id), descending=frozenset({"created_at", "id"})
)


class Listing:
    """A page that was asked for: `work` reads it."""

    def __init__(
        self,
        query: Query,
        statement: sa.Select[Any],
        item: Callable[[Mapping[Any, Any]], Item],
        projection: Projection = PROJECTION,
    ) -> None:
        self._projection = projection
        self._query = query
        self._statement = query.apply(statement)
        self._item = item

    def work(self, connection: sa.Connection) -> Page:
        position = snapshot(connection, self._projection)
        rows = connection.execute(self._statement).mappings().all()
        items = [self._item(row) for row in rows[: self._query.limit]]
        return Page(items, self._query.next_cursor(rows), position)


def execution_page(
    *, session_id: str | None = None, state: str | None = None, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Listing:
    filters = {"session_id": session_id, "state": checked_state(state, executions.STATES)}
    query = Query("executions", _EXECUTION_ORDER, filters, limit, cursor)
    return Listing(query, filtered(sa.select(EXECUTIONS.table), filters), executions.listed)


def promise_page(
    *,
    owner: str | None,
    state: str | None = None,
    execution_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Listing:
    filters = {"owner": owner, "state": checked_state(state, promises.STATES), "execution_id": execution_id}
    query = Query("promises", _PROMISE_ORDER, filters, limit, cursor)
    return Listing(query, filtered(sa.select(PROMISES.table), filters), promises.shown)


def execution(connection: sa.Connection, execution_id: str) -> Item | None:
    """With its open `input_requests`, oldest first."""
    snapshot(connection, PROJECTION)
    row = _row(connection, EXECUTIONS.table, execution_id)
    if row is None:
        return None
    asked = (
        sa.select(PROMISES.table)
        .where(
            _promises.execution_id == row["id"],
            _promises.pending_rank == promises.PENDING_RANK,
            _promises.purpose == "input",
        )
        .order_by(_promises.n)
    )
    questions = [promises.asked(each) for each in connection.execute(asked).mappings()]
    return executions.shown(row) | {"input_requests": questions}


def promise(connection: sa.Connection, promise_id: str, owner: str | None) -> Item | None:
    """`owner`: None for one of anybody. That of an execution has its value, or its error."""
    snapshot(connection, PROJECTION)
    row = _row(connection, PROMISES.table, promise_id)
    if row is None or owner not in (None, row["owner"]):
        return None
    item = promises.shown(row)
    if item["purpose"] == "execution" and item["settled_at"] is not None:
        of = _row(connection, EXECUTIONS.table, item["execution_id"])
        if of is not None:
            ended = executions.shown(of)
            item["value"] = ended["value"] if item["state"] == PromiseState.RESOLVED else ended["error"]
    return item


def _row(connection: sa.Connection, table: sa.Table, row_id: str) -> sa.RowMapping | None:
    return connection.execute(sa.select(table).where(table.c.id == storable(row_id))).mappings().first()


async def settled(read: Callable[[], Awaitable[Item | None]], changes: Changes, of: Aggregate, wait_s: float) -> Any:
    """What `read` gives, as soon as it is over (it has `ended_at` or `settled_at`) or is not there; after `wait_s`
    seconds as it is then."""
    async with changes.of(of) as changed:
        try:
            async with asyncio.timeout(wait_s or None):
                while (item := await read()) is not None and wait_s and not _over(item):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            item = await read()
    return item


def _over(item: Item) -> bool:
    return (item.get("ended_at") or item.get("settled_at")) is not None
