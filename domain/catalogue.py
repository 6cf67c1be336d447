"""Wire names: event type -> class with its upcasters, `noun.verb` -> request class. No wire name is written elsewhere.

The tables are checked when this module is imported: a wrong registration fails at start, not on replay.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from domain import containers as dc
from domain import node
from domain import promises as dp
from domain import sends as ds
from domain.agents import commands as ac
from domain.agents import events as ae
from domain.background import commands as bgc
from domain.background import events as bge
from domain.bundles import commands as bc
from domain.bundles import events as be
from domain.executions import commands as xc
from domain.executions import events as xe
from domain.layouts import commands as lc
from domain.layouts import events as le
from domain.messages import Event, Request
from domain.registration import EventTable, EventType, RequestType, UndecodableEvent, check
from domain.sessions import commands as sc
from domain.sessions import events as se

__all__ = (
    "EVENTS",
    "REQUESTS",
    "EventType",
    "RequestType",
    "UndecodableEvent",
    "aggregate_id",
    "aggregate_key",
    "decode_event",
    "event_type",
    "request_name",
    "request_type",
)


def _pane(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"pane.{name}", event=event, id_field="pane_id")


def _layout(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"layout.{name}", event=event, id_field="layout_id")


def _promise(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"promise.{name}", event=event, id_field="promise_id")


def _execution(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"execution.{name}", event=event, id_field="execution_id")


def _session(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"session.{name}", event=event, id_field="session_id")


def _bundle(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"bundle.{name}", event=event, id_field="bundle_id")


def _background(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"background.{name}", event=event, id_field="background_id")


def _trigger(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"trigger.{name}", event=event, id_field="trigger_id")


EVENTS: Final = (
    _layout("created", le.LayoutCreated),
    _layout("state_changed", le.LayoutStateChanged),
    _layout("restored", le.LayoutRestored),
    _layout("recovery_reattached", le.LayoutRecoveryReattached),
    _layout("recovery_failed", le.LayoutRecoveryFailed),
    _pane("created", le.PaneCreated),
    _pane("pending_marker_set", le.PanePendingMarkerSet),
    _pane("pending_marker_cleared", le.PanePendingMarkerCleared),
    _pane("spawned", le.PaneSpawned),
    _pane("launch_settled", le.PaneLaunchSettled),
    _pane("launch_command_exited", le.PaneLaunchCommandExited),
    _pane("registered", le.PaneRegistered),
    _pane("log_attached", le.PaneLogAttached),
    _pane("log_attach_failed", le.PaneLogAttachFailed),
    _pane("state_changed", le.PaneStateChanged),
    _pane("process_exited", le.PaneProcessExited),
    _pane("removed", le.PaneRemoved),
    _pane("cleanup_failed", le.PaneCleanupFailed),
    _pane("recreated", le.PaneRecreated),
    EventType(name="agent.adopted", event=ae.AgentAdopted, id_field="agent_id"),
    EventType(name="agent.reported", event=ae.AgentReported, id_field="agent_id"),
    EventType(name="agent.gone", event=ae.AgentGone, id_field="agent_id"),
    _pane("restart_scheduled", le.PaneRestartScheduled),
    _pane("restart_cancelled", le.PaneRestartCancelled),
    _pane("restart_given_up", le.PaneRestartGivenUp),
    _pane("send_requested", ds.PaneSendRequested),
    _pane("send_begun", ds.PaneSendBegun),
    _pane("text_sent", ds.PaneTextSent),
    _pane("send_failed", ds.PaneSendFailed),
    _promise("created", dp.PromiseCreated),
    _promise("resolved", dp.PromiseResolved),
    _promise("rejected", dp.PromiseRejected),
    _promise("cancelled", dp.PromiseCancelled),
    _promise("timed_out", dp.PromiseTimedOut),
    _execution("requested", xe.ExecutionRequested),
    _execution("started", xe.ExecutionStarted),
    _execution("completed", xe.ExecutionCompleted),
    _execution("failed", xe.ExecutionFailed),
    _execution("cancel_requested", xe.ExecutionCancelRequested),
    _execution("cancelled", xe.ExecutionCancelled),
    _execution("timed_out", xe.ExecutionTimedOut),
    _execution("lost", xe.ExecutionLost),
    _execution("retry_scheduled", xe.ExecutionRetryScheduled),
    _execution("paused", xe.ExecutionPaused),
    _execution("resumed", xe.ExecutionResumed),
    EventType(name="capability.denied", event=xe.CapabilityDenied, id_field="execution_id"),
    _session("checkpoint_requested", xe.SessionCheckpointRequested),
    _session("checkpointed", xe.SessionCheckpointed),
    _session("restore_requested", xe.SessionRestoreRequested),
    _session("restored", xe.SessionRestored),
    _session("work_failed", xe.SessionWorkFailed),
    _session("forked", xe.SessionForked),
    _session("emitted", xe.SessionEmitted),
    _session("spawned", se.SessionSpawned),
    _session("instructed", se.SessionInstructed),
    _session("turn_started", se.SessionTurnStarted),
    _session("turn_completed", se.SessionTurnCompleted),
    _session("completed", se.SessionCompleted),
    _session("error", se.SessionError),
    _session("stop_requested", se.SessionStopRequested),
    _session("cancelled", se.SessionCancelled),
    _session("timed_out", se.SessionTimedOut),
    _session("resumed", se.SessionResumed),
    _session("stale", se.SessionStale),
    _session("ended", se.SessionEnded),
    _bundle("loaded", be.BundleLoaded),
    _bundle("prepared", be.BundlePrepared),
    _bundle("prepare_failed", be.BundlePrepareFailed),
    _bundle("reload_requested", be.BundleReloadRequested),
    _bundle("reloaded", be.BundleReloaded),
    _bundle("reload_failed", be.BundleReloadFailed),
    _bundle("overlay_requested", be.BundleOverlayRequested),
    _bundle("overlay_written", be.BundleOverlayWritten),
    _bundle("overlay_failed", be.BundleOverlayFailed),
    _background("declared", bge.BackgroundDeclared),
    _background("starting", bge.BackgroundStarting),
    _background("running", bge.BackgroundRunning),
    _background("failed", bge.BackgroundFailed),
    _background("stopped", bge.BackgroundStopped),
    _background("run_started", bge.BackgroundRunStarted),
    _background("run_ended", bge.BackgroundRunEnded),
    _trigger("fired", bge.TriggerFired),
    _trigger("refused", bge.TriggerRefused),
    _trigger("dropped", bge.TriggerDropped),
    EventType(name="container.scan_requested", event=dc.ContainerScanRequested, id_field="scan_id"),
    EventType(name="container.registered", event=dc.ContainerRegistered, id_field="container_id"),
    EventType(name="container.gone", event=dc.ContainerGone, id_field="container_id"),
    EventType(name="container.scanned", event=dc.ContainerScanned, id_field="scan_id"),
    EventType(name="node.claimed", event=node.NodeClaimed, id_field="node"),
    EventType(name="node.foreign_entries_found", event=node.NodeForeignEntriesFound, id_field="node"),
    EventType(name="command.rejected", event=node.CommandRejected, id_field="command_id"),
)

REQUESTS: Final = (
    RequestType(name="layout.create", request=lc.LayoutCreate),
    RequestType(name="layout.remove", request=lc.LayoutRemove),
    RequestType(name="layout.restore", request=lc.LayoutRestore),
    RequestType(name="pane.remove", request=lc.PaneRemove),
    RequestType(name="pane.recreate", request=lc.PaneRecreate),
    RequestType(name="pane.promote", request=lc.PanePromote),
    RequestType(name="pane.send", request=ds.PaneSend),
    RequestType(name="pane.record_spawned", request=lc.PaneRecordSpawned, internal=True),
    RequestType(name="pane.record_launch_settled", request=lc.PaneRecordLaunchSettled, internal=True),
    RequestType(name="pane.record_launch_exited", request=lc.PaneRecordLaunchExited, internal=True),
    RequestType(name="pane.register", request=lc.PaneRegister, internal=True),
    RequestType(name="pane.record_log_attached", request=lc.PaneRecordLogAttached, internal=True),
    RequestType(name="pane.record_log_failed", request=lc.PaneRecordLogFailed, internal=True),
    RequestType(name="pane.fail", request=lc.PaneFail, internal=True),
    RequestType(name="pane.record_exited", request=lc.PaneRecordExited, internal=True),
    RequestType(name="pane.record_vanished", request=lc.PaneRecordVanished, internal=True),
    RequestType(name="pane.record_cleanup_failed", request=lc.PaneRecordCleanupFailed, internal=True),
    RequestType(name="pane.record_send_begun", request=ds.PaneRecordSendBegun, internal=True),
    RequestType(name="pane.record_text_sent", request=ds.PaneRecordTextSent, internal=True),
    RequestType(name="pane.record_send_failed", request=ds.PaneRecordSendFailed, internal=True),
    RequestType(name="pane.sweep", request=lc.PaneSweep, internal=True),
    RequestType(name="agent.adopt", request=ac.AgentAdopt),
    RequestType(name="agent.report", request=ac.AgentReport),
    RequestType(name="agent.record_gone", request=ac.AgentRecordGone, internal=True),
    RequestType(name="promise.create", request=dp.PromiseCreate),
    RequestType(name="promise.resolve", request=dp.PromiseResolve),
    RequestType(name="promise.reject", request=dp.PromiseReject),
    RequestType(name="promise.cancel", request=dp.PromiseCancel),
    RequestType(name="promise.record_expired", request=dp.PromiseExpire, internal=True),
    RequestType(name="execution.request", request=xc.ExecutionRequest),
    RequestType(name="execution.cancel", request=xc.ExecutionCancel),
    RequestType(name="execution.resume", request=xc.ExecutionResume),
    RequestType(name="execution.answer", request=xc.ExecutionAnswer),
    RequestType(name="execution.record_started", request=xc.ExecutionRecordStarted, internal=True),
    RequestType(name="execution.record_completed", request=xc.ExecutionRecordCompleted, internal=True),
    RequestType(name="execution.record_failed", request=xc.ExecutionRecordFailed, internal=True),
    RequestType(name="execution.record_cancelled", request=xc.ExecutionRecordCancelled, internal=True),
    RequestType(name="execution.record_timed_out", request=xc.ExecutionRecordTimedOut, internal=True),
    RequestType(name="execution.record_lost", request=xc.ExecutionRecordLost, internal=True),
    RequestType(name="execution.record_retry_due", request=xc.ExecutionRecordRetryDue, internal=True),
    RequestType(name="capability.record_denied", request=xc.CapabilityRecordDenied, internal=True),
    RequestType(name="session.checkpoint", request=xc.SessionCheckpoint),
    RequestType(name="session.restore", request=xc.SessionRestore),
    RequestType(name="session.fork", request=xc.SessionFork),
    RequestType(name="session.record_checkpointed", request=xc.SessionRecordCheckpointed, internal=True),
    RequestType(name="session.record_restored", request=xc.SessionRecordRestored, internal=True),
    RequestType(name="session.record_work_failed", request=xc.SessionRecordWorkFailed, internal=True),
    RequestType(name="session.record_emitted", request=xc.SessionRecordEmitted, internal=True),
    RequestType(name="session.spawn", request=sc.SessionSpawn),
    RequestType(name="session.instruct", request=sc.SessionInstruct),
    RequestType(name="session.cancel", request=sc.SessionCancel),
    RequestType(name="session.end", request=sc.SessionEnd),
    RequestType(name="session.resume", request=sc.SessionResume),
    RequestType(name="session.emit", request=sc.SessionEmit),
    RequestType(name="session.record_turn_started", request=sc.SessionRecordTurnStarted, internal=True),
    RequestType(name="session.record_turn_ended", request=sc.SessionRecordTurnEnded, internal=True),
    RequestType(name="session.record_turn_lost", request=sc.SessionRecordTurnLost, internal=True),
    RequestType(name="session.record_timed_out", request=sc.SessionRecordTimedOut, internal=True),
    RequestType(name="session.record_stale", request=sc.SessionRecordStale, internal=True),
    RequestType(name="bundle.reload", request=bc.BundleReload),
    RequestType(name="bundle.overlay_add", request=bc.BundleOverlayAdd),
    RequestType(name="bundle.overlay_remove", request=bc.BundleOverlayRemove),
    RequestType(name="bundle.record_prepared", request=bc.BundleRecordPrepared, internal=True),
    RequestType(name="bundle.record_failed", request=bc.BundleRecordFailed, internal=True),
    RequestType(name="bundle.record_overlay", request=bc.BundleRecordOverlay, internal=True),
    RequestType(name="background.start", request=bgc.BackgroundStart),
    RequestType(name="background.stop", request=bgc.BackgroundStop),
    RequestType(name="background.declare", request=bgc.BackgroundDeclare, internal=True),
    RequestType(name="background.record_running", request=bgc.BackgroundRecordRunning, internal=True),
    RequestType(name="background.record_failed", request=bgc.BackgroundRecordFailed, internal=True),
    RequestType(name="background.record_restart_due", request=bgc.BackgroundRecordRestartDue, internal=True),
    RequestType(name="background.record_run_ended", request=bgc.BackgroundRecordRunEnded, internal=True),
    RequestType(name="trigger.fire", request=bgc.TriggerFire),
    RequestType(name="trigger.record_fired", request=bgc.TriggerRecordFired, internal=True),
    RequestType(name="container.scan", request=dc.ContainerScan),
    RequestType(name="container.record_found", request=dc.ContainerRecordFound, internal=True),
    RequestType(name="container.record_scan", request=dc.ContainerRecordScan, internal=True),
    RequestType(name="container.recover", request=lc.ContainerRecover, internal=True),
    RequestType(name="node.claim", request=node.NodeClaim, internal=True),
    RequestType(name="node.record_foreign", request=node.NodeRecordForeign, internal=True),
)


_EVENTS: Final = EventTable(EVENTS)

check(REQUESTS)

_REQUEST_BY_CLASS: Final[Mapping[type[Request], RequestType]] = {entry.request: entry for entry in REQUESTS}
_REQUEST_BY_NAME: Final[Mapping[str, RequestType]] = {entry.name: entry for entry in REQUESTS}


def event_type(event: Event) -> EventType:
    return _EVENTS.by_class[type(event)]


def aggregate_key(event: Event) -> tuple[str, str]:
    """Kind and id of the aggregate that the event belongs to."""
    entry = event_type(event)
    return entry.kind, getattr(event, entry.id_field)


def aggregate_id(event: Event) -> str:
    return getattr(event, event_type(event).id_field)


def decode_event(wire_name: str, data: bytes | msgspec.Raw) -> Event:
    """The event of a stored type and its JSON data, upcast to today's version. Raises `UndecodableEvent`."""
    return _EVENTS.decode(wire_name, data)


def request_type(name: str) -> RequestType | None:
    """The request of `noun.verb`; None for a name that nobody knows."""
    return _REQUEST_BY_NAME.get(name)


def request_name(request: Request) -> str:
    """`noun.verb` of a request."""
    return _REQUEST_BY_CLASS[type(request)].name
