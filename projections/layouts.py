"""Layouts with their panes: two tables of one projection, so that no reader sees a layout beside panes of another
moment. How many panes a layout has, and how many are ready, is counted when it is read.
"""

from collections.abc import Iterable
from typing import Any, Final

from domain.envelope import Recorded
from domain.layouts import events as e
from domain.layouts.events import PaneState
from projections import panes
from projections.panes import PANES
from projections.projection import Key, Projection, Rows
from projections.states import RANKS
from projections.tables import instant, number, optional, read_table, required

LAYOUTS: Final = read_table(
    "layouts",
    required("id"),
    required("container_id"),
    required("template_name"),
    required("tmux_session_name"),
    required("state"),
    number("state_rank"),
    optional("failed_stage"),
    optional("idempotency_key"),
    required("origin"),
    required("created_at"),
    required("updated_at"),
    indexes=(("state_rank", "-created_at", "-id"), ("container_id", "state_rank", "-created_at")),
)


def touched(recorded: Recorded) -> Iterable[Key]:
    if recorded.envelope.kind == "layout":
        return ((LAYOUTS.name, recorded.envelope.subject),)
    return panes.touched(recorded)


def fold(rows: Rows, recorded: Recorded) -> None:
    event = recorded.event
    if recorded.envelope.kind != "layout":
        panes.fold(rows, recorded)
        return
    key = (LAYOUTS.name, recorded.envelope.subject)
    row, at = rows.get(key), instant(recorded.envelope.time)
    if row is None:
        if isinstance(event, e.LayoutCreated):
            rows[key] = _created(event, at)
        return
    row["updated_at"] = at
    if isinstance(event, e.LayoutStateChanged):
        row.update(
            state=str(event.to),
            state_rank=RANKS[event.to],
            failed_stage=None if event.failed_stage is None else str(event.failed_stage),
        )


def _created(event: e.LayoutCreated, at: str) -> dict[str, Any]:
    return {
        "id": event.layout_id,
        "container_id": event.container_id,
        "template_name": event.template_name,
        "tmux_session_name": event.tmux_session_name,
        "state": str(PaneState.CREATING),
        "state_rank": RANKS[PaneState.CREATING],
        "failed_stage": None,
        "idempotency_key": event.idempotency_key,
        "origin": event.origin,
        "created_at": at,
        "updated_at": at,
    }


PROJECTION: Final = Projection(
    name="layouts",
    version=1,
    tables=(LAYOUTS, PANES),
    kinds=frozenset({"layout", "pane"}),
    touched=touched,
    fold=fold,
)
