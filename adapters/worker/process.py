"""The worker as a process of the kernel: limits, its end with the parent, what it forked."""

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
UNBUFFERED: Final = 2
CPU_GRACE_S: Final = 5
KILL_ROUNDS: Final = 100

LIMITS: Final[Mapping[str, int]] = {
    "address_space_bytes": resource.RLIMIT_AS,
    "cpu_s": resource.RLIMIT_CPU,
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
}


def set_limits(limits: Mapping[str, int]) -> None:
    """Names of `LIMITS` -> soft and hard limit. A value over the hard limit is cut to it."""
    for name, wanted in limits.items():
        kind = LIMITS[name]
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # SIGXCPU says what it was, the SIGKILL of the hard limit would not.
        most = value + CPU_GRACE_S if kind == resource.RLIMIT_CPU else value
        resource.setrlimit(kind, (value, most if hard == resource.RLIM_INFINITY else min(most, hard)))


def settle() -> None:
    """End with the parent, adopt what children leave behind, and let C print in program order."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for name in ("stdout", "stderr"):
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, name), None, UNBUFFERED, 0)


def children() -> int:
    """Living child processes, of all threads."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return sum(1 for pid in _children_of(os.getpid()) if _alive(pid))


def kill_descendants() -> None:
    """All processes below this one: what children leave behind is adopted here."""
    for _ in range(KILL_ROUNDS):
        found, waiting = set[int](), [os.getpid()]
        while waiting:
            below = _children_of(waiting.pop())
            waiting += below
            found.update(pid for pid in below if _alive(pid))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _children_of(process: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{process}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{process}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


class Usage:
    """What heartbeats tell. `cpu_percent` is since the last call."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._page = resource.getpagesize()

    def now(self) -> dict[str, Any]:
        wall, cpu = time.monotonic(), time.process_time()
        passed = max(wall - self._wall, 1e-9)
        percent = 100 * (cpu - self._cpu) / passed
        self._wall, self._cpu = wall, cpu
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
        return {"memory_bytes": pages * self._page, "cpu_percent": round(percent, 1)}


class ForkingOnly:
    """An import hook: `multiprocessing` starts its processes by fork, and says so when another way is asked for.

    A spawned process would import `__main__` anew, which has no file here.
    """

    name = "multiprocessing.context"

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            loader, load = spec.loader, spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                _fork_only(module)

            loader.exec_module = exec_module
        return spec


def _fork_only(context: Any) -> None:
    def refuse(_process: Any) -> Any:
        raise RuntimeError("only the start method 'fork' works in a session: its __main__ has no file to import anew")

    for process in (context.SpawnProcess, context.ForkServerProcess):
        process._Popen = staticmethod(refuse)
    default = context._default_context
    default._default_context = context._concrete_contexts["fork"]


def fork_by_default() -> None:
    if "multiprocessing.context" in sys.modules:
        _fork_only(sys.modules["multiprocessing.context"])
    else:
        sys.meta_path.insert(0, ForkingOnly())
