"""The containers registry: which bench containers the engine has, and what a scan found in them.

A scan is asked for, done by an effect, and recorded: `container.scan` -> `container.scan_requested`, then
`container.record_found` -> `container.registered`, `container.gone`, then `container.record_scan` ->
`container.scanned`. The machine itself is `host`, known without a scan.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from immutables import Map

from domain.messages import HOST, ORIGIN_PATTERN, Event, Facts, Request

CHANGES_AT_ONCE: Final = 400
"""Changes of the registry in one decision, at most; what is more waits for the next record of what was found."""

# --- what is asked -------------------------------------------------------------------------------------------------


class ContainerScan(Request, frozen=True):
    """Look which containers there are; the operator's alone."""


class ContainerFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One container as the engine knows it.

    `container_id`: 64 hex digits. `uid` and `user`: whose tmux server is used, None and "" while that is not known (a
    container that never ran). `tmux_socket`: its path inside. `bench_dir`: where the tower's bench folder is mounted
    inside, None where it is not.
    """

    container_id: str
    name: str
    image: str = ""
    running: bool = True
    uid: int | None = None
    user: str = ""
    tmux_socket: str = ""
    bench_dir: str | None = None


class UnmanagedPane(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pane that is not the tower's, as listed; `title` and `command` are cut to 200 characters."""

    container_id: str
    tmux_pane_id: str
    session_name: str
    window_index: int
    pane_index: int
    pid: int
    command: str
    title: str


class ContainerRecordFound(Request, frozen=True):
    """Every container that the engine knows, stopped ones included: one that is not among them is gone."""

    containers: tuple[ContainerFacts, ...]


class ContainerRecordScan(Request, frozen=True):
    """The end of a requested scan. `listed`: the containers whose panes were listed, `unmanaged` among them.

    `reason` says what could not be looked at.
    """

    scan_id: str
    listed: tuple[str, ...] = ()
    unmanaged: tuple[UnmanagedPane, ...] = ()
    reason: str | None = None


# --- what happened -------------------------------------------------------------------------------------------------


class ContainerScanRequested(Event, frozen=True):
    scan_id: str


class ContainerRegistered(Event, frozen=True):
    """A container was seen for the first time, or is not as it was; the fields of `ContainerFacts`."""

    container_id: str
    name: str
    image: str
    running: bool
    uid: int | None
    user: str
    tmux_socket: str
    bench_dir: str | None


class ContainerGone(Event, frozen=True):
    """The engine does not know it any more."""

    container_id: str
    name: str


class ContainerScanned(Event, frozen=True):
    """The end of a requested scan. `container_ids` are the registered ones after it, `listed` those of them whose tmux
    panes were listed: `unmanaged` are all panes there that are not the tower's. `reason`: what could not be looked at.
    """

    scan_id: str
    container_ids: tuple[str, ...]
    listed: tuple[str, ...]
    unmanaged: tuple[UnmanagedPane, ...]
    reason: str | None = None


# --- state ---------------------------------------------------------------------------------------------------------


class Containers(msgspec.Struct, frozen=True, kw_only=True):
    """`known`: by id, the machine itself among them. `open_scans`: asked for and not recorded."""

    known: Map[str, ContainerFacts] = Map({HOST: ContainerFacts(container_id=HOST, name=HOST)})
    open_scans: Map[str, None] = Map()


def knowing(container_ids: Iterable[str]) -> Containers:
    """A registry of plain running containers with these ids."""
    return Containers(known=Map({each: ContainerFacts(container_id=each, name=each[:12]) for each in container_ids}))


def evolve(state: Containers, event: Event) -> Containers:
    match event:
        case ContainerScanRequested():
            return msgspec.structs.replace(state, open_scans=state.open_scans.set(event.scan_id, None))
        case ContainerScanned() if event.scan_id in state.open_scans:
            return msgspec.structs.replace(state, open_scans=state.open_scans.delete(event.scan_id))
        case ContainerRegistered():
            facts = ContainerFacts(**_fields(event))
            return msgspec.structs.replace(state, known=state.known.set(event.container_id, facts))
        case ContainerGone() if event.container_id in state.known:
            return msgspec.structs.replace(state, known=state.known.delete(event.container_id))
        case _:
            return state


# --- rules ---------------------------------------------------------------------------------------------------------


def scan(facts: Facts) -> tuple[Event, ...]:
    return (ContainerScanRequested(scan_id=facts.ids[0]),)


def record_found(request: ContainerRecordFound, state: Containers) -> tuple[Event, ...]:
    """What changed, `CHANGES_AT_ONCE` at most: new and changed containers first. An id that is none is passed over."""
    found = {each.container_id: each for each in request.containers if _is_container_id(each.container_id)}
    changed = [
        ContainerRegistered(**_fields(each))
        for container_id, each in found.items()
        if state.known.get(container_id) != each
    ]
    gone = [
        ContainerGone(container_id=container_id, name=known.name)
        for container_id, known in sorted(state.known.items())
        if container_id not in found and container_id != HOST
    ]
    return tuple([*changed, *gone][:CHANGES_AT_ONCE])


def record_scan(request: ContainerRecordScan, state: Containers) -> tuple[Event, ...]:
    """Nothing for a scan that nobody asked for or that was recorded before. A container that went meanwhile is left
    out."""
    if request.scan_id not in state.open_scans:
        return ()
    scanned = ContainerScanned(
        scan_id=request.scan_id,
        container_ids=tuple(sorted(state.known)),
        listed=tuple(each for each in request.listed if each in state.known),
        unmanaged=tuple(pane for pane in request.unmanaged if pane.container_id in state.known),
        reason=request.reason,
    )
    return (scanned,)


def _is_container_id(text: str) -> bool:
    return text != HOST and ORIGIN_PATTERN.match(text) is not None


def _fields(container: ContainerFacts | ContainerRegistered) -> dict[str, Any]:
    return msgspec.structs.asdict(container)
