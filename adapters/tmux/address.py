"""Where a tmux server is and how its `tmux` program is run."""

import os
import posixpath
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapters.tmux.log_pipe import DEFAULT_MAX_BYTES

CONTROL_SESSION_PREFIX = "agenttower-control-"

# tmux makes no folder for a socket that it is named. Images seldom set a locale, and programs in the panes want UTF-8.
_START_IN_CONTAINER = '[ -d "$0" ] || mkdir -p -m 700 -- "$0"; export LANG="${LANG:-C.UTF-8}"; exec "$@"'


def clean_environment() -> dict[str, str]:
    """This process's environment without what a pane must not inherit: the tower's settings, a surrounding tmux."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("AGENTTOWER_") and key not in ("TMUX", "TMUX_PANE")
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One tmux server. `launcher` stands before `tmux` (`docker exec -i ID`); without one it is local.

    `environment` is what the program started here gets, and with it a local server that has to be started and its
    panes; a container's server takes the container's. `shared`: a folder of this machine that the container sees too,
    as the server there names it and as it is named here. `log_max_bytes`: size of a pane's log and of the one before
    it, at most.
    """

    socket_path: str
    node: str
    launcher: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=clean_environment)
    shared: tuple[str, Path] | None = None
    log_max_bytes: int = DEFAULT_MAX_BYTES

    @property
    def local(self) -> bool:
        return not self.launcher

    @property
    def control_session(self) -> str:
        return CONTROL_SESSION_PREFIX + self.node

    @property
    def working_dir(self) -> str:
        """Where panes without a directory of their own start."""
        home = self.environment.get("HOME", "/")
        return home if os.path.isdir(home) else "/"

    def argv(self, *words: str, start_server: bool) -> tuple[str, ...]:
        return (*self.launcher, *self.inside(*words, start_server=start_server))

    def inside(self, *words: str, start_server: bool) -> tuple[str, ...]:
        """What the launcher is to run."""
        # -u: without a UTF-8 locale tmux would turn what is not ASCII in its answers into "_".
        never_start = () if start_server else ("-N",)
        tmux = ("tmux", *never_start, "-u", "-S", self.socket_path, *words)
        if start_server and not self.local:
            return ("/bin/sh", "-c", _START_IN_CONTAINER, posixpath.dirname(self.socket_path), *tmux)
        return tmux

    def surely_gone(self) -> bool:
        """True when no server listens on a local socket; False when one does or nothing can be said."""
        if not self.local:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self.socket_path)
            except (FileNotFoundError, ConnectionRefusedError):
                return True
            except OSError:
                return False
        return False

    def make_socket_dir(self) -> None:
        if self.local:
            Path(self.socket_path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
