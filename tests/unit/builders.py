"""Events and facts with fixed ids, times and digests, so that a test shows only what it is about.

The layout `L` has the panes `L-m1`, `L-s1`, …: a pane's id is its layout's and its label. Every builder gives the
events that the design asks for, written down here a second time and not taken from the code under test.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from domain.agents.commands import AgentAdopt
from domain.agents.events import AgentAdopted, AgentGone, AgentReported, Gone
from domain.containers import ContainerFacts, ContainerGone, ContainerRegistered, UnmanagedPane
from domain.layouts import events as e
from domain.layouts.commands import LayoutCreate, PaneRecreate
from domain.layouts.events import PaneState, Stage
from domain.layouts.templates import BUILT_IN
from domain.messages import HOST, Event, Facts, PaneSlot, Template, TmuxPane

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
BENCH = "b" * 64
OTHER_BENCH = "c" * 64

MASTER = PaneSlot(role="master", capability="orchestrator", label="m{n}")
TEMPLATES: Mapping[str, Template] = {
    **BUILT_IN,
    "solo": Template(name="solo", panes=(MASTER,)),
    "lead": Template(
        name="lead",
        panes=(PaneSlot(role="master", capability="plan", label="lead", launch="claude", restart="on_failure"),),
    ),
}
PROFILES: Mapping[str, str] = {"claude": "digest-of-claude", "shell": "digest-of-shell"}
KNOWN_TEMPLATES = ["1m+2s", "2m+2s", "lead", "solo"]
KNOWN_PROFILES = ["claude", "shell"]


def facts(
    *ids: str,
    after: timedelta = timedelta(),
    sessions: Iterable[str] | None = None,
    panes: Iterable[TmuxPane] | None = None,
    templates: Mapping[str, Template] = TEMPLATES,
    profiles: Mapping[str, str] = PROFILES,
    working_dir_digest: str | None = None,
    text_digest: str | None = None,
) -> Facts:
    """`after` is counted from AT; `sessions` and `panes` are those that tmux shows, None when it could not be asked."""
    return Facts(
        at=AT + after,
        ids=ids,
        templates=templates,
        profiles=profiles,
        tmux_sessions=None if sessions is None else frozenset(sessions),
        tmux_panes=None if panes is None else tuple(panes),
        working_dir_digest=working_dir_digest,
        text_digest=text_digest,
    )


# --- requests ------------------------------------------------------------------------------------------------------


def create(
    template: str = "solo",
    session: str = "work",
    *,
    container: str = HOST,
    key: str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> LayoutCreate:
    return LayoutCreate(
        container_id=container,
        template_name=template,
        tmux_session_name=session,
        launch_command_overrides=overrides or {},
        idempotency_key=key,
    )


def recreate(pane_id: str, *, key: str | None = None, override: str | None = None) -> PaneRecreate:
    return PaneRecreate(predecessor_pane_id=pane_id, launch_command_override=override, idempotency_key=key)


def adopt(
    tmux_pane_id: str = "%7",
    label: str = "reviewer",
    *,
    container: str = HOST,
    role: str | None = None,
    capability: str | None = None,
) -> AgentAdopt:
    return AgentAdopt(container_id=container, tmux_pane_id=tmux_pane_id, label=label, role=role, capability=capability)


# --- what has happened ---------------------------------------------------------------------------------------------


def layout(
    layout_id: str = "L",
    *labels: str,
    container: str = HOST,
    session: str | None = None,
    template: str = "solo",
    key: str | None = None,
    profiles: Mapping[str, str] | None = None,
) -> tuple[Event, ...]:
    """A layout just accepted; its only label is m1 if none is named. `profiles`: label -> other than `shell`."""
    panes = tuple(
        _slot(layout_id, slot, label, (profiles or {}).get(label, "shell"), key or layout_id)
        for slot, label in enumerate(labels or ("m1",))
    )
    created = e.LayoutCreated(
        layout_id=layout_id,
        container_id=container,
        template_name=template,
        tmux_session_name=session or f"session-{layout_id}",
        panes=panes,
        idempotency_key=key,
    )
    return (created, *(event for pane in panes for event in _accepted(created, pane)))


def _slot(layout_id: str, slot: int, label: str, profile: str, marker: str) -> e.LayoutPane:
    master = not label.startswith("s")
    return e.LayoutPane(
        pane_id=f"{layout_id}-{label}",
        slot=slot,
        role="master" if master else "slave",
        capability=("orchestrator" if label != "lead" else "plan") if master else "worker",
        label=label,
        launch_profile=profile,
        launch_digest=PROFILES[profile],
        restart="on_failure" if label == "lead" else "never",
        marker=marker,
    )


def _accepted(created: e.LayoutCreated, pane: e.LayoutPane) -> tuple[Event, ...]:
    return (
        e.PaneCreated(
            pane_id=pane.pane_id,
            layout_id=created.layout_id,
            container_id=created.container_id,
            slot=pane.slot,
            role=pane.role,
            capability=pane.capability,
            label=pane.label,
            launch_profile=pane.launch_profile,
            launch_digest=pane.launch_digest,
            restart=pane.restart,
        ),
        marker_set(pane.pane_id, pane.marker),
    )


def recreated(
    predecessor_id: str,
    pane_id: str,
    *,
    depth: int = 1,
    label: str = "m1",
    slot: int = 0,
    container: str = HOST,
    profile: str = "shell",
    key: str | None = None,
) -> tuple[Event, ...]:
    master = not label.startswith("s")
    return (
        e.PaneCreated(
            pane_id=pane_id,
            layout_id=layout_of(pane_id),
            container_id=container,
            slot=slot,
            role="master" if master else "slave",
            capability=("orchestrator" if label != "lead" else "plan") if master else "worker",
            label=label,
            launch_profile=profile,
            launch_digest=PROFILES[profile],
            restart="on_failure" if label == "lead" else "never",
            predecessor_id=predecessor_id,
            chain_depth=depth,
        ),
        e.PaneRecreated(
            pane_id=pane_id,
            layout_id=layout_of(pane_id),
            predecessor_id=predecessor_id,
            chain_depth=depth,
            idempotency_key=key,
        ),
        marker_set(pane_id, key or pane_id),
    )


def layout_of(pane_id: str) -> str:
    return pane_id.rpartition("-")[0]


def marker_set(pane_id: str, marker: str, after: timedelta = timedelta()) -> Event:
    return e.PanePendingMarkerSet(pane_id=pane_id, layout_id=layout_of(pane_id), marker=marker, set_at=AT + after)


def marker_cleared(pane_id: str) -> Event:
    return e.PanePendingMarkerCleared(pane_id=pane_id, layout_id=layout_of(pane_id))


def spawned(pane_id: str) -> Event:
    return e.PaneSpawned(pane_id=pane_id, layout_id=layout_of(pane_id), tmux_pane_id="%1", pid=100, tmux_pane_index=0)


def settled(pane_id: str) -> Event:
    return e.PaneLaunchSettled(pane_id=pane_id, layout_id=layout_of(pane_id), elapsed_ms=500)


def launch_exited(pane_id: str) -> Event:
    return e.PaneLaunchCommandExited(pane_id=pane_id, layout_id=layout_of(pane_id), exit_code=127, elapsed_ms=40)


def registered(pane_id: str) -> Event:
    return e.PaneRegistered(pane_id=pane_id, layout_id=layout_of(pane_id), agent_id=f"agent-{pane_id}")


def log_attached(pane_id: str) -> Event:
    return e.PaneLogAttached(pane_id=pane_id, layout_id=layout_of(pane_id), path=f"{pane_id}.log")


def log_failed(pane_id: str) -> Event:
    return e.PaneLogAttachFailed(pane_id=pane_id, layout_id=layout_of(pane_id), reason="disk full")


def exited(pane_id: str) -> Event:
    return e.PaneProcessExited(pane_id=pane_id, layout_id=layout_of(pane_id), exit_code=1)


def moved(pane_id: str, before: str, after: str, stage: str | None = None, reason: str | None = None) -> Event:
    return e.PaneStateChanged(
        pane_id=pane_id,
        layout_id=layout_of(pane_id),
        from_=PaneState(before),
        to=PaneState(after),
        failed_stage=None if stage is None else Stage(stage),
        reason=reason,
    )


def gone(pane_id: str) -> Event:
    """The pane is removed; it was never spawned."""
    return e.PaneRemoved(pane_id=pane_id, layout_id=layout_of(pane_id), tmux_pane_id=None)


def layout_moved(layout_id: str, before: str, after: str, stage: str | None = None) -> Event:
    return e.LayoutStateChanged(
        layout_id=layout_id,
        from_=PaneState(before),
        to=PaneState(after),
        failed_stage=None if stage is None else Stage(stage),
    )


def ready(*pane_ids: str) -> tuple[Event, ...]:
    """Panes gone through the whole pipeline; their layout's own change is not among it."""
    return tuple(
        event
        for pane_id in pane_ids
        for event in (
            spawned(pane_id),
            settled(pane_id),
            registered(pane_id),
            log_attached(pane_id),
            marker_cleared(pane_id),
            moved(pane_id, "creating", "ready"),
        )
    )


