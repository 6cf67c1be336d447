"""The command line as people and scripts use it: as a child process, in a pipe and in a real terminal of 80 columns."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.child_tower import ChildTower
from tests.needs import need

DEADLINE_S = 60
PLAIN_SHELL = {"SHELL": "/bin/sh"}
"""A person's shell may do much when it starts, more than a test has time for."""

_names = count(1)


class Done:
    """What a command did: exit code and both streams."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def json(self) -> Any:
        """The whole of stdout, which must be one JSON value on one line."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}--- err\n{self.err}"


def environment(home: Path | None = None, **more: str) -> dict[str, str]:
    """Nothing of the user's tower or settings; the own one by `home`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AGENTTOWER_", "XDG_"))}
    named = {} if home is None else {"AGENTTOWER_HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    return {**kept, **named, **more}


def agenttower(home: Path | None, *words: str, **more: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "adapters.cli", *words],
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Done(done)


class Desk:
    """The command line on one tower."""

    def __init__(self, tower: ChildTower) -> None:
        self.tower = tower
        self.home = tower.home

    def run(self, *words: str, **more: str) -> Done:
        return agenttower(self.home, *words, **more)

    def ok(self, *words: str) -> Done:
        done = self.run(*words)
        assert done.code == 0, done
        return done

    def json(self, *words: str) -> Any:
        done = self.ok(*words, "--json")
        assert done.err == "", done
        return done.json

    def layout(self, **options: str) -> dict[str, Any]:
        """A new layout, ready; a session name of its own."""
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        return self.json("layout", "create", "--template", "1m+2s", "--session-name", self.session_name(), *words)

    def session_name(self) -> str:
        return f"session-{next(_names)}"

    def tmux(self, *words: str) -> str:
        argv = ["tmux", "-u", "-S", str(self.tower.tmux_socket), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout


@contextmanager
def going_on(desk: Desk, *words: str) -> Iterator[Path]:
    """A command that ends by Ctrl-C only; the file that its output goes to."""
    seen = desk.home / f"seen-{next(_names)}"
    argv = [sys.executable, "-m", "adapters.cli", *words]
    with open(seen, "wb") as out, subprocess.Popen(argv, stdout=out, env=environment(desk.home)) as process:
        try:
            yield seen
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130


class Terminal:
    """A real terminal of 80 columns: a tmux server of its own."""

    def __init__(self, folder: Path, columns: int = 80, lines: int = 120) -> None:
        self._socket = folder / "terminal.sock"
        self._size = ("-x", str(columns), "-y", str(lines))

    def tmux(self, *words: str) -> str:
        argv = ["tmux", "-u", "-f", "/dev/null", "-S", str(self._socket), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout

    def run(self, *words: str, **env: str) -> list[str]:
        """The lines on the screen after a command has ended."""
        name = f"run-{next(_names)}"
        signal = shlex.join(["tmux", "-S", str(self._socket), "wait-for", "-S", name])
        variables = [word for key, value in env.items() for word in ("-e", f"{key}={value}")]
        # A server that goes with its last session would be met while it goes.
        self.tmux("start-server", ";", "set-option", "-g", "exit-empty", "off")
        self.tmux("new-session", "-d", "-s", name, *self._size, *variables, f"{shlex.join(words)}; {signal}; cat")
        self.tmux("wait-for", name)
        screen = self.tmux("capture-pane", "-p", "-t", f"{name}:")
        self.tmux("kill-session", "-t", name)
        return screen.rstrip("\n").split("\n")

    def agenttower(self, home: Path, *words: str) -> list[str]:
        return self.run(sys.executable, "-m", "adapters.cli", *words, **_terminal_environment(home))

    def close(self) -> None:
        if self._socket.exists():
            subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, check=False)


def _terminal_environment(home: Path) -> dict[str, str]:
    return {"AGENTTOWER_HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """One tower for the tests of a file; each makes layouts of its own."""
    need("tmux")
    with ChildTower(node="local", variables=PLAIN_SHELL) as tower:
        tower.start()
        yield Desk(tower)


@pytest.fixture
def own_desk() -> Iterator[Desk]:
    """A tower for one test that stops or breaks it."""
    need("tmux")
    with ChildTower(node="local", variables=PLAIN_SHELL) as tower:
        tower.start()
        yield Desk(tower)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    need("tmux")
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        terminal = Terminal(Path(folder))
        yield terminal
        terminal.close()


def columns(text: str) -> list[list[str]]:
    """The rows of a table, split at two blanks or more, its head first."""
    return [re.split(r" {2,}", line.strip()) for line in text.strip().splitlines()]
