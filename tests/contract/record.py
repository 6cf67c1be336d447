"""Recorded samples of every event type: one envelope a file, its bytes as they stand in the log and a newline.

`python -m tests.contract.record` writes a sample for each type and version of the catalogue that has none, out of
EXAMPLES, and adds its digest to `samples/SHA256SUMS`. It never touches a sample that is there: what was recorded once
must be readable for ever.
"""

import hashlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from domain import catalogue
from domain import promises as dp
from domain.agents import events as ae
from domain.bundles import events as b
from domain.containers import (
    ContainerGone,
    ContainerRegistered,
    ContainerScanned,
    ContainerScanRequested,
    UnmanagedPane,
)
from domain.envelope import Envelope, encode, encode_data
from domain.executions import events as x
from domain.layouts import events as e
from domain.layouts.events import PaneState, Stage
from domain.messages import Event
from domain.node import CommandRejected, NodeClaimed, NodeForeignEntriesFound
from domain.sends import PaneSendBegun, PaneSendFailed, PaneSendRequested, PaneTextSent
from domain.sessions import events as s
from tests.contract import background

SAMPLES: Final = Path(__file__).parent / "samples"
SUMS: Final = SAMPLES / "SHA256SUMS"

AT: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
COMMAND: Final = "019b7c3f-5c00-7000-8000-000000000001"
LAYOUT: Final = "019b7c3f-5c00-7000-8000-000000000002"
PANE: Final = "019b7c3f-5c00-7000-8000-000000000003"
SUCCESSOR: Final = "019b7c3f-5c00-7000-8000-000000000004"
SCAN: Final = "019b7c3f-5c00-7000-8000-000000000006"
CONTAINER: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee49046b825dc642cb6eb9a060e54b"
AGENT: Final = "019b7c3f-5c00-7000-8000-000000000005"
SEND: Final = "019b7c3f-5c00-7000-8000-000000000007"
DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

EXECUTION: Final = "019b7c3f-5c00-7000-8000-000000000008"
SESSION: Final = "notebook"

BUNDLE: Final[dict[str, Any]] = {
    "bundle_id": b.bundle_id("/srv/bundles/reviewer"),
    "uri": "/srv/bundles/reviewer",
}
NAMED: Final[dict[str, Any]] = {"name": "reviewer", "version": "1.2.0", "description": "reviews patches"}
FAULT: Final[dict[str, Any]] = {
    "code": "bundle_invalid",
    "message": "/srv/bundles/reviewer/bundle.md:4: tools: expected a list of maps with `module`, not a map",
    "details": {
        "file": "/srv/bundles/reviewer/bundle.md",
        "line": 4,
        "field": "tools",
        "expected": "a list of maps with `module`",
    },
}
CHANGE: Final[dict[str, Any]] = {"change_id": COMMAND, "name": "reviewer"}

CELL: Final[dict[str, Any]] = {"execution_id": EXECUTION, "session_id": SESSION}
END: Final[dict[str, Any]] = {"attempt": 2, "execution_time": 0.25, "output_position": 17}
TURN: Final[dict[str, Any]] = {
    "session_id": SESSION,
    "turn": 2,
    "output": "42",
    "output_digest": DIGEST,
    "output_bytes": 2,
    "transcript_digest": DIGEST,
    "exit_code": 3,
    "execution_time": 0.25,
    "output_position": 17,
    "truncated_bytes": 9,
}
RAISED: Final = x.ExecutionError(
    exception_type="ValueError",
    message="no such thing",
    code="worker_died",
    traceback="Traceback (most recent call last):\n",
    notes=("a note",),
    exit_code=3,
    signal=9,
    last_memory_bytes=4096,
)
THIS: Final[dict[str, Any]] = {"pane_id": PANE, "layout_id": LAYOUT}
SLOT: Final[dict[str, Any]] = {
    "slot": 0,
    "role": "master",
    "capability": "orchestrator",
    "label": "m1",
    "launch_profile": "claude",
    "launch_digest": DIGEST,
    "restart": "on_failure",
}

