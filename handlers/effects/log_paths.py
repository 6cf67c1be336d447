"""Where pane logs stand: derived from ids, never from operator text."""

from collections.abc import Callable

import msgspec

from domain.containers import ContainerFacts
from domain.messages import HOST

BENCH_LOGS = "logs/panes"
"""The folder of pane logs below the bench folder."""


class LogPath(msgspec.Struct, frozen=True):
    """`written` is where the pane's own machine writes; `read` where the log is read on this one, if it is there."""

    written: str
    read: str


class LogPaths:
    """On this machine in `folder`. A container writes into the bench folder where that is mounted, `bench` on this
    machine; elsewhere into a folder of its own, and the log is read there. `known` gives the registered containers.
    """

    def __init__(self, *, folder: str, bench: str, known: Callable[[str], ContainerFacts | None]) -> None:
        self._folder = folder
        self._bench = bench
        self._known = known

    def of(self, container_id: str, pane_id: str) -> LogPath:
        container = self._known(container_id) if container_id != HOST else None
        if container is None:
            path = f"{self._folder}/{pane_id}.log"
            return LogPath(path, path)
        if container.bench_dir is not None:
            below = f"{BENCH_LOGS}/{pane_id}.log"
            return LogPath(f"{container.bench_dir}/{below}", f"{self._bench}/{below}")
        path = f"/tmp/agenttower-{container.uid or 0}/logs/{pane_id}.log"  # noqa: S108, in the container, 0700
        return LogPath(path, path)
