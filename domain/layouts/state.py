"""State of layouts and panes, the transition table as data, and `evolve`.

`evolve` is total: an event that does not fit the state (odd history) leaves it as it is and never raises.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from immutables import Map

from domain.layouts import events as e
from domain.layouts.events import PaneState, Stage
from domain.messages import Event

_C, _R, _D, _F, _X = PaneState

TRANSITIONS: Final[frozenset[tuple[PaneState, PaneState, Stage | None]]] = frozenset(
    {
        (_C, _R, None),
        (_C, _D, Stage.LAUNCH_COMMAND),
        (_C, _D, Stage.LOG_ATTACH),
        (_C, _F, Stage.PANE_CREATE),
        (_C, _F, Stage.LAUNCH_COMMAND),
        (_C, _F, Stage.REGISTRATION),
        (_C, _F, Stage.LOG_ATTACH),
        *((state, _F, Stage.RECOVERY_REATTACH) for state in (_C, _R, _D)),
        *((state, _F, Stage.PANE_VANISHED) for state in (_C, _R, _D)),
        (_R, _D, Stage.PROCESS_EXITED),
        *((state, _X, None) for state in (_R, _D, _F)),
    }
)
"""Every allowed (from, to, failed_stage). `creating -> failed` at `launch_command` and `log_attach` is the sweep's."""

LIVE: Final = frozenset({_C, _R, _D})
"""States in which a pane is expected to stand in tmux, holds its label and blocks a second recreate."""

CAPACITY: Final = 40
"""Layouts of a node that are not removed, at most."""

MAX_GENERATIONS: Final = 16
"""Panes in one recreate chain, at most: chain depths 0 to 15."""


class Pane(msgspec.Struct, frozen=True, kw_only=True):
    """One pane. `marker` and `marker_set_at` stand while it is pending; stage fields fill as the pipeline goes.

    `restart_due_at`: the restart policy makes it anew then. `restart_count`: how often in a row it did so in its chain,
    `restarts`: when, as far as that counts; both begin anew once a person recreated a pane of the chain.
    """

    pane_id: str
    layout_id: str
    container_id: str
    slot: int
    role: str
    capability: str
    label: str
    launch_profile: str
    launch_digest: str
    restart: str
    state: PaneState = PaneState.CREATING
    failed_stage: Stage | None = None
    marker: str | None = None
    marker_set_at: datetime | None = None
    tmux_pane_id: str | None = None
    tmux_pane_index: int | None = None
    pid: int | None = None
    launch_settled: bool = False
    launch_exited: bool = False
    agent_id: str | None = None
    log_path: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    predecessor_id: str | None = None
    successor_id: str | None = None
    chain_depth: int = 0
    idempotency_key: str | None = None
    restart_count: int = 0
    restart_due_at: datetime | None = None
    restarts: tuple[datetime, ...] = ()
    restart_given_up: e.RestartEnd | None = None

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def restart_open(self) -> bool:
        """The restart policy has it still to do, wholly or the half after the removal."""
        return self.restart_due_at is not None and self.successor_id is None

    @property
    def next_stage(self) -> Stage:
        """The first stage of the pipeline that is not done (LOG_ATTACH when only that is left)."""
        if self.tmux_pane_id is None:
            return Stage.PANE_CREATE
        if not (self.launch_settled or self.launch_exited):
            return Stage.LAUNCH_COMMAND
        if self.agent_id is None:
            return Stage.REGISTRATION
        return Stage.LOG_ATTACH


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One layout. `pane_ids` holds every pane it ever had, in order of creation; `failed_stage` only while failed."""

    layout_id: str
    container_id: str
    template_name: str
    tmux_session_name: str
    pane_ids: tuple[str, ...]
    state: PaneState = PaneState.CREATING
    failed_stage: Stage | None = None
    working_dir_digest: str | None = None
    idempotency_key: str | None = None


class Layouts(msgspec.Struct, frozen=True, kw_only=True):
    """All layouts and panes of a node, with the indexes that the deciders ask.

    `live_labels`: (container, label) -> pane that holds it. `idempotency`: (container, verb, key) -> layout or pane id.
    `open_layouts`: layouts that are not removed.
    """

    layouts: Map[str, Layout] = Map()
    panes: Map[str, Pane] = Map()
    live_labels: Map[tuple[str, str], str] = Map()
    idempotency: Map[tuple[str, str, str], str] = Map()
    open_layouts: Map[str, None] = Map()

    def panes_of(self, layout_id: str) -> tuple[Pane, ...]:
        """Every pane the layout ever had, in order of creation; () for an unknown layout."""
        layout = self.layouts.get(layout_id)
        return () if layout is None else tuple(self.panes[pane_id] for pane_id in layout.pane_ids)

    def present_panes(self, layout_id: str) -> tuple[Pane, ...]:
        """The layout's panes that no successor stands in for, removed ones included, in order of creation."""
        return tuple(pane for pane in self.panes_of(layout_id) if pane.successor_id is None)


