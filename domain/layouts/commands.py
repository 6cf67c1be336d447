"""What can be asked of layouts and panes.

The first group is asked by people and tools. The second is the tower's own: what the spawn pipeline, the watcher, the
sweep and recovery saw, sent back as commands so that every outcome becomes an event. No door takes the second group.
"""

from collections.abc import Mapping
from typing import Literal

from domain.messages import Request


class LayoutCreate(Request, frozen=True):
    """`launch_command_overrides`: `"<role>:<label>"` of a slot (n counted from 1) -> launch profile."""

    container_id: str
    template_name: str
    tmux_session_name: str
    launch_command_overrides: Mapping[str, str] = {}
    working_dir: str | None = None
    idempotency_key: str | None = None


class LayoutRemove(Request, frozen=True):
    layout_id: str


class PaneRemove(Request, frozen=True):
    pane_id: str


class PaneRecreate(Request, frozen=True):
    predecessor_pane_id: str
    launch_command_override: str | None = None
    idempotency_key: str | None = None


class PanePromote(Request, frozen=True, forbid_unknown_fields=False):
    """Reserved: always `not_implemented`."""


PipelineStage = Literal["pane_create", "launch_command", "registration", "log_attach"]


class PaneRecordSpawned(Request, frozen=True):
    pane_id: str
    tmux_pane_id: str
    tmux_pane_index: int
    pid: int


class PaneRecordLaunchSettled(Request, frozen=True):
    pane_id: str
    elapsed_ms: int


class PaneRecordLaunchExited(Request, frozen=True):
    pane_id: str
    elapsed_ms: int
    exit_code: int | None = None
    signal: int | None = None


class PaneRegister(Request, frozen=True):
    pane_id: str


class PaneRecordLogAttached(Request, frozen=True):
    pane_id: str
    path: str


class PaneRecordLogFailed(Request, frozen=True):
    pane_id: str
    reason: str


class PaneFail(Request, frozen=True):
    """The pipeline gives this pane up at `stage`."""

    pane_id: str
    stage: PipelineStage
    reason: str


class PaneRecordExited(Request, frozen=True):
    pane_id: str
    exit_code: int | None = None
    signal: int | None = None


class PaneRecordVanished(Request, frozen=True):
    pane_id: str


class PaneRecordCleanupFailed(Request, frozen=True):
    pane_id: str
    reason: str


class PaneSweep(Request, frozen=True):
    """Fail every pane whose pending marker is 5 min old or older."""


class ContainerRecover(Request, frozen=True):
    """What tmux of a container showed at start: `present_pane_ids` by user option; every other live pane is gone."""

    container_id: str
    present_pane_ids: tuple[str, ...]
