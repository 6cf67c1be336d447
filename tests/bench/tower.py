"""The tower under load: `agenttower up` as a child process with a home, a broker, a database and a tmux of its own."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.bench import machine

NODE = "bench"
CAUGHT_UP_S = 600.0
LOOK_S = 0.02


class Tower:
    """A running tower. `ready_s`: how long its start took, from the process to its readiness; `ready_cpu_s`: the
    processor time of its own process until then."""

    def __init__(self, home: Path, *, start_timeout_s: float = 120.0) -> None:
        self.home = home
        self._log = open(home / "tower.log", "ab")  # noqa: SIM115 (closed in stop)
        started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "adapters.cli", "up", "--json", "--log-format", "json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(home),
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], start_timeout_s)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            self.stop()
            raise RuntimeError(f"the tower did not start:\n{(home / 'tower.log').read_text()[-2000:]}")
        self.ready_s = time.monotonic() - started
        self.ready_cpu_s = machine.cpu_s(self.pid)
        self.http: str = json.loads(line)["http"]
        self.broker_pid = machine.broker_of(self.pid)

    @property
    def operator_url(self) -> str:
        return (self.home / "nats.url").read_text().strip()

    @property
    def tower_url(self) -> str:
        """The broker user who may do everything: for baselines on streams of their own."""
        password = json.loads((self.home / "nats" / "users.json").read_text())["tower"]
        return f"nats://tower:{password}@127.0.0.1:{urlsplit(self.operator_url).port}"

    def client(self) -> httpx.Client:
        token = (self.home / "http.token").read_text()
        return httpx.Client(base_url=self.http, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def wait_caught_up(self) -> None:
        """Until every read model stands at the log's end."""
        with self.client() as http:

            def caught_up() -> bool:
                checks: dict[str, Any] = http.get("/readyz").json()["checks"]
                return all(check["ok"] and not check.get("lag") for check in checks.values())

            wait_until(caught_up, CAUGHT_UP_S)

    def stop(self) -> None:
        """SIGTERM and the clean end, with the last snapshot."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
        socket = self.home / "tmux.sock"
        if socket.exists():
            subprocess.run(["tmux", "-S", str(socket), "kill-server"], capture_output=True, timeout=30, check=False)


def wait_until(probe: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(LOOK_S)


@contextmanager
def running(filled: Path | None = None) -> Iterator[Tower]:
    """A tower in a fresh home, or on a copy of the store of a filled one; its read models are up to date."""
    with machine.temporary_home() as home:
        if filled is not None:
            shutil.copytree(filled / "nats", home / "nats", symlinks=True, dirs_exist_ok=True)
        tower = Tower(home)
        try:
            tower.wait_caught_up()
            yield tower
        finally:
            tower.stop()


def _environment(home: Path) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("AGENTTOWER_") and key not in ("TMUX", "TMUX_PANE")
    }
    return kept | {
        "AGENTTOWER_HOME": str(home),
        "AGENTTOWER_NODE": NODE,
        "AGENTTOWER_HTTP": "127.0.0.1:0",
        "XDG_CONFIG_HOME": str(home / "config"),
    }