def ready_layout(
    layout_id: str = "L", *labels: str, container: str = HOST, session: str | None = None, key: str | None = None
) -> tuple[Event, ...]:
    return (
        *layout(layout_id, *labels, container=container, session=session, key=key),
        *ready(*(f"{layout_id}-{label}" for label in labels or ("m1",))),
        layout_moved(layout_id, "creating", "ready"),
    )


def failed_layout(
    layout_id: str = "L",
    stage: str = "pane_create",
    *,
    container: str = HOST,
    session: str | None = None,
    key: str | None = None,
) -> tuple[Event, ...]:
    """A layout of one pane, m1, that failed before anything was done."""
    return (
        *layout(layout_id, container=container, session=session, key=key),
        moved(f"{layout_id}-m1", "creating", "failed", stage),
        layout_moved(layout_id, "creating", "failed", stage),
    )


def removed_layout(
    layout_id: str = "L", *, container: str = HOST, session: str | None = None, key: str | None = None
) -> tuple[Event, ...]:
    """A layout of one pane, m1, that failed and was removed."""
    return (
        *failed_layout(layout_id, container=container, session=session, key=key),
        moved(f"{layout_id}-m1", "failed", "removed"),
        gone(f"{layout_id}-m1"),
        layout_moved(layout_id, "failed", "removed"),
    )


