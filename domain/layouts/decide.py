"""The rules of layouts and panes: `decide` routes, one function a command, its refusals first.

Doing again what is done gives `()`. What the tower saw itself is in `reports.py`.
"""

from collections.abc import Collection, Container, Sequence
from typing import Final

from domain.agents.state import Agents
from domain.errors import Rejection
from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.guards import (
    check_capacity,
    check_container_known,
    check_labels_free,
    check_override_names,
    check_recreate_source,
    check_session_free,
    find_template,
    illegal_transition,
    known_pane,
    profile_digest,
    removed,
    slot_profiles,
)
from domain.layouts.labels import labels_for
from domain.layouts.recreating import restore_layout, successor
from domain.layouts.reports import Reported, lost_with, recover_container, report, sweep
from domain.layouts.restarts import cancelled, remove_to_restart
from domain.layouts.state import (
    Layout,
    Layouts,
    Pane,
    PaneState,
    aggregate,
    evolve,
)
from domain.messages import POLICY, Command, Event, Facts, check_identifier

Asked = c.LayoutCreate | c.LayoutRemove | c.LayoutRestore | c.PaneRemove | c.PaneRecreate | c.PanePromote
LayoutRequest = Asked | Reported

LOST_AT_ONCE: Final = 500
"""Panes that one decision loses, at most: an append has its limit."""


def decide(
    command: Command[LayoutRequest], state: Layouts, containers: Container[str], agents: Agents
) -> tuple[Event, ...]:
    """The events of one command on this state. Raises `Rejection`."""
    request, facts = command.request, command.facts
    match request:
        case c.LayoutCreate():
            events = create_layout(request, facts, state, containers, agents)
        case c.LayoutRemove():
            events = remove_layout(request, state)
        case c.PaneRemove() if command.origin == POLICY:
            events = remove_to_restart(request, facts, state, containers, agents)
        case c.PaneRemove():
            events = remove_pane(request, state, agents)
        case c.PaneRecreate() if command.origin == POLICY:
            events = restart_pane(request, facts, state, containers, agents)
        case c.PaneRecreate():
            events = recreate_pane(request, facts, state, containers, agents)
        case c.LayoutRestore():
            events = restore_layout(request, facts, state, containers, agents)
        case c.PanePromote():
            raise Rejection("not_implemented", "pane.promote is reserved", reserved_since="FEAT-013")
        case c.PaneSweep():
            events = sweep(facts, state)
        case c.ContainerRecover():
            events = recover_container(request, facts, state)
        case _:
            events = report(request, facts, state)
    return (*events, *_layout_changes(state, events))


def lose_containers(container_ids: Collection[str], state: Layouts) -> tuple[tuple[Event, ...], frozenset[str]]:
    """The live panes of containers that are gone vanish with them, and their layouts follow; `LOST_AT_ONCE` panes at
    most. With the containers that have no live pane after that."""
    events: list[Event] = []
    emptied: set[str] = set()
    for container_id in sorted(container_ids):
        lost, room = lost_with(container_id, state), LOST_AT_ONCE - len(events)
        events += lost[:room]
        if len(lost) <= room:
            emptied.add(container_id)
    return (*events, *_layout_changes(state, events)), frozenset(emptied)


# --- asked by people and tools -------------------------------------------------------------------------------------


def create_layout(
    request: c.LayoutCreate, facts: Facts, state: Layouts, containers: Container[str], agents: Agents
) -> tuple[Event, ...]:
    if replayed(request, state) is not None:
        return ()
    check_identifier("tmux_session_name", request.tmux_session_name)
    check_override_names(request)
    check_container_known(request.container_id, containers)
    template = find_template(request.template_name, facts)
    profiles = slot_profiles(request, template)
    digests = [profile_digest(profile, facts) for profile in profiles]
    held = (label for labels in (state.live_labels, agents.labels) for label in labels)
    labels = labels_for(template, {label for container, label in held if container == request.container_id})
    for label in labels:
        check_identifier("label", label)
    check_session_free(request.container_id, request.tmux_session_name, None, facts.tmux_sessions, state)
    check_labels_free(request.container_id, labels, state, agents)
    check_capacity(state)

    layout_id, *pane_ids = facts.ids[: len(labels) + 1]
    marker = request.idempotency_key or layout_id
    panes = tuple(
        e.LayoutPane(
            pane_id=pane_id,
            slot=index,
            role=slot.role,
            capability=slot.capability,
            label=label,
            launch_profile=profile,
            launch_digest=digest,
            restart=slot.restart,
            marker=marker,
        )
        for index, (pane_id, slot, label, profile, digest) in enumerate(
            zip(pane_ids, template.panes, labels, profiles, digests, strict=True)
        )
    )
    created = e.LayoutCreated(
        layout_id=layout_id,
        container_id=request.container_id,
        template_name=template.name,
        tmux_session_name=request.tmux_session_name,
        panes=panes,
        working_dir_digest=facts.working_dir_digest,
        idempotency_key=request.idempotency_key,
    )
    return (created, *(event for pane in panes for event in _pane_created(created, pane, facts)))


