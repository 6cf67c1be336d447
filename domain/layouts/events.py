"""Events of layouts and panes. Names and fields are the stored form; a change is a new version with an upcaster."""

from datetime import datetime
from enum import StrEnum

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


class LayoutCreated(Event, frozen=True):
    layout_id: str
    container_id: str
    template_name: str
    tmux_session_name: str
    panes: tuple[LayoutPane, ...]
    working_dir_digest: str | None = None
    idempotency_key: str | None = None
    origin: str = "managed"


class LayoutStateChanged(Event, frozen=True):
    """`failed_stage` is the first failed pane's, null unless `to` is failed."""

    layout_id: str
    from_: PaneState
    to: PaneState
    failed_stage: Stage | None = None
    origin: str = "managed"


class LayoutRecoveryReattached(Event, frozen=True):
    layout_id: str
    pane_ids: tuple[str, ...]
    origin: str = "managed"


class LayoutRecoveryFailed(Event, frozen=True):
    layout_id: str
    pane_ids: tuple[str, ...]
    origin: str = "managed"


class PaneCreated(Event, frozen=True):
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
    predecessor_id: str | None = None
    chain_depth: int = 0
    origin: str = "managed"


class PanePendingMarkerSet(Event, frozen=True):
    pane_id: str
    layout_id: str
    marker: str
    set_at: datetime
    origin: str = "managed"


class PanePendingMarkerCleared(Event, frozen=True):
    pane_id: str
    layout_id: str
    origin: str = "managed"


class PaneSpawned(Event, frozen=True):
    """The pane stands in tmux: `tmux_pane_id` as `%12`, `pid` of its first process."""

    pane_id: str
    layout_id: str
    tmux_pane_id: str
    pid: int
    tmux_pane_index: int
    origin: str = "managed"


class PaneLaunchSettled(Event, frozen=True):
    """The launch command was alive `elapsed_ms` after the pane was spawned."""

    pane_id: str
    layout_id: str
    elapsed_ms: int
    origin: str = "managed"


class PaneLaunchCommandExited(Event, frozen=True):
    pane_id: str
    layout_id: str
    exit_code: int | None
    elapsed_ms: int
    signal: int | None = None
    origin: str = "managed"


class PaneRegistered(Event, frozen=True):
    pane_id: str
    layout_id: str
    agent_id: str
    origin: str = "managed"


class PaneLogAttached(Event, frozen=True):
    pane_id: str
    layout_id: str
    path: str
    origin: str = "managed"


class PaneLogAttachFailed(Event, frozen=True):
    pane_id: str
    layout_id: str
    reason: str
    origin: str = "managed"


class PaneStateChanged(Event, frozen=True):
    """One row of the transition table. `reason` is a short word for people, e.g. `profile_changed`."""

    pane_id: str
    layout_id: str
    from_: PaneState
    to: PaneState
    failed_stage: Stage | None = None
    reason: str | None = None
    origin: str = "managed"


class PaneProcessExited(Event, frozen=True):
    """The process of a running pane ended: `exit_code`, or `signal` when one ended it; both None when tmux lost it."""

    pane_id: str
    layout_id: str
    exit_code: int | None = None
    signal: int | None = None
    origin: str = "managed"


class PaneRemoved(Event, frozen=True):
    pane_id: str
    layout_id: str
    tmux_pane_id: str | None
    origin: str = "managed"


class PaneCleanupFailed(Event, frozen=True):
    """What a removal could not clean up in tmux; the pane is removed all the same. `stage` is `tmux_kill`."""

    pane_id: str
    layout_id: str
    stage: Stage
    reason: str
    origin: str = "managed"


class PaneRecreated(Event, frozen=True):
    """Recorded on the new pane."""

    pane_id: str
    layout_id: str
    predecessor_id: str
    chain_depth: int
    idempotency_key: str | None = None
    origin: str = "managed"
