"""Where pane logs stand, derived from ids and never from operator text, and where a pane finds its tower."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from domain.containers import ContainerFacts
from domain.messages import HOST

BENCH_LOGS: Final = "logs/panes"
"""The folder of pane logs below the bench folder."""

BENCH_SOCKET: Final = "tower.sock"
"""In the bench folder."""


class LogPath(msgspec.Struct, frozen=True):
    """`written` is where the pane's own machine writes; `read` where the log is read on this one, if it is there."""

    written: str
    read: str


class PanePlaces:
    """On this machine in `logs/panes` of `home`. A container writes into the bench folder where that is mounted;
    elsewhere into a folder of its own, and the log is read there. `known` gives the registered containers."""

    def __init__(self, *, home: str, known: Callable[[str], ContainerFacts | None]) -> None:
        self._home = home
        self._known = known

    def tower_of(self, container_id: str) -> Mapping[str, str]:
        """The environment by which programs in a pane find this tower: the CLI above all."""
        container = self._known(container_id) if container_id != HOST else None
        if container is None:
            return {"AGENTTOWER_HOME": self._home}
        if container.bench_dir is None:
            return {}
        return {"AGENTTOWER_SOCKET": f"{container.bench_dir}/{BENCH_SOCKET}"}

    def of(self, container_id: str, pane_id: str) -> LogPath:
        container = self._known(container_id) if container_id != HOST else None
        if container is None:
            path = f"{self._home}/logs/panes/{pane_id}.log"
            return LogPath(path, path)
        if container.bench_dir is not None:
            below = f"{BENCH_LOGS}/{pane_id}.log"
            return LogPath(f"{container.bench_dir}/{below}", f"{self._home}/bench/{below}")
        path = f"/tmp/agenttower-{container.uid or 0}/logs/{pane_id}.log"  # noqa: S108, in the container, 0700
        return LogPath(path, path)
