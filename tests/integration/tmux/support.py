"""A tmux server of the test's own, and panes to make on it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.tmux.address import Address
from handlers.ports import PaneToCreate
from tests.waiting import eventually

IDLE = ("sleep", "100000")


class Server:
    """The server on `socket`; its user's home, with a `.tmux.conf` if the test writes one, is `home`."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.logs = folder / "state" / "logs"
        self.socket = folder / "s"
        hidden = ("TMUX", "TMUX_PANE")
        self.environment = {key: value for key, value in os.environ.items() if key not in hidden}
        self.environment |= {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config"), "SHELL": "/bin/sh"}

    def address(self, node: str = "local") -> Address:
        return Address(socket_path=str(self.socket), node=node, environment=self.environment)

    def configure(self, text: str) -> None:
        (self.home / ".tmux.conf").write_text(text)

    def tmux(self, *words: str) -> str:
        """As a person at another terminal would; the output without its last line feed."""
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self.socket), *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout.removesuffix("\n")

    def pid(self) -> int:
        """As this machine numbers it, also where the server runs in a container."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(self.socket))
            pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid

    def control_clients(self) -> list[int]:
        lines = self.tmux("list-clients", "-F", "#{client_pid} #{client_control_mode}").splitlines()
        return [int(line.split()[0]) for line in lines if line.endswith(" 1")]

    def kill_control_clients(self, pids: Sequence[int] | None = None) -> None:
        for pid in self.control_clients() if pids is None else pids:
            # One may be ending by itself just now.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        subprocess.run(
            ["tmux", "-S", str(self.socket), "kill-server"],
            env=self.environment,
            capture_output=True,
            timeout=30,
            check=False,
        )

    def pane(
        self,
        name: str,
        *argv: str,
        env: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        title: str | None = None,
        log: Path | None = None,
    ) -> PaneToCreate:
        return PaneToCreate(
            pane_id=name,
            title=f"@MANAGED:token:{name}" if title is None else title,
            argv=argv or IDLE,
            env=env or {},
            working_dir=working_dir,
            log_path=str(log or self.log(name)),
        )

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def sh(self, name: str, script: str) -> PaneToCreate:
        return self.pane(name, "/bin/sh", "-c", script)


_REPORT = """
import json, os, sys
with open(sys.argv[1] + '.new', 'w') as file:
    json.dump([sys.argv[2:], dict(os.environ), os.getcwd()], file)
os.rename(sys.argv[1] + '.new', sys.argv[1])
os.execvp('sleep', ['sleep', '100000'])
"""


def reporter(target: Path, *arguments: str) -> tuple[str, ...]:
    """argv of a program that writes what it was given (arguments, environment, directory) to `target` and sleeps."""
    return (sys.executable, "-c", _REPORT, str(target), *arguments)


async def reported(target: Path) -> tuple[list[str], dict[str, str], str]:
    await eventually(target.exists, f"{target.name} was started")
    given: Any = json.loads(await asyncio.to_thread(target.read_text))
    return given[0], given[1], given[2]


def processes_of(parent: int) -> list[int]:
    """Children of a process, zombies included."""
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def alive(pid: int) -> bool:
    """Running: neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
