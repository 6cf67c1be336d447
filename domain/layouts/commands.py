"""What can be asked of layouts and panes.

The first group is asked by people and tools. The second is the tower's own: what the spawn pipeline, the watcher, the
sweep and recovery saw, sent back as commands so that every outcome becomes an event. No door takes the second group.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from domain.messages import Request

Id = Annotated[str, Meta(max_length=128)]
"""Of a container, layout or pane. A refusal repeats what was asked for, so that is bounded."""

Name = Annotated[str, Meta(max_length=128)]
Path = Annotated[str, Meta(max_length=4096, pattern=r"^[^\u0000]*$")]
"""What the kernel takes at all."""


class LayoutCreate(Request, frozen=True):
    """`launch_command_overrides`: `"<role>:<label>"` of a slot (n counted from 1) -> launch profile."""

    container_id: Id
    template_name: Name
    tmux_session_name: Name
    launch_command_overrides: Annotated[Mapping[Name, Name], Meta(max_length=64)] = {}
    working_dir: Path | None = None
    idempotency_key: Name | None = None


class LayoutRemove(Request, frozen=True):
    layout_id: Id


class LayoutRestore(Request, frozen=True):
    """Make every pane anew that is failed by `recovery_reattach` or `pane_vanished`, in its old place."""

    layout_id: Id


class PaneRemove(Request, frozen=True):
    pane_id: Id


class PaneRecreate(Request, frozen=True):
    predecessor_pane_id: Id
    launch_command_override: Name | None = None
    idempotency_key: Name | None = None


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
    """What tmux of a container showed at start: `present_pane_ids` by user option; every other live pane is gone.

    `layout_ids` are the layouts that it is said of, None for all of the container's.
    """

    container_id: str
    present_pane_ids: tuple[str, ...]
    layout_ids: tuple[str, ...] | None = None
