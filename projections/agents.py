"""The agents registry: every registered pane, with what is known of it. A pane has its row before it is registered."""

from collections.abc import Iterable
from typing import Any, Final

from domain.envelope import Recorded
from domain.layouts import events as e
from domain.layouts.events import PaneState
from projections.projection import Key, Projection, Rows
from projections.states import RANKS
from projections.tables import instant, number, optional, read_table, required

AGENTS: Final = read_table(
    "agents",
    required("pane_id"),
    optional("id"),
    required("layout_id"),
    required("container_id"),
    required("role"),
    required("capability"),
    required("label"),
    required("state"),
    number("state_rank"),
    optional("tmux_pane_id"),
    required("origin"),
    optional("registered_at"),
    required("updated_at"),
    indexes=(("state_rank", "container_id", "label", "id"), ("container_id", "state_rank")),
)
"""`id` is the agent's, null until it is registered; `state` is its pane's."""


def touched(recorded: Recorded) -> Iterable[Key]:
    return ((AGENTS.name, recorded.envelope.subject),)


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, instant(recorded.envelope.time)
    row = rows.get((AGENTS.name, recorded.envelope.subject))
    if row is None:
        if isinstance(event, e.PaneCreated):
            rows[AGENTS.name, event.pane_id] = _created(event, at)
        return
    match event:
        case e.PaneRegistered():
            row.update(id=event.agent_id, registered_at=at, updated_at=at)
        case e.PaneSpawned():
            row.update(tmux_pane_id=event.tmux_pane_id, updated_at=at)
        case e.PaneStateChanged():
            row.update(state=str(event.to), state_rank=RANKS[event.to], updated_at=at)
        case _:
            pass


def _created(event: e.PaneCreated, at: str) -> dict[str, Any]:
    return {
        "pane_id": event.pane_id,
        "id": None,
        "layout_id": event.layout_id,
        "container_id": event.container_id,
        "role": event.role,
        "capability": event.capability,
        "label": event.label,
        "state": str(PaneState.CREATING),
        "state_rank": RANKS[PaneState.CREATING],
        "tmux_pane_id": None,
        "origin": event.origin,
        "registered_at": None,
        "updated_at": at,
    }


PROJECTION: Final = Projection(
    name="agents", version=1, tables=(AGENTS,), kinds=frozenset({"pane"}), touched=touched, fold=fold
)