EXAMPLES: Final[tuple[Event, ...]] = (
    e.LayoutCreated(
        layout_id=LAYOUT,
        container_id="host",
        template_name="1m+2s",
        tmux_session_name="work",
        panes=(e.LayoutPane(pane_id=PANE, marker="first", **SLOT),),
        working_dir_digest=DIGEST,
        idempotency_key="first",
    ),
    e.LayoutStateChanged(
        layout_id=LAYOUT, from_=PaneState.READY, to=PaneState.FAILED, failed_stage=Stage.RECOVERY_REATTACH
    ),
    e.LayoutRecoveryReattached(layout_id=LAYOUT, pane_ids=(PANE,)),
    e.LayoutRecoveryFailed(layout_id=LAYOUT, pane_ids=(PANE, SUCCESSOR)),
    e.PaneCreated(pane_id=SUCCESSOR, layout_id=LAYOUT, container_id="host", predecessor_id=PANE, chain_depth=1, **SLOT),
    e.PanePendingMarkerSet(**THIS, marker="first", set_at=AT),
    e.PanePendingMarkerCleared(**THIS),
    e.PaneSpawned(**THIS, tmux_pane_id="%12", pid=4242, tmux_pane_index=0),
    e.PaneLaunchSettled(**THIS, elapsed_ms=500),
    e.PaneLaunchCommandExited(**THIS, exit_code=127, elapsed_ms=40),
    e.PaneRegistered(**THIS, agent_id=AGENT),
    e.PaneLogAttached(**THIS, path=f"logs/panes/{PANE}.log"),
    e.PaneLogAttachFailed(**THIS, reason="disk full"),
    e.PaneStateChanged(
        **THIS, from_=PaneState.CREATING, to=PaneState.FAILED, failed_stage=Stage.PANE_CREATE, reason="profile_changed"
    ),
    e.PaneProcessExited(**THIS, signal=9),
    e.PaneRemoved(**THIS, tmux_pane_id="%12"),
    e.PaneCleanupFailed(**THIS, stage=Stage.TMUX_KILL, reason="no answer"),
    e.PaneRecreated(pane_id=SUCCESSOR, layout_id=LAYOUT, predecessor_id=PANE, chain_depth=1, idempotency_key="second"),
    ae.AgentAdopted(
        agent_id=AGENT,
        container_id=CONTAINER,
        tmux_pane_id="%7",
        pid=77,
        session_name="dev",
        label="reviewer",
        role="slave",
        capability="review",
    ),
    ae.AgentReported(agent_id=AGENT, pane_id=PANE, agent_session="0b51e0c4-6bd1-4a0d-9c6c-5f0f6a7d9f3e"),
    ae.AgentGone(agent_id=AGENT, container_id=CONTAINER, tmux_pane_id="%7", reason=ae.Gone.EXITED),
    e.LayoutRestored(
        layout_id=LAYOUT,
        recreated=(e.RestoredPane(pane_id=SUCCESSOR, predecessor_id=PANE, label="m1"),),
        chain_too_deep=(AGENT,),
        conflicts=(
            e.RestoreConflict(
                pane_id=SCAN,
                label="s2",
                code="managed_pane_label_conflict",
                message="container host has a live pane with the label 's2'",
            ),
        ),
        state=PaneState.CREATING,
    ),
    e.PaneRestartScheduled(**THIS, due_at=AT, earlier=(AT - timedelta(seconds=9),)),
    e.PaneRestartCancelled(**THIS),
    e.PaneRestartGivenUp(**THIS, reason="too_many"),
    PaneSendRequested(**THIS, send_id=SEND, digest=DIGEST, bytes_=12, enter=True),
    PaneSendBegun(**THIS, send_id=SEND),
    PaneTextSent(**THIS, send_id=SEND, seen=True),
    PaneSendFailed(**THIS, send_id=SEND, reason="interrupted"),
    ContainerScanRequested(scan_id=SCAN),
    ContainerRegistered(
        container_id=CONTAINER,
        name="bench-1",
        image="bench:local",
        running=True,
        uid=1000,
        user="dev",
        tmux_socket="/tmp/tmux-1000/default",
        bench_dir="/run/agenttower",
    ),
    ContainerGone(container_id=CONTAINER, name="bench-1"),
    ContainerScanned(
        scan_id=SCAN,
        container_ids=(CONTAINER, "host"),
        listed=(CONTAINER,),
        unmanaged=(
            UnmanagedPane(
                container_id=CONTAINER,
                tmux_pane_id="%7",
                session_name="dev",
                window_index=1,
                pane_index=0,
                pid=77,
                command="vim",
                title="notes",
            ),
        ),
        reason="container bench-2: paused",
    ),
    NodeClaimed(node="local", instance=AGENT, pid=4242, host="tower-1"),
    NodeForeignEntriesFound(
        node="local",
        position=12,
        last_position=14,
        count=2,
        subject="tower.evt.local.pane.x.y",
        reason="it carries no Tower-Chain header: the tower did not write it",
    ),
    dp.PromiseCreated(promise_id="review-7", owner="host", deadline=AT, data={"question": "Merge it?"}),
    dp.PromiseResolved(promise_id="review-7", value="yes"),
    dp.PromiseRejected(promise_id="review-7", value={"reason": "the branch is gone"}),
    dp.PromiseCancelled(promise_id="review-7", value="not needed"),
    dp.PromiseTimedOut(promise_id="review-7"),
    x.ExecutionRequested(
        **CELL,
        owner="host",
        code="6 * 7",
        timeout_s=30.0,
        idempotency_key="first-cell",
        when_busy="reject",
        retry=x.RetryPolicy(safe=True, max_attempts=3, backoff_s=2.0, then="pause"),
        priority=7,
        concurrency_key="deploy",
        throwaway=True,
        transaction="rollback_on_failure",
    ),
    x.ExecutionStarted(**CELL, attempt=1),
    x.ExecutionCompleted(
        **CELL,
        **END,
        repr="42",
        value=42,
        value_digest=DIGEST,
        value_bytes=2,
        mode="simple_sync",
        truncated=True,
        children=1,
        blocking=("time.sleep",),
    ),
    x.ExecutionFailed(**CELL, **END, error=RAISED, mode="blocking_sync", children=1, blocking=("time.sleep",)),
    x.ExecutionCancelRequested(**CELL, scope="session"),
    x.ExecutionCancelled(**CELL, **END, worker_restarted=True),
    x.ExecutionTimedOut(**CELL, **END, worker_restarted=True, error=RAISED),
    x.ExecutionLost(**CELL, **END),
    x.ExecutionRetryScheduled(**CELL, attempt=1, reason="failed", due=AT, error=RAISED),
    x.ExecutionPaused(**CELL, attempt=3, reason="lost", error=RAISED),
    x.ExecutionResumed(**CELL, attempt=4, due=True),
    x.CapabilityDenied(**CELL, capability="run", reason="the policy allows no commands"),
    x.SessionCheckpointRequested(session_id=SESSION, work_id=SCAN, verify=True),
    x.SessionCheckpointed(
        session_id=SESSION,
        work_id=SCAN,
        digest=DIGEST,
        bytes_=1234,
        names=("answer",),
        skipped=(x.SkippedName(name="lock", reason="cannot pickle '_thread.lock' object"),),
        function_count=1,
        class_count=2,
        after=EXECUTION,
    ),
    x.SessionRestoreRequested(session_id=SESSION, work_id=SCAN, digest=DIGEST, strategy="smart", clear_existing=True),
    x.SessionRestored(
        session_id=SESSION,
        work_id=SCAN,
        digest=DIGEST,
        names=("answer",),
        skipped=(x.SkippedName(name="lock", reason="it cannot be saved"),),
    ),
    x.SessionWorkFailed(session_id=SESSION, work_id=SCAN, work="restore", code="worker_died", reason="signal 9"),
    x.SessionEmitted(**CELL, name="progress", data={"done": 3, "of": 7}),
    x.SessionForked(session_id="what-if", from_session_id=SESSION, digest=DIGEST),
    s.SessionSpawned(
        session_id=SESSION,
        owner="host",
        session_name="reviewer",
        bundle=s.BundleRef(uri="/bundles/reviewer", name="reviewer", version="1.2.0", digest=DIGEST),
        plan_digest=DIGEST,
        runtime="command",
        instruction_digest=DIGEST,
        request_digest=DIGEST[:32],
        parent_session_id="lead",
        background=True,
        timeout_s=600.0,
        deadline=AT,
        depth=2,
        self_depth=1,
        context_digest=DIGEST,
        context_messages=4,
        idempotency_key="first",
        warnings=("./missing.yaml is not there",),
    ),
    s.SessionInstructed(session_id=SESSION, turn=2, instruction_digest=DIGEST, instruction="Review the patch."),
    s.SessionTurnStarted(session_id=SESSION, turn=2),
    s.SessionTurnCompleted(**TURN),
    s.SessionCompleted(
        session_id=SESSION,
        session_name="reviewer",
        bundle_name="reviewer",
        turn_count=2,
        output="42",
        output_digest=DIGEST,
    ),
    s.SessionError(**TURN, error="exit status 3", error_type="exit_status"),
    s.SessionStopRequested(session_id=SESSION, reason="cancelled"),
    s.SessionCancelled(**TURN),
    s.SessionTimedOut(**TURN),
    s.SessionResumed(session_id=SESSION, reason="asked", deadline=AT),
    s.SessionStale(session_id=SESSION, from_digest=DIGEST, to_digest=DIGEST[::-1]),
    s.SessionEnded(session_id=SESSION, reason="cancelled"),
    b.BundleLoaded(**BUNDLE, **NAMED, files=7, warnings=("odd means nothing here and is kept",), load_s=0.004),
    b.BundlePrepared(
        **BUNDLE, name="reviewer", version="1.2.0", digest=DIGEST, reason="start", warnings=("odd",), prepare_s=0.006
    ),
    b.BundlePrepareFailed(**BUNDLE, name="reviewer", **FAULT, reason="start", warnings=(), prepare_s=0.002),
    b.BundleReloadRequested(**BUNDLE, reload_id=COMMAND),
    b.BundleReloaded(
        **BUNDLE,
        **NAMED,
        from_=DIGEST,
        to=DIGEST[::-1],
        reason="requested",
        reload_ids=(COMMAND,),
        warnings=("odd",),
        prepare_s=0.006,
    ),
    b.BundleReloadFailed(
        **BUNDLE,
        name="reviewer",
        serving=DIGEST,
        **FAULT,
        reason="changed",
        reload_ids=(COMMAND,),
        warnings=(),
        prepare_s=0.002,
    ),
    b.BundleOverlayRequested(**BUNDLE, **CHANGE, action="add", include="/etc/bundles/company.yaml"),
    b.BundleOverlayWritten(**BUNDLE, **CHANGE, includes=("/etc/bundles/company.yaml",)),
    b.BundleOverlayFailed(**BUNDLE, **CHANGE, code="bundle_not_found", message="there is no such bundle"),
    *background.EXAMPLES,
    CommandRejected(
        command_id=COMMAND,
        noun="layout",
        verb="create",
        code="managed_layout_capacity_exceeded",
        message="40 layouts stand, 40 may",
        details={"limit": 40, "current_count": 40},
    ),
)
"""One event of every type in today's version, with a value in every field that may have one."""


def envelope_of(event: Event) -> Envelope:
    entry = catalogue.event_type(event)
    return Envelope(
        id=str(uuid5(UUID(COMMAND), entry.wire_name)),
        source="/tower/local",
        type=entry.wire_name,
        subject=catalogue.aggregate_id(event),
        time=AT,
        node="local",
        kind=entry.kind,
        sequence=7,
        actor="host",
        commandid=COMMAND,
        correlationid=COMMAND,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        data=encode_data(event),
    )


def main() -> None:
    for event in EXAMPLES:
        envelope = envelope_of(event)
        folder = SAMPLES / envelope.type
        if any(folder.glob("*.json")):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        sample = folder / "recorded.json"
        payload = encode(envelope) + b"\n"
        sample.write_bytes(payload)
        with SUMS.open("a") as sums:
            sums.write(f"{hashlib.sha256(payload).hexdigest()}  {sample.relative_to(SAMPLES)}\n")
        sys.stdout.write(f"recorded {sample.relative_to(SAMPLES)}\n")


if __name__ == "__main__":
    main()
