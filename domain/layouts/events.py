"""Events of layouts and panes. Names and fields are the stored form; a change is a new version with an upcaster."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from domain.messages import Event


class PaneState(StrEnum):
    """State of a pane; a layout's is one of the same words, made of its panes'."""

    CREATING = "creating"
    READY = "ready"
    DEGRADED = "degraded"
    FAILED = "failed"
    REMOVED = "removed"


class Stage(StrEnum):
    """Where a pane failed. The first four are the stages of the spawn pipeline, in order."""

    PANE_CREATE = "pane_create"
    LAUNCH_COMMAND = "launch_command"
    REGISTRATION = "registration"
    LOG_ATTACH = "log_attach"
    TMUX_KILL = "tmux_kill"
    RECOVERY_REATTACH = "recovery_reattach"
    PROCESS_EXITED = "process_exited"
    PANE_VANISHED = "pane_vanished"


class LayoutPane(msgspec.Struct, frozen=True, kw_only=True):
    """One slot of a layout as created; `marker` is the token of the pending title `@MANAGED:<marker>:<label>`."""

    pane_id: str
    slot: int
    role: str
    capability: str
    label: str
    launch_profile: str
    launch_digest: str
    restart: str
    marker: str


class LayoutEvent(Event, frozen=True, kw_only=True):
    """What all events of a layout carry."""

    layout_id: str
    origin: str = "managed"


class PaneEvent(Event, frozen=True, kw_only=True):
    """What all events of a pane carry."""

    pane_id: str
    layout_id: str
    origin: str = "managed"


class LayoutCreated(LayoutEvent, frozen=True, kw_only=True):
    container_id: str
    template_name: str
    tmux_session_name: str
    panes: tuple[LayoutPane, ...]
    working_dir_digest: str | None = None
    idempotency_key: str | None = None


class LayoutStateChanged(LayoutEvent, frozen=True, kw_only=True):
    """`failed_stage` is the first failed pane's, null unless `to` is failed."""

    from_: PaneState
    to: PaneState
    failed_stage: Stage | None = None


class RestoredPane(msgspec.Struct, frozen=True, kw_only=True):
    """A pane that was made anew, and the one whose place it takes."""

    pane_id: str
    predecessor_id: str
    label: str


class RestoreConflict(msgspec.Struct, frozen=True, kw_only=True):
    """A pane that could not be made anew: the code with which a `pane.recreate` of it would have been rejected."""

    pane_id: str
    label: str
    code: str
    message: str


class LayoutRestored(LayoutEvent, frozen=True, kw_only=True):
    """What became of the layout's lost panes. `chain_too_deep`: those that have no generation left."""

    recreated: tuple[RestoredPane, ...]
    chain_too_deep: tuple[str, ...]
    conflicts: tuple[RestoreConflict, ...]
    state: PaneState


class LayoutRecoveryReattached(LayoutEvent, frozen=True, kw_only=True):
    pane_ids: tuple[str, ...]


class LayoutRecoveryFailed(LayoutEvent, frozen=True, kw_only=True):
    pane_ids: tuple[str, ...]


class PaneCreated(PaneEvent, frozen=True, kw_only=True):
    container_id: str
    slot: int
    role: str
    capability: str
    label: str
    launch_profile: str
    launch_digest: str
    restart: str
    predecessor_id: str | None = None
    chain_depth: int = 0


class PanePendingMarkerSet(PaneEvent, frozen=True, kw_only=True):
    marker: str
    set_at: datetime


class PanePendingMarkerCleared(PaneEvent, frozen=True, kw_only=True):
    """The pane is pending no more: its title is the bare label."""


class PaneSpawned(PaneEvent, frozen=True, kw_only=True):
    """The pane stands in tmux: `tmux_pane_id` as `%12`, `pid` of its first process."""

    tmux_pane_id: str
    pid: int
    tmux_pane_index: int


class PaneLaunchSettled(PaneEvent, frozen=True, kw_only=True):
    """The launch command was alive `elapsed_ms` after the pane was spawned."""

    elapsed_ms: int


class PaneLaunchCommandExited(PaneEvent, frozen=True, kw_only=True):
    exit_code: int | None
    elapsed_ms: int
    signal: int | None = None


class PaneRegistered(PaneEvent, frozen=True, kw_only=True):
    agent_id: str


class PaneLogAttached(PaneEvent, frozen=True, kw_only=True):
    path: str


class PaneLogAttachFailed(PaneEvent, frozen=True, kw_only=True):
    reason: str


class PaneStateChanged(PaneEvent, frozen=True, kw_only=True):
    """One row of the transition table. `reason` is a short word for people, e.g. `profile_changed`."""

    from_: PaneState
    to: PaneState
    failed_stage: Stage | None = None
    reason: str | None = None


class PaneProcessExited(PaneEvent, frozen=True, kw_only=True):
    """The process of a running pane ended: `exit_code`, or `signal` when one ended it; both None when tmux lost it."""

    exit_code: int | None = None
    signal: int | None = None


class PaneRemoved(PaneEvent, frozen=True, kw_only=True):
    tmux_pane_id: str | None


class PaneCleanupFailed(PaneEvent, frozen=True, kw_only=True):
    """What a removal could not clean up in tmux; the pane is removed all the same. `stage` is `tmux_kill`."""

    stage: Stage
    reason: str


class PaneRestartScheduled(PaneEvent, frozen=True, kw_only=True):
    """The restart policy makes the pane anew at `due_at`. `earlier`: its chain's restarts of the last 10 minutes."""

    due_at: datetime
    earlier: tuple[datetime, ...] = ()


class PaneRestartCancelled(PaneEvent, frozen=True, kw_only=True):
    """Somebody removed or recreated the pane before the policy did, or a recovery did not find it."""


RestartEnd = Literal["too_many", "chain_too_deep"]


class PaneRestartGivenUp(PaneEvent, frozen=True, kw_only=True):
    """The restart policy lets the pane rest: 5 restarts in 10 minutes, or a chain without a generation left."""

    reason: RestartEnd


class PaneRecreated(PaneEvent, frozen=True, kw_only=True):
    """Recorded on the new pane."""

    predecessor_id: str
    chain_depth: int
    idempotency_key: str | None = None