# --- agents --------------------------------------------------------------------------------------------------------


def in_tmux(
    tmux_pane_id: str = "%7",
    pid: int = 77,
    *,
    pane_id: str | None = None,
    title: str = "whatever its program says",
    dead: bool = False,
) -> TmuxPane:
    """A pane as tmux lists it; no tower's without `pane_id`."""
    return TmuxPane(tmux_pane_id=tmux_pane_id, pid=pid, session_name="theirs", title=title, dead=dead, pane_id=pane_id)


def adopted(
    agent_id: str = "A",
    label: str = "reviewer",
    *,
    container: str = HOST,
    tmux_pane_id: str = "%7",
    pid: int = 77,
    role: str | None = None,
    capability: str | None = None,
) -> Event:
    return AgentAdopted(
        agent_id=agent_id,
        container_id=container,
        tmux_pane_id=tmux_pane_id,
        pid=pid,
        session_name="theirs",
        label=label,
        role=role,
        capability=capability,
    )


def agent_gone(
    agent_id: str = "A", reason: str = "vanished", *, container: str = HOST, tmux_pane_id: str = "%7"
) -> Event:
    return AgentGone(agent_id=agent_id, container_id=container, tmux_pane_id=tmux_pane_id, reason=Gone(reason))


def reported(pane_id: str, agent_session: str = "a-session", *, agent_id: str | None = None) -> Event:
    return AgentReported(agent_id=agent_id or f"agent-{pane_id}", pane_id=pane_id, agent_session=agent_session)


# --- containers ----------------------------------------------------------------------------------------------------


def bench(container_id: str = BENCH, **changes: Any) -> ContainerFacts:
    """A running container as the engine knows it."""
    return ContainerFacts(container_id=container_id, **{"name": "bench", "image": "bench:local", **changes})


def registered_container(container: ContainerFacts) -> Event:
    return ContainerRegistered(**msgspec.structs.asdict(container))


def gone_container(container_id: str = BENCH, name: str = "bench") -> Event:
    return ContainerGone(container_id=container_id, name=name)


def unmanaged_pane(container_id: str = HOST, tmux_pane_id: str = "%1", **changes: Any) -> UnmanagedPane:
    fields: dict[str, Any] = {"session_name": "mine", "window_index": 0, "pane_index": 0, "pid": 7}
    fields |= {"command": "vim", "title": "notes", **changes}
    return UnmanagedPane(container_id=container_id, tmux_pane_id=tmux_pane_id, **fields)
