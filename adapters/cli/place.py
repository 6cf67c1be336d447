"""Where the tower's files are, and what a running tower says about itself there.

Client commands need two settings only, so the settings proper (pydantic) are loaded only when a file must be read.
"""

import json
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from adapters.cli.failures import Failure, no_tower
from adapters.paths import absolute, default_home, settings_file

TOWER_FILE: Final = "tower.json"
TOKEN_FILE: Final = "http.token"
NATS_FILE: Final = "nats.url"


class Running(NamedTuple):
    """A tower, from `tower.json`: `http` and `nats` are URLs, `tmux` is a socket path, `since` Unix seconds."""

    pid: int
    node: str
    http: str
    nats: str
    tmux: str
    since: float

    def as_json(self) -> dict[str, object]:
        return {"pid": self.pid, "node": self.node, "http": self.http, "nats": self.nats, "tmux": self.tmux}


SOCKET_VARIABLE: Final = "AGENTTOWER_SOCKET"


class Place(NamedTuple):
    """A home folder and the node that is asked for (None: whichever runs there). `socket`: the bench socket to ask at
    instead, as inside a container, where nothing else of the tower can be reached."""

    home: Path
    node: str | None
    socket: Path | None = None

    @property
    def tower_file(self) -> Path:
        return self.home / TOWER_FILE

    def running(self) -> Running | None:
        """The tower of this home; None when none runs (a file left by a killed tower included)."""
        if self.socket is not None:
            return Running(0, self.node or "", f"unix:{self.socket}", "", "", 0.0) if self.socket.exists() else None
        found = self.recorded()
        if found is None or not alive(found.pid):
            return None
        return found if self.node in (None, found.node) else None

    def recorded(self) -> Running | None:
        """What `tower.json` says, whether that process lives or not; None without a readable one."""
        try:
            text = self.tower_file.read_text(encoding="utf-8")
            since = self.tower_file.stat().st_mtime
            fields: dict[str, Any] = json.loads(text)
            node, http, nats, tmux = (str(fields[name]) for name in ("node", "http", "nats", "tmux"))
            return Running(int(fields["pid"]), node, http, nats, tmux, since)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def need(self) -> Running:
        """The running tower, or a `Failure` that says how to start one."""
        found = self.running()
        if found is None and self.socket is not None:
            raise Failure(f"there is no socket at {self.socket}", f"{SOCKET_VARIABLE} names the tower's bench socket")
        if found is None:
            raise no_tower(self.home, self.node or "local")
        return found

    def secret(self, name: str) -> str:
        """The text of `http.token` or `nats.url`."""
        self.need_files()
        try:
            return (self.home / name).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Failure(
                f"{self.home / name} cannot be read: {error.strerror}", "run this as the tower's user"
            ) from error

    def need_files(self) -> None:
        """Raises `Failure` over a socket: for what needs the tower's own files, broker or tmux server."""
        if self.socket is not None:
            raise Failure(
                "this needs the tower's own files, which are out of reach over the bench socket",
                f"run it on the tower's machine, without {SOCKET_VARIABLE}",
            )


def alive(pid: int) -> bool:
    """Whether a process of that id exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if Path("/proc/self/stat").exists():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    return stat.rpartition(")")[2].split()[0] != "Z"


def find(home: str | None, node: str | None) -> Place:
    """The place that the flags, the environment and the settings file name. Raises `Failure` for a faulty file.

    A home given by flag weighs more than `AGENTTOWER_SOCKET`, which weighs more than all else.
    """
    socket = os.environ.get(SOCKET_VARIABLE)
    if socket and not home:
        return Place(default_home(), node, absolute(socket))
    home = home or os.environ.get("AGENTTOWER_HOME") or None
    node = node or os.environ.get("AGENTTOWER_NODE") or None
    if (home is None or node is None) and settings_file().exists():
        from adapters.settings import SettingsError, load

        try:
            settings = load({"home": home, "node": node})
        except SettingsError as error:
            raise Failure(str(error)) from error
        return Place(settings.home, settings.node)
    return Place(absolute(home) if home else default_home(), node)