def aggregate(panes: tuple[Pane, ...]) -> tuple[PaneState, Stage | None]:
    """The state of a layout with these `present_panes`, and its failed stage."""
    counted = [pane for pane in panes if pane.state is not PaneState.REMOVED]
    if not counted:
        return PaneState.REMOVED, None
    for state in (PaneState.CREATING, PaneState.FAILED, PaneState.DEGRADED):
        for pane in counted:
            if pane.state is state:
                return state, pane.failed_stage if state is PaneState.FAILED else None
    return PaneState.READY, None


def evolve(state: Layouts, event: Event) -> Layouts:
    match event:
        case e.LayoutCreated():
            return _layout_created(state, event)
        case e.LayoutStateChanged():
            return _layout_state_changed(state, event)
        case e.PaneCreated():
            return _pane_created(state, event)
        case e.PaneRecreated():
            return _pane_recreated(state, event)
        case e.PaneStateChanged():
            return _pane_state_changed(state, event)
        case _:
            return _pane_progressed(state, event)


def _layout_created(state: Layouts, event: e.LayoutCreated) -> Layouts:
    if event.layout_id in state.layouts:
        return state
    layout = Layout(
        layout_id=event.layout_id,
        container_id=event.container_id,
        template_name=event.template_name,
        tmux_session_name=event.tmux_session_name,
        pane_ids=(),
        working_dir_digest=event.working_dir_digest,
        idempotency_key=event.idempotency_key,
    )
    idempotency = state.idempotency
    if event.idempotency_key is not None:
        idempotency = idempotency.set((event.container_id, "create", event.idempotency_key), event.layout_id)
    return msgspec.structs.replace(
        state,
        layouts=state.layouts.set(event.layout_id, layout),
        open_layouts=state.open_layouts.set(event.layout_id, None),
        idempotency=idempotency,
    )


def _layout_state_changed(state: Layouts, event: e.LayoutStateChanged) -> Layouts:
    layout = state.layouts.get(event.layout_id)
    if layout is None:
        return state
    changed = msgspec.structs.replace(layout, state=event.to, failed_stage=event.failed_stage)
    open_layouts = state.open_layouts
    if event.to is not PaneState.REMOVED:
        open_layouts = open_layouts.set(event.layout_id, None)
    elif event.layout_id in open_layouts:
        open_layouts = open_layouts.delete(event.layout_id)
    return msgspec.structs.replace(
        state, layouts=state.layouts.set(event.layout_id, changed), open_layouts=open_layouts
    )