def _pane_created(layout: e.LayoutCreated, pane: e.LayoutPane, facts: Facts) -> tuple[Event, ...]:
    return (
        e.PaneCreated(
            pane_id=pane.pane_id,
            layout_id=layout.layout_id,
            container_id=layout.container_id,
            slot=pane.slot,
            role=pane.role,
            capability=pane.capability,
            label=pane.label,
            launch_profile=pane.launch_profile,
            launch_digest=pane.launch_digest,
            restart=pane.restart,
        ),
        e.PanePendingMarkerSet(pane_id=pane.pane_id, layout_id=layout.layout_id, marker=pane.marker, set_at=facts.at),
    )


def remove_layout(request: c.LayoutRemove, state: Layouts) -> tuple[Event, ...]:
    """Removes every pane that may be removed; panes still being created stay and hold the layout."""
    layout = state.layouts.get(request.layout_id)
    if layout is None:
        raise Rejection("managed_layout_not_found", f"no layout {request.layout_id}", layout_id=request.layout_id)
    standing = [pane for pane in state.panes_of(layout.layout_id) if pane.state is not PaneState.REMOVED]
    removable = [pane for pane in standing if pane.state is not PaneState.CREATING]
    if standing and not removable:
        raise illegal_transition(standing[0], "remove")
    return tuple(event for pane in removable for event in (*cancelled(pane), *removed(pane)))


def remove_pane(request: c.PaneRemove, state: Layouts, agents: Agents) -> tuple[Event, ...]:
    pane = known_pane(request.pane_id, state, agents)
    if pane.state is PaneState.REMOVED:
        return ()
    if pane.state is PaneState.CREATING:
        raise illegal_transition(pane, "remove")
    return (*cancelled(pane), *removed(pane))


def recreate_pane(
    request: c.PaneRecreate, facts: Facts, state: Layouts, containers: Container[str], agents: Agents
) -> tuple[Event, ...]:
    if replayed(request, state) is not None:
        return ()
    if request.launch_command_override is not None:
        check_identifier("launch_command_override", request.launch_command_override)
    source = known_pane(request.predecessor_pane_id, state, agents)
    return (*cancelled(source), *_recreated(source, request, facts, state, containers, agents))


def restart_pane(
    request: c.PaneRecreate, facts: Facts, state: Layouts, containers: Container[str], agents: Agents
) -> tuple[Event, ...]:
    """The policy's own recreation, after its own removal: nothing once the restart was cancelled or done."""
    source = known_pane(request.predecessor_pane_id, state, agents)
    if not source.restart_open or source.state is not PaneState.REMOVED:
        return ()
    return _recreated(source, request, facts, state, containers, agents)


def _recreated(
    source: Pane, request: c.PaneRecreate, facts: Facts, state: Layouts, containers: Container[str], agents: Agents
) -> tuple[Event, ...]:
    check_recreate_source(source, state)
    check_container_known(source.container_id, containers)
    profile = request.launch_command_override or source.launch_profile
    digest = profile_digest(profile, facts)
    layout = state.layouts[source.layout_id]
    check_session_free(layout.container_id, layout.tmux_session_name, layout.layout_id, None, state)
    check_labels_free(source.container_id, (source.label,), state, agents)
    if layout.state is PaneState.REMOVED:
        check_capacity(state)

    return successor(
        source,
        pane_id=facts.ids[0],
        profile=profile,
        digest=digest,
        at=facts.at,
        idempotency_key=request.idempotency_key,
    )


def replayed(request: c.LayoutCreate | c.PaneRecreate, state: Layouts) -> str | None:
    """The layout or pane that an earlier request with the same idempotency key made; None for a new key."""
    if request.idempotency_key is None:
        return None
    check_identifier("idempotency_key", request.idempotency_key)
    if isinstance(request, c.LayoutCreate):
        return state.idempotency.get((request.container_id, "create", request.idempotency_key))
    pane = state.panes.get(request.predecessor_pane_id)
    return None if pane is None else state.idempotency.get((pane.container_id, "recreate", request.idempotency_key))


# --- what follows from the events ----------------------------------------------------------------------------------


def _layout_changes(before: Layouts, events: Sequence[Event]) -> tuple[Event, ...]:
    """`layout.state_changed` for each layout whose aggregate these events moved, in order of first mention."""
    after = before
    touched: dict[str, None] = {}
    for event in events:
        after = evolve(after, event)
        if isinstance(event, e.PaneStateChanged | e.PaneCreated):
            touched[event.layout_id] = None
    return tuple(change for layout_id in touched for change in _layout_change(after.layouts[layout_id], after))


def _layout_change(layout: Layout, after: Layouts) -> tuple[Event, ...]:
    state, stage = aggregate(after.present_panes(layout.layout_id))
    if (state, stage) == (layout.state, layout.failed_stage):
        return ()
    return (e.LayoutStateChanged(layout_id=layout.layout_id, from_=layout.state, to=state, failed_stage=stage),)
