"""The guards that layout and pane commands share: each returns what it looked up, or raises its one `Rejection`."""

from collections.abc import Container, Sequence

from domain.agents.state import Agents
from domain.errors import Rejection, protected
from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.labels import slot_names
from domain.layouts.state import CAPACITY, MAX_GENERATIONS, TRANSITIONS, Layouts, Pane, PaneState, Stage
from domain.messages import Event, Facts, Template, check_identifier


def session_key(name: str) -> str:
    """The name that tmux gives a session: it rewrites `.` and `:`."""
    return name.replace(".", "_").replace(":", "_")


def check_container_known(container_id: str, containers: Container[str]) -> None:
    if container_id not in containers:
        raise Rejection("container_not_found", f"no container {container_id} is registered", container_id=container_id)


def check_recreate_source(source: Pane, state: Layouts) -> None:
    current_state = str(source.state)
    if source.successor_id is not None:
        successor = state.panes[source.successor_id]
        if successor.live:
            raise Rejection(
                "managed_pane_concurrent_recreate",
                f"pane {source.pane_id} has been recreated as {successor.pane_id}, which is {successor.state}",
                predecessor_pane_id=source.pane_id,
                in_flight_successor_pane_id=successor.pane_id,
            )
        current_state = "superseded"
    if current_state not in (PaneState.REMOVED, PaneState.FAILED):
        raise Rejection(
            "managed_pane_illegal_recreate_source",
            f"pane {source.pane_id} is {current_state}: only the newest of a chain, removed or failed, is recreated",
            predecessor_pane_id=source.pane_id,
            current_state=current_state,
        )
    if source.chain_depth >= MAX_GENERATIONS - 1:
        raise Rejection(
            "managed_pane_recreate_chain_too_deep",
            f"pane {source.pane_id} is generation {source.chain_depth + 1} of at most {MAX_GENERATIONS}",
            predecessor_pane_id=source.pane_id,
            predecessor_chain_depth=source.chain_depth,
            limit=MAX_GENERATIONS,
        )


def check_override_names(request: c.LayoutCreate) -> None:
    for slot, profile in request.launch_command_overrides.items():
        role, colon, label = slot.partition(":")
        if not colon:
            raise Rejection(
                "validation_failed",
                f"launch_command_overrides: {slot!r} is not <role>:<label>",
                field="launch_command_overrides",
                reason="a key is <role>:<label>",
            )
        for part in (role, label, profile):
            check_identifier("launch_command_overrides", part)


def find_template(name: str, facts: Facts) -> Template:
    template = facts.templates.get(name)
    if template is None:
        raise Rejection(
            "managed_template_not_found",
            f"no template {name!r}",
            template_name=name,
            known_templates=sorted(facts.templates),
        )
    return template


def slot_profiles(request: c.LayoutCreate, template: Template) -> list[str]:
    """The launch profile of each slot, overrides applied."""
    names = slot_names(template)
    for slot in request.launch_command_overrides:
        if slot not in names:
            raise Rejection(
                "validation_failed",
                f"launch_command_overrides: template {template.name} has no slot {slot!r}; it has {', '.join(names)}",
                field="launch_command_overrides",
                reason=f"no slot {slot}; known: {', '.join(names)}",
            )
    return [
        request.launch_command_overrides.get(name, slot.launch)
        for name, slot in zip(names, template.panes, strict=True)
    ]


def profile_digest(name: str, facts: Facts) -> str:
    digest = facts.profiles.get(name)
    if digest is None:
        raise Rejection(
            "managed_launch_command_not_found",
            f"no launch profile {name!r}",
            profile_name=name,
            known_profiles=sorted(facts.profiles),
        )
    return digest


def check_session_free(
    container_id: str, name: str, own_layout_id: str | None, tmux_sessions: frozenset[str] | None, state: Layouts
) -> None:
    key = session_key(name)
    taken = tmux_sessions is not None and key in {session_key(session) for session in tmux_sessions}
    for layout_id in state.open_layouts:
        layout = state.layouts[layout_id]
        if (layout.container_id, session_key(layout.tmux_session_name)) != (container_id, key):
            continue
        taken = taken or (layout_id != own_layout_id and any(pane.live for pane in state.panes_of(layout_id)))
    if taken:
        raise Rejection(
            "managed_session_name_conflict",
            f"container {container_id} has a tmux session {name!r} already",
            container_id=container_id,
            tmux_session_name=name,
        )


def check_labels_free(container_id: str, labels: Sequence[str], state: Layouts, agents: Agents) -> None:
    """Among live panes and adopted agents."""
    seen: set[str] = set()
    for label in labels:
        held = (container_id, label)
        if label in seen or held in state.live_labels or held in agents.labels:
            raise Rejection(
                "managed_pane_label_conflict",
                f"container {container_id} has a live pane or an adopted agent with the label {label!r}",
                container_id=container_id,
                label=label,
            )
        seen.add(label)


def check_capacity(state: Layouts) -> None:
    count = len(state.open_layouts)
    if count >= CAPACITY:
        raise Rejection(
            "managed_layout_capacity_exceeded",
            f"{count} layouts stand, {CAPACITY} may",
            limit=CAPACITY,
            current_count=count,
        )


def known_pane(pane_id: str, state: Layouts, agents: Agents) -> Pane:
    """The managed pane; the id of an adopted agent is refused for what it is."""
    pane = state.panes.get(pane_id)
    if pane is None:
        agent = agents.known.get(pane_id)
        if agent is not None and agent.pane_id is None:
            raise protected(pane_id)
        raise Rejection("managed_pane_not_found", f"no managed pane {pane_id}", pane_id=pane_id)
    return pane


def illegal_transition(pane: Pane, action: str) -> Rejection:
    return Rejection(
        "managed_pane_illegal_transition",
        f"pane {pane.pane_id} is {pane.state}: cannot {action}",
        pane_id=pane.pane_id,
        current_state=str(pane.state),
        requested_action=action,
    )


def removed(pane: Pane) -> tuple[Event, ...]:
    return (
        moved(pane, PaneState.REMOVED),
        e.PaneRemoved(pane_id=pane.pane_id, layout_id=pane.layout_id, tmux_pane_id=pane.tmux_pane_id),
    )


def moved(pane: Pane, to: PaneState, stage: Stage | None = None, reason: str | None = None) -> e.PaneStateChanged:
    if (pane.state, to, stage) not in TRANSITIONS:
        raise AssertionError(f"{pane.state} -> {to} at {stage} is no row of the transition table")
    return e.PaneStateChanged(
        pane_id=pane.pane_id, layout_id=pane.layout_id, from_=pane.state, to=to, failed_stage=stage, reason=reason
    )
