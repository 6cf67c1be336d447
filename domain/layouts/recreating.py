"""Panes made anew: the successor of one pane, and all that a layout has lost (`layout.restore`)."""

from collections.abc import Container
from datetime import datetime

from domain.agents.state import Agents
from domain.errors import Rejection
from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.restarts import cancelled, check_recreatable
from domain.layouts.state import MAX_GENERATIONS, Layouts, Pane, PaneState, Stage
from domain.messages import Event, Facts

LOST: frozenset[Stage | None] = frozenset({Stage.RECOVERY_REATTACH, Stage.PANE_VANISHED})
"""Stages of the panes that `layout.restore` makes anew."""


def successor(
    source: Pane, *, pane_id: str, profile: str, digest: str, at: datetime, idempotency_key: str | None = None
) -> tuple[Event, ...]:
    """The next generation of a pane, in its place: it inherits role, capability, label and restart policy."""
    depth = source.chain_depth + 1
    return (
        e.PaneCreated(
            pane_id=pane_id,
            layout_id=source.layout_id,
            container_id=source.container_id,
            slot=source.slot,
            role=source.role,
            capability=source.capability,
            label=source.label,
            launch_profile=profile,
            launch_digest=digest,
            restart=source.restart,
            predecessor_id=source.pane_id,
            chain_depth=depth,
        ),
        e.PaneRecreated(
            pane_id=pane_id,
            layout_id=source.layout_id,
            predecessor_id=source.pane_id,
            chain_depth=depth,
            idempotency_key=idempotency_key,
        ),
        e.PanePendingMarkerSet(
            pane_id=pane_id, layout_id=source.layout_id, marker=idempotency_key or pane_id, set_at=at
        ),
    )


def lost_panes(layout_id: str, state: Layouts) -> tuple[Pane, ...]:
    """The newest of each chain that went with its tmux, in order of slot."""
    lost = (
        pane for pane in state.present_panes(layout_id) if pane.state is PaneState.FAILED and pane.failed_stage in LOST
    )
    return tuple(sorted(lost, key=lambda pane: pane.slot))


def restore_layout(
    request: c.LayoutRestore, facts: Facts, state: Layouts, containers: Container[str], agents: Agents
) -> tuple[Event, ...]:
    """Every lost pane is made anew; one that cannot be is reported and does not keep the others."""
    layout = state.layouts.get(request.layout_id)
    if layout is None:
        raise Rejection("managed_layout_not_found", f"no layout {request.layout_id}", layout_id=request.layout_id)
    lost = lost_panes(layout.layout_id, state)
    if not lost:
        return ()
    recreated: list[e.RestoredPane] = []
    conflicts: list[e.RestoreConflict] = []
    events: list[Event] = []
    restorable = [pane for pane in lost if pane.chain_depth < MAX_GENERATIONS - 1]
    for pane, pane_id in zip(restorable, facts.ids, strict=False):
        try:
            digest = check_recreatable(pane, facts, state, containers, agents)
        except Rejection as refusal:
            conflicts.append(
                e.RestoreConflict(pane_id=pane.pane_id, label=pane.label, code=refusal.code, message=refusal.message)
            )
            continue
        recreated.append(e.RestoredPane(pane_id=pane_id, predecessor_id=pane.pane_id, label=pane.label))
        events += cancelled(pane)
        events += successor(pane, pane_id=pane_id, profile=pane.launch_profile, digest=digest, at=facts.at)
    restored = e.LayoutRestored(
        layout_id=layout.layout_id,
        recreated=tuple(recreated),
        chain_too_deep=tuple(pane.pane_id for pane in lost if pane not in restorable),
        conflicts=tuple(conflicts),
        state=PaneState.CREATING if recreated else layout.state,
    )
    return (restored, *events)
