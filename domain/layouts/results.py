"""What the caller of a layout or pane command is told: from its events, or from the state for a repeat."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from domain.layouts import commands as c
from domain.layouts import decide
from domain.layouts import events as e
from domain.layouts import state as layouts_state
from domain.messages import Event, Result


def result(events: Sequence[Event]) -> Result:
    """Of an accepted command; nothing for events of another kind."""
    match events[0]:
        case e.LayoutCreated() as created:
            rows = [_pane_row(pane.pane_id, pane.slot, pane.role, pane.label, "creating") for pane in created.panes]
            return {"layout_id": created.layout_id, "panes": rows, "state": "creating", "replay": False}
        case e.LayoutRestored() as restored:
            return _restored(restored)
        case e.PaneCreated(predecessor_id=str()) | e.PaneRestartCancelled() if made := _made_anew(events):
            return {
                "pane_id": made.pane_id,
                "predecessor_id": made.predecessor_id,
                "chain_depth": made.chain_depth,
                "layout_id": made.layout_id,
                "state": "creating",
                "replay": False,
            }
        case _:
            removed = [event for event in events if isinstance(event, e.PaneRemoved)]
            return _removed(removed[0].layout_id, [event.pane_id for event in removed]) if removed else {}


def standing(
    request: c.LayoutCreate | c.PaneRecreate | c.LayoutRestore | c.LayoutRemove | c.PaneRemove,
    layouts: layouts_state.Layouts,
) -> Result:
    """Of an accepted command that changed nothing, from the state that made it a no-op."""
    match request:
        case c.LayoutCreate() | c.PaneRecreate():
            made = decide.replayed(request, layouts)
            if made is None:
                return {}
            return _layout_now(made, layouts) if isinstance(request, c.LayoutCreate) else _pane_now(made, layouts)
        case c.LayoutRestore():
            state_now = layouts.layouts[request.layout_id].state
            return _restored(
                e.LayoutRestored(
                    layout_id=request.layout_id, recreated=(), chain_too_deep=(), conflicts=(), state=state_now
                )
            )
        case c.LayoutRemove():
            return _removed(request.layout_id, [])
        case c.PaneRemove():
            return _removed(layouts.panes[request.pane_id].layout_id, [])


def _made_anew(events: Sequence[Event]) -> e.PaneRecreated | None:
    return next((event for event in events if isinstance(event, e.PaneRecreated)), None)


def _restored(restored: e.LayoutRestored) -> Result:
    """`conflicts`: panes that something took the place of, with the code that a recreate of theirs would get."""
    return {
        "layout_id": restored.layout_id,
        "recreated": [msgspec.structs.asdict(pane) for pane in restored.recreated],
        "chain_too_deep": list(restored.chain_too_deep),
        "conflicts": [msgspec.structs.asdict(conflict) for conflict in restored.conflicts],
        "state": str(restored.state),
    }


def _removed(layout_id: str, pane_ids: Sequence[str]) -> Result:
    """`removed_pane_ids`: what this command removed, empty when all was removed before; `state` is theirs."""
    return {"layout_id": layout_id, "removed_pane_ids": list(pane_ids), "state": "removed"}


def _pane_row(pane_id: str, slot: int, role: str, label: str, state: str) -> Mapping[str, Any]:
    return {"pane_id": pane_id, "slot": slot, "role": role, "label": label, "state": state}


def _layout_now(layout_id: str, layouts: layouts_state.Layouts) -> Result:
    layout = layouts.layouts[layout_id]
    return {
        "layout_id": layout_id,
        "panes": [
            _pane_row(pane.pane_id, pane.slot, pane.role, pane.label, str(pane.state))
            for pane in layouts.present_panes(layout_id)
        ],
        "state": str(layout.state),
        "replay": True,
    }


def _pane_now(pane_id: str, layouts: layouts_state.Layouts) -> Result:
    pane = layouts.panes[pane_id]
    return {
        "pane_id": pane_id,
        "predecessor_id": pane.predecessor_id,
        "chain_depth": pane.chain_depth,
        "layout_id": pane.layout_id,
        "state": str(pane.state),
        "replay": True,
    }
