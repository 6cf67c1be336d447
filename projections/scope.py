"""What a peer inside a container may see: its own container's rows, and the events that are about them.

Events carry no container of their own, so they are told by their aggregate. The read models that know it may lag behind
the audit index: events beyond them are not shown yet, so that none is left out for ever.
"""

from typing import Any

import sqlalchemy as sa

from projections import agents, layouts
from projections.agents import AGENTS
from projections.events import EVENTS
from projections.layouts import LAYOUTS
from projections.panes import PANES
from projections.rows import snapshot
from projections.tables import storable


def known_until(connection: sa.Connection) -> int:
    """The position up to which it is known to which container an event belongs."""
    return min(snapshot(connection, projection) for projection in (layouts.PROJECTION, agents.PROJECTION))


def about(container_id: str) -> sa.ColumnElement[bool]:
    """Events of this container and of its layouts, panes and agents; and what its own peers were refused."""
    events: Any = EVENTS.table.c
    aggregates = {"layout": LAYOUTS.table, "pane": PANES.table, "agent": AGENTS.table}
    return sa.or_(
        sa.and_(events.kind == "container", events.subject == storable(container_id)),
        sa.and_(events.kind == "command", events.actor == storable(container_id)),
        *(
            sa.and_(events.kind == kind, events.subject.in_(_ids(table, container_id)))
            for kind, table in aggregates.items()
        ),
    )


def _ids(table: sa.Table, container_id: str) -> sa.Select[Any]:
    return sa.select(table.c.id).where(table.c.container_id == storable(container_id), table.c.id.is_not(None))
