"""The containers registry, and what the last scan found in the tmux server of each: two tables of one projection.

The machine itself has its row from the first claim of the node on. A container that is gone keeps its row.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from domain.containers import ContainerGone, ContainerRegistered, ContainerScanned, UnmanagedPane
from domain.envelope import Recorded
from domain.messages import HOST
from domain.node import NodeClaimed
from projections.projection import Key, Projection, Row, Rows
from projections.tables import indexable, instant, number, optional, read_table, required, storable

RANKS: Final = {"running": 1, "stopped": 2, "gone": 3}
"""State of a container -> its rank, as lists are sorted."""

CONTAINERS: Final = read_table(
    "containers",
    required("id"),
    required("name"),
    required("image"),
    required("state"),
    number("state_rank"),
    number("uid", nullable=True),
    # Plain `user` is the name of the session's user in Postgres.
    required("user_name"),
    required("tmux_socket"),
    optional("bench_dir"),
    number("unmanaged_pane_count", nullable=True),
    optional("scan_id"),
    optional("scanned_at"),
    required("registered_at"),
    required("updated_at"),
    indexes=(("state_rank", "name", "id"),),
)
"""`scan_id`: the last scan that listed its panes, null where none has; `unmanaged_pane_count` is of that scan."""

UNMANAGED_PANES: Final = read_table(
    "unmanaged_panes",
    required("place"),
    required("id"),
    required("container_id"),
    required("scan_id"),
    required("tmux_pane_id"),
    required("session_name"),
    number("window_index"),
    number("pane_index"),
    number("pid"),
    required("command"),
    required("title"),
    required("scanned_at"),
    indexes=(("container_id", "scan_id"),),
)
"""`place`: container and ordinal in its listing, so that the rows of one scan take those of the one before; rows whose
`scan_id` is not their container's are leftovers of a longer listing."""

_HIDDEN: Final = frozenset({"state_rank", "user_name", "place"})


def touched(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    match event:
        case NodeClaimed():
            return ((CONTAINERS.name, HOST),)
        case ContainerRegistered() | ContainerGone():
            return ((CONTAINERS.name, event.container_id),)
        case ContainerScanned():
            containers = ((CONTAINERS.name, container_id) for container_id in event.listed)
            return (*containers, *((UNMANAGED_PANES.name, place) for place, _ in _placed(event)))
        case _:
            return ()


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, instant(recorded.envelope.time)
    match event:
        case NodeClaimed():
            if (CONTAINERS.name, HOST) not in rows:
                host = ContainerRegistered(
                    container_id=HOST,
                    name=HOST,
                    image="",
                    running=True,
                    uid=None,
                    user="",
                    tmux_socket="",
                    bench_dir=None,
                )
                rows[CONTAINERS.name, HOST] = _registered(host, None, at)
        case ContainerRegistered():
            key = (CONTAINERS.name, event.container_id)
            rows[key] = _registered(event, rows.get(key), at)
        case ContainerGone():
            row = rows.get((CONTAINERS.name, event.container_id))
            if row is not None:
                row.update(_unlisted(), state="gone", state_rank=RANKS["gone"], updated_at=at)
        case ContainerScanned():
            _scanned(rows, event, at)
        case _:
            pass


def _registered(event: ContainerRegistered, before: Row | None, at: str) -> Row:
    state = "running" if event.running else "stopped"
    kept = _unlisted() if before is None or not event.running else {name: before[name] for name in _unlisted()}
    return {
        "id": event.container_id,
        "name": indexable(event.name),
        "image": storable(event.image),
        "state": state,
        "state_rank": RANKS[state],
        "uid": event.uid,
        "user_name": storable(event.user),
        "tmux_socket": storable(event.tmux_socket),
        "bench_dir": None if event.bench_dir is None else storable(event.bench_dir),
        **kept,
        "registered_at": at if before is None else before["registered_at"],
        "updated_at": at,
    }


def _unlisted() -> dict[str, Any]:
    return {"unmanaged_pane_count": None, "scan_id": None, "scanned_at": None}


def _scanned(rows: Rows, event: ContainerScanned, at: str) -> None:
    counts = dict.fromkeys(event.listed, 0)
    for place, pane in _placed(event):
        counts[pane.container_id] += 1
        rows[UNMANAGED_PANES.name, place] = {
            "place": place,
            "id": f"{pane.container_id}:{pane.tmux_pane_id}",
            "container_id": pane.container_id,
            "scan_id": event.scan_id,
            "tmux_pane_id": pane.tmux_pane_id,
            "session_name": storable(pane.session_name),
            "window_index": pane.window_index,
            "pane_index": pane.pane_index,
            "pid": pane.pid,
            "command": storable(pane.command),
            "title": storable(pane.title),
            "scanned_at": at,
        }
    for container_id, count in counts.items():
        row = rows.get((CONTAINERS.name, container_id))
        if row is not None:
            row.update(unmanaged_pane_count=count, scan_id=event.scan_id, scanned_at=at)


def _placed(event: ContainerScanned) -> Iterable[tuple[str, UnmanagedPane]]:
    """The panes of listed containers, each with its place."""
    ordinals = dict.fromkeys(event.listed, 0)
    for pane in event.unmanaged:
        if pane.container_id in ordinals:
            yield f"{pane.container_id}:{ordinals[pane.container_id]}", pane
            ordinals[pane.container_id] += 1


def shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of either table as queries show it."""
    item = {name: value for name, value in row.items() if name not in _HIDDEN}
    if "user_name" in row:
        item |= {"user": row["user_name"], "running": row["state"] == "running"}
    return item


PROJECTION: Final = Projection(
    name="containers",
    version=1,
    tables=(CONTAINERS, UNMANAGED_PANES),
    kinds=frozenset({"container", "node"}),
    touched=touched,
    fold=fold,
)
