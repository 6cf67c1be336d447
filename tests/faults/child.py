"""A tower as a child process that a test may kill, starve and look into, its tmux server and its whole home."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from adapters.cli.child_tower import NO_ENGINE
from adapters.crashing import VARIABLE as CRASH_AT
from tests.faults import stepped
from tests.waiting import eventually

READY_S = 90.0
STOP_S = 60.0
END_S = 20.0
SOON_S = 2.0
NODE = "faulty"
OURS = ("nats-server", "tmux: client", "python")
"""What belongs to a tower, not to its tmux server."""


class Died(Exception):
    """The tower's process ended; `code` as `asyncio.subprocess.Process.returncode`."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"the tower ended with {code}: {words}")
        self.code = code


class Seen(NamedTuple):
    """A pane in tmux that carries our user option."""

    pane_id: str
    tmux_pane_id: str
    pid: int
    dead: bool
    session: str


class Child:
    """One home, the towers that run on it one after another, and their tmux server."""

    def __init__(self, folder: Path | None = None, *, clock: bool = False) -> None:
        """`folder`: where the home is made, a temporary folder by default. `clock`: `step_clock` works."""
        self.home = Path(tempfile.mkdtemp(prefix="at-f-", dir=folder))
        self.database = self.home / "tower.sqlite"
        self.tmux_socket = self.home / "tmux.sock"
        self.starts = 0
        self._clock_file = self.home / "clock"
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self.died = asyncio.Event()
        self.container_cli = NO_ENGINE
        self._waiting: asyncio.Task[None] | None = None
        self._code = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.kill()
        self.thaw_tmux()
        await asyncio.to_thread(self.tmux, "kill-server")
        for pid in self.tmux_servers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

    # --- the process -----------------------------------------------------------------------------------------------

    async def start(self, *, crash_at: str = "", **variables: str) -> None:
        """Start and wait until it is ready. Raises `Died`."""
        assert self._process is None, "the last tower was not ended"
        self.starts += 1
        environment = self._environment() | variables | ({CRASH_AT: crash_at} if crash_at else {})
        program = "tests.faults.stepped" if self._clock else "adapters.cli"
        with (self.home / "tower.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", program, "up", "--json", "--log-format", "json"),
                stdin=subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )
        self.died.clear()
        self._waiting = asyncio.create_task(self._wait(self._process))
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_S):
            line = await self._process.stdout.readline()
        if not line:
            raise await self.ended()

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        try:
            await process.wait()
        finally:
            # Also when the whole test is cancelled: whoever waits for the end would wait for ever.
            self.died.set()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and not self.died.is_set()

    async def ended(self) -> Died:
        """What to raise once its end has come."""
        async with asyncio.timeout(END_S):
            await self.died.wait()
        await self._forget()
        return Died(self._code, self.last_words())

    async def dies(self) -> bool:
        """Whether it has ended, or does so at any moment."""
        try:
            async with asyncio.timeout(SOON_S):
                await self.died.wait()
        except TimeoutError:
            return False
        return True

    async def kill(self) -> int:
        """SIGKILL, it has no chance to clean up; the code with which it or the last one ended."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            await self.died.wait()
            await self._forget()
        return self._code

    async def stop(self) -> int:
        """SIGTERM; the exit code of a clean end, or of what ended it before."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            await self.died.wait()
        await self._forget()
        return self._code

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and not self.died.is_set():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _forget(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdout is not None
        assert process.returncode is not None
        assert self._waiting is not None
        self._code = process.returncode
        await self._waiting
        await process.stdout.read()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTTOWER_", "TMUX"))}
        return kept | {
            "AGENTTOWER_HOME": str(self.home),
            "AGENTTOWER_NODE": NODE,
            "AGENTTOWER_HTTP": "127.0.0.1:0",
            "AGENTTOWER_CONTAINER_CLI": self.container_cli,
            "AGENTTOWER_DATABASE_URL": f"sqlite:///{self.database}",
            "XDG_CONFIG_HOME": str(self.home / "config"),
            # What a pane runs: quick to start, and it prints nothing of its own.
            "SHELL": "/bin/cat",
            "AGENTTOWER_CAPABILITIES": json.dumps(
                {"read_file": [str(self.home)], "write_file": [str(self.home)], "fetch": ["127.0.0.1"], "run": ["true"]}
            ),
            stepped.VARIABLE: str(self._clock_file),
        }

    def last_words(self) -> str:
        return " | ".join((self.home / "tower.log").read_text(errors="replace").splitlines()[-5:])

    # --- what it says of itself ------------------------------------------------------------------------------------

    @property
    def http(self) -> str:
        return json.loads((self.home / "tower.json").read_text())["http"]

    @property
    def token(self) -> str:
        return (self.home / "http.token").read_text().strip()

    def nats(self, user: str) -> str:
        """The broker's URL for one of its users."""
        address = (self.home / "nats.url").read_text().rpartition("@")[2]
        passwords = msgspec.json.decode((self.home / "nats" / "users.json").read_bytes(), type=dict[str, str])
        return f"nats://{user}:{passwords[user]}@{address}"

    async def cli(self, *words: str) -> tuple[int, str]:
        """The command line on this home: exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "adapters.cli", *words),
            stdin=subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment(),
            cwd=Path(__file__).parents[2],
        )
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    # --- its surroundings ------------------------------------------------------------------------------------------

    def step_clock(self, ahead_s: float) -> None:
        """From now on its wall clock is so far ahead of the machine's."""
        assert self._clock
        beside = self._clock_file.with_suffix(".new")
        beside.write_text(str(ahead_s))
        beside.replace(self._clock_file)

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self.tmux_socket), *words], capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout

    def panes(self) -> list[Seen]:
        fields = ("@agenttower_pane_id", "pane_id", "pane_pid", "pane_dead", "session_name")
        lines = self.tmux("list-panes", "-a", "-F", "|".join(f"#{{{field}}}" for field in fields)).splitlines()
        rows = (line.split("|") for line in lines)
        return [Seen(a, b, int(c), d == "1", e) for a, b, c, d, e in rows if a]

    def processes(self, program: str) -> list[int]:
        """Processes of this home whose program starts with this name (`nats-server`, `tmux: client`, …)."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if not (entry / "comm").read_text().startswith(program):
                    continue
                words = (entry / "cmdline").read_bytes()
                if str(self.home).encode() in words:
                    found.append(int(entry.name))
        return found

    def tmux_servers(self) -> list[int]:
        """Daemons, which no process is the parent of; what they fork is called like them for a moment."""
        return [pid for pid in self.processes("tmux: server") if self._parent(pid) == 1]

    @staticmethod
    def _parent(pid: int) -> int | None:
        with contextlib.suppress(OSError):
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return None

    def hit(self, pane: Seen, *, whole: bool) -> None:
        """SIGKILL what runs in a pane, or take the whole pane away; one that is gone already is as well."""
        if whole:
            self.tmux("kill-pane", "-t", pane.tmux_pane_id)
        elif not pane.dead:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pane.pid, signal.SIGKILL)

    def kill_broker(self) -> bool:
        """SIGKILL; False if none runs."""
        pids = self.processes("nats-server")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pids)

    def freeze_tmux(self) -> None:
        """SIGSTOP its server: it takes connections and answers nothing."""
        for pid in self.processes("tmux: server"):
            os.kill(pid, signal.SIGSTOP)

    def thaw_tmux(self) -> None:
        for pid in self.processes("tmux: server"):
            os.kill(pid, signal.SIGCONT)

    async def nothing_left(self) -> None:
        """After the tower's end its broker and its tmux clients end too."""
        left: list[str] = []

        def look() -> bool:
            left[:] = [self._described(pid) for name in OURS for pid in self.processes(name)]
            return not left

        try:
            await eventually(look, timeout_s=END_S)
        except AssertionError:
            raise AssertionError(f"left of the tower: {left}") from None

    @staticmethod
    def _described(pid: int) -> str:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
            return f"{pid} ({state}, child of {parent}): {words}"
        return f"{pid}, just ended"
