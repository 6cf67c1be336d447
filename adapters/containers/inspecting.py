"""What `inspect` says of containers, as far as the tower wants it. No I/O."""

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

USER_LABEL: Final = "agenttower.user"
SOCKET_LABEL: Final = "agenttower.tmux_socket"

ROOT: Final = "root"


class Inspected(NamedTuple):
    """One container. `user`: whose tmux server is used, by name or number; `tmux_socket`: its label, "" without."""

    container_id: str
    name: str
    image: str
    running: bool
    user: str
    tmux_socket: str
    bench_dir: str | None

    @property
    def known_uid(self) -> int | None:
        """The uid where the user says it; None where only the container knows."""
        name = self.user.partition(":")[0]
        if name == ROOT:
            return 0
        return int(name) if name.isascii() and name.isdigit() else None


def read_inspected(output: bytes, bench: Path) -> tuple[Inspected, ...]:
    """All containers of an answer. `bench`: the tower's bench folder. Raises `ValueError`."""
    try:
        found = msgspec.json.decode(output, type=list[dict[str, Any]])
        # The pause process of a pod is no container that anybody works in.
        return tuple(_inspected(each, str(bench)) for each in found if not each.get("IsInfra"))
    except (msgspec.MsgspecError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"inspect printed what is no list of containers: {error}") from error


def _inspected(found: Mapping[str, Any], bench: str) -> Inspected:
    config, labels = found["Config"], found["Config"].get("Labels") or {}
    state = found["State"]
    socket = str(labels.get(SOCKET_LABEL) or "")
    return Inspected(
        container_id=str(found["Id"]),
        name=str(found["Name"]).removeprefix("/"),
        image=str(config.get("Image") or found.get("ImageName") or ""),
        # Of a paused container docker says that it is running, podman that it is not.
        running=bool(state.get("Running")) or state.get("Status") == "paused",
        user=str(labels.get(USER_LABEL) or config.get("User") or ROOT),
        tmux_socket=socket if posixpath.isabs(socket) else "",
        bench_dir=_bench_dir(found.get("Mounts") or (), bench),
    )


def _bench_dir(mounts: Sequence[Mapping[str, Any]], bench: str) -> str | None:
    """Where the bench folder is mounted so that pane logs can be written: all of it, or its `logs` alone."""
    written = {str(each.get("Source")): str(each["Destination"]) for each in mounts if each.get("RW", True)}
    logs = posixpath.normpath(written.get(f"{bench}/logs", "/"))
    if posixpath.basename(logs) == "logs":
        return posixpath.dirname(logs)
    return posixpath.normpath(written[bench]) if bench in written else None
