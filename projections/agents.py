"""The agents registry: registered panes and adopted ones, with what is known of them. A managed pane has its row before
it is registered."""

from collections.abc import Iterable
from typing import Any, Final

from domain.agents import events as ae
from domain.envelope import Recorded
from domain.layouts import events as e
from domain.layouts.events import PaneState
from projections.projection import Key, Projection, Rows
from projections.states import AGENT_RANKS, GONE, RUNNING
from projections.tables import instant, number, optional, read_table, required, storable

AGENTS: Final = read_table(
    "agents",
    required("subject_id"),
    optional("id"),
    optional("pane_id"),
    optional("layout_id"),
    required("container_id"),
    optional("role"),
    optional("capability"),
    required("label"),
    required("state"),
    number("state_rank"),
    optional("tmux_pane_id"),
    optional("tmux_session_name"),
    number("pid", nullable=True),
    required("origin"),
    optional("agent_session"),
    optional("registered_at"),
    optional("gone_at"),
    optional("gone_reason"),
    required("updated_at"),
    indexes=(
        ("state_rank", "container_id", "label", "id"),
        ("container_id", "state_rank"),
        ("origin", "state_rank"),
        ("id",),
    ),
)
"""`subject_id` is the pane's id of a managed agent, the agent's own of an adopted one. `id` is the agent's, null until
it is registered. `state`: of a managed one that of its pane, else `running` or `gone`."""


def touched(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    # What an agent reports is found by its pane.
    subject_id = event.pane_id if isinstance(event, ae.AgentReported) else recorded.envelope.subject
    return ((AGENTS.name, subject_id),)


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, instant(recorded.envelope.time)
    ((_, subject_id),) = touched(recorded)
    row = rows.get((AGENTS.name, subject_id))
    if row is None:
        if isinstance(event, e.PaneCreated):
            rows[AGENTS.name, event.pane_id] = _created(event, at)
        elif isinstance(event, ae.AgentAdopted):
            rows[AGENTS.name, event.agent_id] = _adopted(event, at)
        return
    match event:
        case e.PaneRegistered():
            row.update(id=event.agent_id, registered_at=at, updated_at=at)
        case e.PaneSpawned():
            row.update(tmux_pane_id=event.tmux_pane_id, pid=event.pid, updated_at=at)
        case e.PaneStateChanged():
            row.update(state=str(event.to), state_rank=AGENT_RANKS[event.to], updated_at=at)
        case ae.AgentReported():
            row.update(agent_session=storable(event.agent_session), updated_at=at)
        case ae.AgentGone():
            row.update(
                state=GONE, state_rank=AGENT_RANKS[GONE], gone_at=at, gone_reason=str(event.reason), updated_at=at
            )
        case _:
            pass


def _created(event: e.PaneCreated, at: str) -> dict[str, Any]:
    return _row(
        subject_id=event.pane_id,
        pane_id=event.pane_id,
        layout_id=event.layout_id,
        container_id=event.container_id,
        role=event.role,
        capability=event.capability,
        label=event.label,
        state=str(PaneState.CREATING),
        origin=event.origin,
        updated_at=at,
    )


def _adopted(event: ae.AgentAdopted, at: str) -> dict[str, Any]:
    return _row(
        subject_id=event.agent_id,
        id=event.agent_id,
        container_id=event.container_id,
        role=event.role,
        capability=event.capability,
        label=event.label,
        state=RUNNING,
        tmux_pane_id=event.tmux_pane_id,
        tmux_session_name=storable(event.session_name),
        pid=event.pid,
        origin=event.origin,
        registered_at=at,
        updated_at=at,
    )


def _row(**known: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(AGENTS.table.columns.keys())
    return empty | known | {"state_rank": AGENT_RANKS[known["state"]]}


PROJECTION: Final = Projection(
    name="agents", version=2, tables=(AGENTS,), kinds=frozenset({"pane", "agent"}), touched=touched, fold=fold
)
