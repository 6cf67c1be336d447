"""The command line started from a process that has loaded it: the same program, without the second of its imports.

`install` has `subprocess.Popen`, and with it `subprocess.run` and asyncio, take `python -m adapters.cli …` from there.
Such a process is a child of the caller's like any other: its own pid, streams, environment and end. What it cannot be
given there (descriptors, another interpreter's settings), a fresh Python gets, and so does every other program.
"""

import atexit
import ctypes
import gc
import importlib
import inspect
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

PROGRAMS: Final = ("adapters.cli", "tests.faults.stepped")
LOADED: Final = (
    "adapters.app",
    "tests.faults.stepped",
    "rich.console",
    "rich.live",
    "rich.table",
    "rich.tree",
    "uvloop",
)
"""What nearly every run of them imports."""

UNUSUAL: Final = ("preexec_fn", "pass_fds", "shell", "executable", "gid", "gids", "uid")
OF_THE_INTERPRETER: Final = ("PYTHON", "LC_", "LANG")
"""Beginnings of variables that Python reads as it starts."""

REQUEST_BYTES: Final = 1024 * 1024
SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""


class Start(NamedTuple):
    module: str
    words: list[str]
    env: dict[str, str]
    cwd: str
    new_session: bool
    umask: int


# --- who asks ------------------------------------------------------------------------------------------------------


class _Server:
    """Started when it is first needed; it ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)

    def start(self, start: Start, streams: tuple[int, int, int]) -> int:
        """The pid of a new child of this process."""
        with self._lock:
            if self._socket is None:
                self._socket = self._begin()
            # Its parent ends at once, so that this process becomes the parent.
            self._libc.prctl(SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._socket, [pickle.dumps(start)], streams)
                answer = self._socket.recv(64)
            except BaseException:
                # A time limit, say: the answer that is still to come is nobody's.
                self._socket.close()
                self._socket = None
                raise
            finally:
                self._libc.prctl(SUBREAPER, 0, 0, 0, 0)
        return int(answer)

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
        command = [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

        def end() -> None:
            ours.close()
            process.wait()

        atexit.register(end)
        return ours


def install() -> None:
    server, fresh = _Server(), subprocess.Popen._execute_child  # type: ignore[attr-defined]
    signature = inspect.signature(fresh)

    def execute(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs).arguments
        start = _start(given)
        if start is None:
            fresh(self, *args, **kwargs)
            return
        pipes = [given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        streams = (pipes[0], pipes[3], pipes[5])
        try:
            self.pid = server.start(start, tuple(own if fd == -1 else fd for own, fd in enumerate(streams)))  # type: ignore[arg-type]
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)

    subprocess.Popen._execute_child = execute  # type: ignore[attr-defined]


def _start(given: Mapping[str, Any]) -> Start | None:
    """What the server can start; None for anything that a fresh process must be."""
    argv, cwd = given["args"], given["cwd"] or os.getcwd()
    if isinstance(argv, str | bytes) or any(given[name] for name in UNUSUAL) or not os.path.isdir(cwd):
        return None
    words = [os.fsdecode(word) for word in argv]
    if words[:2] != [sys.executable, "-m"] or words[2] not in PROGRAMS:
        return None
    env = {os.fsdecode(name): os.fsdecode(value) for name, value in (given["env"] or os.environ).items()}
    if _of_the_interpreter(env) != _of_the_interpreter(os.environ):
        return None
    return Start(words[2], words[3:], env, os.fspath(cwd), bool(given["start_new_session"]), given["umask"])


def _of_the_interpreter(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(OF_THE_INTERPRETER)}


# --- the server ----------------------------------------------------------------------------------------------------


def serve(asking: socket.socket) -> Start | None:
    """None at the asker's end. In a new process: what it is to be, its streams in place."""
    while True:
        message, streams, _, _ = socket.recv_fds(asking, REQUEST_BYTES, 3)
        if not message:
            return None
        tells, told = os.pipe()
        between = os.fork()
        if between == 0:
            if pid := os.fork():
                os.write(told, b"%d" % pid)
                os._exit(0)
            asking.close()
            for number, fd in enumerate(streams):
                os.dup2(fd, number)
            for fd in (*streams, tells, told):
                os.close(fd)
            return pickle.loads(message)
        for fd in (*streams, told):
            os.close(fd)
        # Only after its end has the new process the asker for its parent.
        os.waitpid(between, 0)
        pid = os.read(tells, 64)
        os.close(tells)
        try:
            asking.send(pid)
        except BrokenPipeError:
            os.kill(int(pid), signal.SIGKILL)
            return None


def become(start: Start) -> None:
    """Run the program as `python -m` would."""
    if start.new_session:
        os.setsid()
    if start.umask >= 0:
        os.umask(start.umask)
    os.chdir(start.cwd)
    os.environ.clear()
    os.environ.update(start.env)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        before = getattr(sys, name)
        buffering = 1 if number == 2 or os.isatty(number) else -1
        stream = os.fdopen(number, mode, buffering, before.encoding, before.errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv[1:] = start.words
    sys.path[0] = start.cwd
    runpy.run_module(start.module, run_name="__main__", alter_sys=True)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in LOADED:
        importlib.import_module(name)
    importlib.import_module("adapters.cli.main").build()
    start = None
    gc.collect()
    gc.freeze()
    with suppress(KeyboardInterrupt), socket.socket(fileno=int(sys.argv[1])) as asking:
        start = serve(asking)
    if start is not None:
        become(start)


if __name__ == "__main__":
    main()
