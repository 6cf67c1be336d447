"""Rows of layouts, panes and agents as queries show them, and the state of the database that a query sees."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from domain.layouts.events import PaneState
from projections.layouts import LAYOUTS
from projections.paging import Order, invalid
from projections.panes import PANES
from projections.projection import Projection
from projections.states import GONE, RUNNING
from projections.tables import POSITIONS, storable

Item = dict[str, Any]

_HIDDEN: Final = frozenset({"state_rank", "index_rank", "subject_id"})
"""Columns to sort and to find by."""

_STATES: Final = tuple(str(state) for state in PaneState)
AGENT_STATES: Final = (*_STATES, RUNNING, GONE)
_ORIGINS: Final = ("managed", "adopted")

_panes: Any = PANES.table.c

NO_PANES: Final = {"pane_count": 0, "ready_pane_count": 0}


def snapshot(connection: sa.Connection, projection: Projection) -> int:
    """The position that everything read after this in the same transaction reflects."""
    if connection.dialect.name == "postgresql":
        # A rebuild may put other tables in the place of these: not between the position and the rows.
        names = ", ".join(read.name for read in projection.tables)
        connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    statement = sa.select(POSITIONS.c.position).where(POSITIONS.c.name == projection.name)
    return connection.execute(statement).scalar_one_or_none() or 0


def shown(row: Mapping[Any, Any]) -> Item:
    return {name: value for name, value in row.items() if name not in _HIDDEN}


def counted() -> sa.ColumnElement[bool]:
    """Panes that stand for a slot of their layout: neither removed nor recreated."""
    return sa.and_(_panes.state != str(PaneState.REMOVED), _panes.successor_id.is_(None))


def pane_counts(connection: sa.Connection, layout_ids: Sequence[str]) -> dict[str, Item]:
    """`pane_count` and `ready_pane_count` of these layouts, `NO_PANES` left out."""
    if not layout_ids:
        return {}
    ready = sa.func.count().filter(_panes.state == str(PaneState.READY))
    statement = (
        sa.select(_panes.layout_id, sa.func.count(), ready)
        .where(_panes.layout_id.in_(layout_ids), counted())
        .group_by(_panes.layout_id)
    )
    return {
        layout_id: {"pane_count": standing, "ready_pane_count": standing_ready}
        for layout_id, standing, standing_ready in connection.execute(statement)
    }


def one(connection: sa.Connection, table: sa.Table, row_id: str, *, within: str | None = None) -> Item | None:
    """The row of that id; None also for one outside of the container `within`."""
    statement = filtered(sa.select(table).where(table.c.id == storable(row_id)), {WITHIN: within})
    found = connection.execute(statement).mappings().first()
    return None if found is None else shown(found)


WITHIN: Final = "within"
"""Name of the filter that narrows a list to the container whose peer asks; it stands beside `container_id`."""


def filtered(statement: sa.Select[Any], filters: Mapping[str, str | None]) -> sa.Select[Any]:
    columns = statement.get_final_froms()[0].c
    given = [
        columns["container_id" if name == WITHIN else name] == storable(value)
        for name, value in filters.items()
        if value is not None
    ]
    return statement.where(*given)


def checked_state(state: str | None, words: Sequence[str] = _STATES) -> str | None:
    if state is not None and state not in words:
        raise invalid("state", f"one of {', '.join(words)}")
    return None if state is None else str(state)


def checked_origin(origin: str | None) -> str | None:
    if origin is not None and origin not in _ORIGINS:
        raise invalid("origin", f"one of {', '.join(_ORIGINS)}")
    return origin


_layouts: Any = LAYOUTS.table.c

LAYOUT_ORDER: Final = Order(
    (_layouts.state_rank, _layouts.created_at, _layouts.id), descending=frozenset({"created_at", "id"})
)
PANE_ORDER: Final = Order((_panes.state_rank, _panes.layout_id, _panes.index_rank, _panes.id))
