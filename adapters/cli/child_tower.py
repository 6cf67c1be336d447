"""A tower of its own in a temporary home, as a child process: for the demo and for whoever wants one to try."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, Self

from adapters.cli.client import Queries
from adapters.cli.failures import Failure
from adapters.cli.place import Place, Running
from adapters.system import SystemClock

READY_TIMEOUT_S: Final = 40.0
STOP_TIMEOUT_S: Final = 20.0
LONGEST_TEMPORARY: Final = 40
"""Bytes of a temporary folder's path under which sockets still fit."""

LAST_WORDS: Final = 5


NO_ENGINE: Final = "no-container-engine"
"""A program that there is not."""


class ChildTower:
    """Owns a temporary home, the tower in it and its tmux server; leaving the context removes all three."""

    def __init__(self, node: str = "demo", *, variables: Mapping[str, str] | None = None) -> None:
        """`variables` are added to the tower's environment."""
        temporary = tempfile.gettempdir()
        folder = temporary if len(temporary) <= LONGEST_TEMPORARY else "/tmp"  # noqa: S108, mkdtemp makes it private
        self.home: Final = Path(tempfile.mkdtemp(prefix="at-demo-", dir=folder))
        self.place: Final = Place(self.home, None)
        self.tmux_socket: Final = self.home / "tmux.sock"
        self._node: Final = node
        self._variables: Final = dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._queries: Queries | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.remove()

    @property
    def running(self) -> Running:
        return self.place.need()

    @property
    def queries(self) -> Queries:
        """Of the tower as it runs now; made anew after each start."""
        if self._queries is None:
            self._queries = Queries(self.place, self.running)
        return self._queries

    def start(self) -> float:
        """Start the tower and wait until it is ready; how long that took, in seconds. Raises `Failure`."""
        clock = SystemClock()
        started = clock.monotonic()
        log = open(self.home / "tower.log", "ab")  # noqa: SIM115, the child keeps it
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "adapters.cli", "up", "--json", "--log-format", "json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(),
                # Ctrl-C in the terminal is for whoever owns the tower, who then ends it.
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = _first_line(self._process.stdout, READY_TIMEOUT_S)
        try:
            json.loads(line)
        except ValueError:
            raise Failure(f"the tower did not start: {self._last_words()}", "`agenttower doctor` may say why") from None
        return clock.monotonic() - started

    def kill(self) -> None:
        """SIGKILL: the tower has no chance to clean up."""
        self._forget()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            _close(self._process)
            self._process = None

    def stop(self) -> None:
        """SIGTERM, and wait for the clean end."""
        self._forget()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _close(self._process)
        self._process = None

    def remove(self) -> None:
        """End the tower and its tmux server, remove the home; nothing stays, also when interrupted again."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.stop()
            self.end_tmux()
            shutil.rmtree(self.home, ignore_errors=True)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end_tmux(self) -> None:
        if not self.tmux_socket.exists():
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["tmux", "-S", str(self.tmux_socket), "kill-server"], capture_output=True, timeout=10, check=False
            )

    def _forget(self) -> None:
        if self._queries is not None:
            self._queries.close()
            self._queries = None

    def _environment(self) -> dict[str, str]:
        """The user's, without their tower's settings and without the tmux they may be in."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("AGENTTOWER_") and key not in ("TMUX", "TMUX_PANE")
        }
        return kept | {
            "AGENTTOWER_HOME": str(self.home),
            "AGENTTOWER_NODE": self._node,
            "AGENTTOWER_HTTP": "127.0.0.1:0",
            "XDG_CONFIG_HOME": str(self.home / "config"),
            # The user's containers are no matter of a tower that is there to be looked at.
            "AGENTTOWER_CONTAINER_CLI": NO_ENGINE,
            **self._variables,
        }

    def _last_words(self) -> str:
        try:
            lines = (self.home / "tower.log").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-LAST_WORDS:]) or "it said nothing"


def _first_line(stream: IO[bytes], timeout_s: float) -> bytes:
    """The first line a child prints; what there is of it at its end or past the deadline."""
    clock = SystemClock()
    ends = clock.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([stream], [], [], max(0.0, ends - clock.monotonic()))
        if not readable:
            break
        block = os.read(stream.fileno(), 4096)
        if not block:
            break
        line += block
    return line


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        process.stdout.close()
