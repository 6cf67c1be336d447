"""What the tower saw itself: the spawn pipeline, the watcher, the sweep, recovery.

Nothing here is refused: a report that the state has overtaken gives `()`.
"""

from datetime import timedelta
from itertools import islice
from typing import Any, Final, assert_never

from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.guards import moved
from domain.layouts.restarts import after_exit, after_loss, cancelled
from domain.layouts.state import Layouts, Pane, PaneState, Stage
from domain.messages import Event, Facts

STALE_MARKER: Final = timedelta(minutes=5)

AT_ONCE: Final = 400
"""Panes that one decision moves, at most: an append has its limit."""

PaneReport = (
    c.PaneRecordSpawned
    | c.PaneRecordLaunchSettled
    | c.PaneRecordLaunchExited
    | c.PaneRegister
    | c.PaneRecordLogAttached
    | c.PaneRecordLogFailed
    | c.PaneFail
    | c.PaneRecordExited
    | c.PaneRecordVanished
    | c.PaneRecordCleanupFailed
)
Reported = PaneReport | c.PaneSweep | c.ContainerRecover


def report(request: PaneReport, facts: Facts, state: Layouts) -> tuple[Event, ...]:
    """What the pipeline or the watcher saw of one pane."""
    pane = state.panes.get(request.pane_id)
    if pane is None:
        return ()
    this: dict[str, Any] = {"pane_id": pane.pane_id, "layout_id": pane.layout_id}
    match request:
        case c.PaneRecordSpawned():
            if pane.state is not PaneState.CREATING or pane.tmux_pane_id is not None:
                return ()
            return (
                e.PaneSpawned(
                    **this,
                    tmux_pane_id=request.tmux_pane_id,
                    tmux_pane_index=request.tmux_pane_index,
                    pid=request.pid,
                ),
            )
        case c.PaneRecordLaunchSettled():
            if pane.state is not PaneState.CREATING or pane.next_stage is not Stage.LAUNCH_COMMAND:
                return ()
            return (e.PaneLaunchSettled(**this, elapsed_ms=request.elapsed_ms),)
        case c.PaneRecordLaunchExited():
            return _launch_exited(request, pane, this)
        case c.PaneRegister():
            launch_exited = (pane.state, pane.failed_stage) == (PaneState.DEGRADED, Stage.LAUNCH_COMMAND)
            pending = pane.state is PaneState.CREATING or launch_exited
            if not pending or pane.next_stage is not Stage.REGISTRATION:
                return ()
            return (e.PaneRegistered(**this, agent_id=facts.ids[0]),)
        case c.PaneRecordLogAttached() | c.PaneRecordLogFailed():
            return _log_stage(request, pane, this)
        case c.PaneFail():
            if pane.state is not PaneState.CREATING:
                return ()
            return (moved(pane, PaneState.FAILED, Stage(request.stage), request.reason),)
        case c.PaneRecordExited():
            if pane.state is not PaneState.READY:
                return ()
            exited = e.PaneProcessExited(**this, exit_code=request.exit_code, signal=request.signal)
            degraded = moved(pane, PaneState.DEGRADED, Stage.PROCESS_EXITED)
            return (exited, degraded, *after_exit(pane, request.exit_code, facts))
        case c.PaneRecordVanished():
            if not pane.live:
                return ()
            return (moved(pane, PaneState.FAILED, Stage.PANE_VANISHED), *after_loss(pane, facts))
        case c.PaneRecordCleanupFailed():
            return (e.PaneCleanupFailed(**this, stage=Stage.TMUX_KILL, reason=request.reason),)
        case _:
            assert_never(request)


def _launch_exited(request: c.PaneRecordLaunchExited, pane: Pane, this: dict[str, Any]) -> tuple[Event, ...]:
    if pane.state is not PaneState.CREATING or pane.next_stage is not Stage.LAUNCH_COMMAND:
        return ()
    exited = e.PaneLaunchCommandExited(
        **this, exit_code=request.exit_code, signal=request.signal, elapsed_ms=request.elapsed_ms
    )
    return (exited, moved(pane, PaneState.DEGRADED, Stage.LAUNCH_COMMAND))


def _log_stage(
    request: c.PaneRecordLogAttached | c.PaneRecordLogFailed, pane: Pane, this: dict[str, Any]
) -> tuple[Event, ...]:
    """The last stage: the pane is pending no more. A launch that exited stays degraded at `launch_command`."""
    if pane.marker is None or not pane.live or pane.next_stage is not Stage.LOG_ATTACH:
        return ()
    attached = isinstance(request, c.PaneRecordLogAttached)
    outcome: Event
    if isinstance(request, c.PaneRecordLogAttached):
        outcome = e.PaneLogAttached(**this, path=request.path)
    else:
        outcome = e.PaneLogAttachFailed(**this, reason=request.reason)
    events = (outcome, e.PanePendingMarkerCleared(**this))
    if pane.state is not PaneState.CREATING:
        return events
    if attached:
        return (*events, moved(pane, PaneState.READY))
    return (*events, moved(pane, PaneState.DEGRADED, Stage.LOG_ATTACH))


def sweep(facts: Facts, state: Layouts) -> tuple[Event, ...]:
    """`AT_ONCE` panes at most: the next sweep takes the rest."""
    panes = (pane for layout_id in sorted(state.open_layouts) for pane in state.panes_of(layout_id))
    stale = islice((pane for pane in panes if _stale(pane, facts)), AT_ONCE)
    return tuple(moved(pane, PaneState.FAILED, pane.next_stage, "stale pending marker") for pane in stale)


def recover_container(request: c.ContainerRecover, facts: Facts, state: Layouts) -> tuple[Event, ...]:
    """Reattach what stands in tmux, fail what is gone or pending for too long.

    A pane that was never spawned and whose marker is fresh is neither: the pipeline goes on with it.
    """
    present = set(request.present_pane_ids)
    events: list[Event] = []
    for layout_id in sorted(state.open_layouts):
        if state.layouts[layout_id].container_id != request.container_id:
            continue
        if request.layout_ids is not None and layout_id not in request.layout_ids:
            continue
        live = [pane for pane in state.panes_of(layout_id) if pane.live]
        unspawned = {p.pane_id for p in live if p.tmux_pane_id is None and p.state is PaneState.CREATING}
        gone = [p for p in live if _stale(p, facts) or p.pane_id not in present | unspawned]
        kept = tuple(p.pane_id for p in live if p not in gone and p.pane_id in present)
        for pane in gone:
            events += (moved(pane, PaneState.FAILED, Stage.RECOVERY_REATTACH), *cancelled(pane))
        if gone:
            events.append(e.LayoutRecoveryFailed(layout_id=layout_id, pane_ids=tuple(p.pane_id for p in gone)))
        if kept:
            events.append(e.LayoutRecoveryReattached(layout_id=layout_id, pane_ids=kept))
    return tuple(events)


def lost_with(container_id: str, state: Layouts) -> tuple[Event, ...]:
    """Every live pane of a container that is gone. There is nothing to restart them in."""
    layouts = (state.layouts[layout_id] for layout_id in sorted(state.open_layouts))
    here = (layout.layout_id for layout in layouts if layout.container_id == container_id)
    panes = (pane for layout_id in here for pane in state.panes_of(layout_id))
    return tuple(moved(pane, PaneState.FAILED, Stage.PANE_VANISHED, "container gone") for pane in panes if pane.live)


def _stale(pane: Pane, facts: Facts) -> bool:
    return (
        pane.state is PaneState.CREATING
        and pane.marker_set_at is not None
        and facts.at - pane.marker_set_at >= STALE_MARKER
    )
