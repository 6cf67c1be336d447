"""What the machine and its processes did meanwhile: processor time by process, other load, syncs to disk."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_SYNCS = ("fsync", "fdatasync", "sync_file_range")


def cpu_s(pid: int) -> float:
    """Seconds of processor time that the process has used; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def busy_s() -> float:
    """Seconds of processor time that the whole machine has used, of all its processors together."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS_A_SECOND


def rss_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def broker_of(tower_pid: int) -> int:
    """The nats-server that the tower started."""
    for child in children(tower_pid):
        if Path(f"/proc/{child}/comm").read_text().strip() == "nats-server":
            return child
    raise LookupError(f"process {tower_pid} has no nats-server")


class Syncs:
    """Counts the calls of one process that wait for the disk, between `start` and `stop`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._out = tempfile.NamedTemporaryFile(prefix="at-bench-", suffix=".syncs", delete=False)  # noqa: SIM115
        self._tool: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """False where nothing can count: no strace, or no right to trace."""
        strace = shutil.which("strace")
        if strace is None:
            return False
        argv = [strace, "-f", "-c", "-e", f"trace={','.join(_SYNCS)}", "-o", self._out.name, "-p", str(self._pid)]
        self._tool = subprocess.Popen(argv, stderr=subprocess.PIPE)
        assert self._tool.stderr is not None
        said = self._tool.stderr.readline()
        return b"attached" in said

    def stop(self) -> int:
        assert self._tool is not None and self._tool.stderr is not None
        self._tool.send_signal(signal.SIGINT)
        self._tool.stderr.read()
        self._tool.wait(timeout=30)
        self._tool.stderr.close()
        lines = Path(self._out.name).read_text().splitlines()
        rows = (line.split() for line in lines)
        return sum(int(row[3]) for row in rows if len(row) >= 5 and row[-1] in _SYNCS)

    def close(self) -> None:
        if self._tool is not None and self._tool.poll() is None:
            self._tool.kill()
            self._tool.wait()
        self._out.close()
        Path(self._out.name).unlink(missing_ok=True)


def sync_setting(home: Path) -> str:
    """`sync_interval` of the embedded broker's configuration."""
    text = (home / "nats" / "server.conf").read_text()
    found = re.search(r'"sync_interval":\s*"?([^",}]+)', text)
    return found[1] if found else "the default (2 min)"


class Load:
    """How busy processors were in a span of time, in cores: named processes, and everything else on the machine."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before = {name: cpu_s(pid) for name, pid in pids.items()}
        self._busy = busy_s()

    def since(self, seconds: float, known: Iterable[float] = ()) -> dict[str, float]:
        """`known`: processor seconds of further processes of ours, which are not others' load."""
        used = {name: cpu_s(pid) - self._before[name] for name, pid in self._pids.items()}
        others = busy_s() - self._busy - sum(used.values()) - sum(known)
        return {name: value / seconds for name, value in (used | {"others": max(0.0, others)}).items()}


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """A folder with a short path, so that sockets fit."""
    home = Path(tempfile.mkdtemp(prefix="at-b-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
