"""Panes, one row each: what they are, how far they came, what became of them."""

from collections.abc import Iterable
from typing import Any, Final

from domain.envelope import Recorded
from domain.layouts import events as e
from domain.layouts.events import PaneState
from domain.messages import Event
from projections.projection import Key, Rows
from projections.states import RANKS
from projections.tables import instant, number, optional, read_table, required, storable

UNPLACED: Final = 2**31 - 1
"""`index_rank` of a pane that tmux has not numbered: after the numbered ones of its layout."""

PANES: Final = read_table(
    "panes",
    required("id"),
    required("layout_id"),
    required("container_id"),
    number("slot"),
    required("role"),
    required("capability"),
    required("label"),
    required("launch_profile"),
    required("restart"),
    number("restart_count"),
    optional("restart_due_at"),
    optional("restart_given_up"),
    required("state"),
    number("state_rank"),
    optional("failed_stage"),
    optional("reason"),
    number("exit_code", nullable=True),
    number("signal", nullable=True),
    optional("tmux_pane_id"),
    number("tmux_pane_index", nullable=True),
    number("index_rank"),
    number("pid", nullable=True),
    optional("log_path"),
    optional("agent_id"),
    optional("predecessor_id"),
    optional("successor_id"),
    number("chain_depth"),
    required("origin"),
    required("created_at"),
    required("updated_at"),
    indexes=(
        ("state_rank", "layout_id", "index_rank", "id"),
        ("layout_id",),
        ("container_id", "state_rank", "layout_id"),
    ),
)
"""`reason` says more about a failed stage; `state_rank` and `index_rank` are there to sort by.
`restart_count`: how often in a row the restart policy made this pane's chain anew."""


def touched(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    match event:
        case e.PaneCreated():
            # Read all the same: a pane that stands is not made again.
            return ((PANES.name, event.pane_id),)
        case e.PaneRecreated():
            return ((PANES.name, event.pane_id), (PANES.name, event.predecessor_id))
        case _:
            return ((PANES.name, recorded.envelope.subject),) if recorded.envelope.kind == "pane" else ()


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, recorded.envelope.time
    if isinstance(event, e.PaneCreated):
        if (PANES.name, event.pane_id) not in rows:
            rows[PANES.name, event.pane_id] = _created(event, instant(at))
        return
    changes = _changes(event)
    if changes:
        _change(rows, recorded.envelope.subject, changes, instant(at))
    if isinstance(event, e.PaneRecreated) and (PANES.name, event.pane_id) in rows:
        predecessor = rows.get((PANES.name, event.predecessor_id))
        if predecessor is not None and predecessor["restart_due_at"] is not None:
            _change(rows, event.pane_id, {"restart_count": predecessor["restart_count"] + 1}, instant(at))
        changes = {"successor_id": event.pane_id, "restart_due_at": None}
        _change(rows, event.predecessor_id, changes, instant(at))


def _change(rows: Rows, pane_id: str, changes: dict[str, Any], at: str) -> None:
    row = rows.get((PANES.name, pane_id))
    if row is not None:
        row.update(changes, updated_at=at)


def _created(event: e.PaneCreated, at: str) -> dict[str, Any]:
    return {
        "id": event.pane_id,
        "layout_id": event.layout_id,
        "container_id": event.container_id,
        "slot": event.slot,
        "role": event.role,
        "capability": event.capability,
        "label": event.label,
        "launch_profile": event.launch_profile,
        "restart": event.restart,
        "restart_count": 0,
        "restart_due_at": None,
        "restart_given_up": None,
        "state": str(PaneState.CREATING),
        "state_rank": RANKS[PaneState.CREATING],
        "failed_stage": None,
        "reason": None,
        "exit_code": None,
        "signal": None,
        "tmux_pane_id": None,
        "tmux_pane_index": None,
        "index_rank": UNPLACED,
        "pid": None,
        "log_path": None,
        "agent_id": None,
        "predecessor_id": event.predecessor_id,
        "successor_id": None,
        "chain_depth": event.chain_depth,
        "origin": event.origin,
        "created_at": at,
        "updated_at": at,
    }


def _changes(event: Event) -> dict[str, Any]:
    """What an event changes in the row of its pane."""
    match event:
        case e.PaneStateChanged():
            return {
                "state": str(event.to),
                "state_rank": RANKS[event.to],
                "failed_stage": None if event.failed_stage is None else str(event.failed_stage),
                "reason": None if event.reason is None else storable(event.reason),
            }
        case e.PaneSpawned():
            return {
                "tmux_pane_id": event.tmux_pane_id,
                "tmux_pane_index": event.tmux_pane_index,
                "index_rank": event.tmux_pane_index,
                "pid": event.pid,
            }
        case e.PaneLaunchCommandExited() | e.PaneProcessExited():
            return {"exit_code": event.exit_code, "signal": event.signal}
        case e.PaneRestartScheduled():
            return {"restart_due_at": instant(event.due_at)}
        case e.PaneRestartCancelled():
            return {"restart_due_at": None}
        case e.PaneRestartGivenUp():
            return {"restart_given_up": event.reason}
        case e.PaneRegistered():
            return {"agent_id": event.agent_id}
        case e.PaneLogAttached():
            return {"log_path": storable(event.path)}
        case e.PaneLogAttachFailed():
            return {"reason": storable(event.reason)}
        case _:
            return {}