def _pane_created(state: Layouts, event: e.PaneCreated) -> Layouts:
    layout = state.layouts.get(event.layout_id)
    if layout is None or event.pane_id in state.panes:
        return state
    pane = Pane(
        pane_id=event.pane_id,
        layout_id=event.layout_id,
        container_id=event.container_id,
        slot=event.slot,
        role=event.role,
        capability=event.capability,
        label=event.label,
        launch_profile=event.launch_profile,
        launch_digest=event.launch_digest,
        restart=event.restart,
        predecessor_id=event.predecessor_id,
        chain_depth=event.chain_depth,
    )
    layout = msgspec.structs.replace(layout, pane_ids=(*layout.pane_ids, event.pane_id))
    return msgspec.structs.replace(
        state,
        layouts=state.layouts.set(event.layout_id, layout),
        panes=state.panes.set(event.pane_id, pane),
        live_labels=state.live_labels.set((event.container_id, event.label), event.pane_id),
    )


def _pane_recreated(state: Layouts, event: e.PaneRecreated) -> Layouts:
    pane, predecessor = state.panes.get(event.pane_id), state.panes.get(event.predecessor_id)
    if pane is None or predecessor is None:
        return state
    made = msgspec.structs.replace(pane, idempotency_key=event.idempotency_key)
    if predecessor.restart_due_at is not None:
        count = predecessor.restart_count + 1
        made = msgspec.structs.replace(made, restarts=predecessor.restarts, restart_count=count)
    superseded = msgspec.structs.replace(predecessor, successor_id=event.pane_id, restart_due_at=None)
    panes = state.panes.set(event.pane_id, made).set(event.predecessor_id, superseded)
    idempotency = state.idempotency
    if event.idempotency_key is not None:
        idempotency = idempotency.set((pane.container_id, "recreate", event.idempotency_key), event.pane_id)
    return msgspec.structs.replace(state, panes=panes, idempotency=idempotency)


def _pane_state_changed(state: Layouts, event: e.PaneStateChanged) -> Layouts:
    pane = state.panes.get(event.pane_id)
    if pane is None:
        return state
    changed = msgspec.structs.replace(pane, state=event.to, failed_stage=event.failed_stage)
    labels = state.live_labels
    held = (pane.container_id, pane.label)
    if event.to not in LIVE and labels.get(held) == pane.pane_id:
        labels = labels.delete(held)
    return msgspec.structs.replace(state, panes=state.panes.set(event.pane_id, changed), live_labels=labels)


def _pane_progressed(state: Layouts, event: Event) -> Layouts:
    """Events that only fill fields of one pane."""
    match event:
        case e.PanePendingMarkerSet():
            fields = {"marker": event.marker, "marker_set_at": event.set_at}
        case e.PanePendingMarkerCleared():
            fields = {"marker": None, "marker_set_at": None}
        case e.PaneSpawned():
            fields = {
                "tmux_pane_id": event.tmux_pane_id,
                "pid": event.pid,
                "tmux_pane_index": event.tmux_pane_index,
            }
        case e.PaneLaunchSettled():
            fields = {"launch_settled": True}
        case e.PaneLaunchCommandExited():
            fields = {"launch_exited": True, "exit_code": event.exit_code, "signal": event.signal}
        case e.PaneRegistered():
            fields = {"agent_id": event.agent_id}
        case e.PaneLogAttached():
            fields = {"log_path": event.path}
        case e.PaneRestartScheduled():
            fields = {"restart_due_at": event.due_at, "restarts": (*event.earlier, event.due_at)}
        case e.PaneRestartCancelled():
            fields = {"restart_due_at": None, "restarts": ()}
        case e.PaneRestartGivenUp():
            fields = {"restart_given_up": event.reason}
        case e.PaneProcessExited():
            fields = {"exit_code": event.exit_code, "signal": event.signal}
        case _:
            return state
    pane = state.panes.get(event.pane_id)
    if pane is None:
        return state
    return msgspec.structs.replace(state, panes=state.panes.set(event.pane_id, _filled(pane, fields)))


def _filled(pane: Pane, fields: Mapping[str, object]) -> Pane:
    return msgspec.structs.replace(pane, **fields)
