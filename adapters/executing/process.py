"""One worker process: its socket, its two pipes, its end. One reader, in the event loop that started it."""

import asyncio
import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import Struct
from typing import Any, Final

import msgspec

from adapters.executing.children import MARK, end_marked
from adapters.executing.output import READ_BYTES, Chunk, Decoder, Stream, StreamName, pieces

WORKER: Final = Path(__file__).parent.parent / "worker"
HEADER: Final = Struct(">I")
MAX_FRAME_BYTES: Final = 32 * 1024 * 1024
RECEIVED_BYTES: Final = 64 * 1024
"""At once; the memory of larger pieces is mapped and unmapped by the kernel each time."""

Frame = dict[str, Any]


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`python`: the interpreter, 3.11 or newer. `env`: all of it, None for the caller's own. `limits`: see
    `adapters/worker/process.py`. `uid`, `gid`: whose process it is, if not the caller's. `blocking_calls` and
    `blocking_methods`: see `adapters/worker/modes.py`, None for the lists there. `owner`: the mark by which what it
    leaves behind is found, see `children.end_marked`."""

    working_dir: str
    python: str = sys.executable
    env: Mapping[str, str] | None = None
    heartbeat_s: float = 5.0
    limits: Mapping[str, int] = {}
    uid: int | None = None
    gid: int | None = None
    blocking_calls: tuple[str, ...] | None = None
    blocking_methods: Mapping[str, tuple[str, ...]] | None = None
    ast_cache: int = 100
    owner: str = "local"

    @property
    def kind(self) -> tuple[str, int | None, int | None]:
        """What cannot be changed any more in a process that has started."""
        return self.python, self.uid, self.gid

    def config(self) -> dict[str, Any]:
        """What the worker's `Config` takes, but for the socket."""
        return {
            "working_dir": self.working_dir,
            "heartbeat_s": self.heartbeat_s,
            "limits": dict(self.limits),
            "blocking_calls": self.blocking_calls,
            "blocking_methods": self.blocking_methods,
            "ast_cache": self.ast_cache,
        }


class Ended(msgspec.Struct, frozen=True):
    """How a worker's process ended: with a code, or by a signal."""

    exit_code: int | None
    signal: int | None


class WorkerProcess:
    """`on_frame` gets every frame in order, after all output that was written before it; `on_end` comes last."""

    def __init__(
        self,
        settings: WorkerSettings,
        output: Stream[Any],
        on_frame: Callable[[Frame], None],
        on_end: Callable[[Ended], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._output = output
        self._on_frame = on_frame
        self._on_end = on_end
        self._execution_id: str | None = None
        self._mark = f"{settings.owner}:{secrets.token_hex(8)}"
        self._start(settings)

    def _start(self, settings: WorkerSettings) -> None:
        # In this thread: the kernel ends a worker with the thread that started it.
        ours, theirs = socket.socketpair()
        pipes: list[tuple[int, int]] = [os.pipe(), os.pipe()]
        config = {"fd": theirs.fileno(), **settings.config()}
        try:
            self._process = subprocess.Popen(
                [settings.python, str(WORKER), json.dumps(config)],
                stdin=subprocess.DEVNULL,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                pass_fds=[theirs.fileno()],
                env=self.environment(settings),
                start_new_session=True,
                user=settings.uid,
                group=settings.gid,
                extra_groups=None if settings.uid is None or settings.uid == os.getuid() else (),
            )
        except BaseException:
            ours.close()
            for read, _ in pipes:
                os.close(read)
            raise
        finally:
            theirs.close()
            for _, write in pipes:
                os.close(write)
        self.pid = self._process.pid
        self._socket = ours
        self._socket.setblocking(False)
        self._buffer = bytearray()
        self._outgoing = bytearray()
        self._names: Mapping[int, StreamName] = {pipes[0][0]: "stdout", pipes[1][0]: "stderr"}
        self._decoders = {fd: Decoder() for fd in self._names}
        self._open = set(self._names)
        self._written = select.poll()
        self._waiting_for_room: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._frames: list[Frame] = []
        for fd in self._names:
            os.set_blocking(fd, False)
            self._written.register(fd, select.POLLIN)
            self._loop.add_reader(fd, self._pipe_readable, fd)
        self._loop.add_reader(ours.fileno(), self._socket_readable)
        self._ending = asyncio.Event()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._process_ended)

    def environment(self, settings: WorkerSettings) -> dict[str, str]:
        return {**(os.environ if settings.env is None else settings.env), MARK: self._mark}

    # --- to the worker ---------------------------------------------------------------------------------------------

    def send(self, kind: str, frame_id: str, **fields: Any) -> None:
        """Frames to a worker that is gone are lost: its end tells of it."""
        payload = json.dumps({"type": kind, "id": frame_id, **fields}).encode("ascii")
        if len(payload) > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {len(payload)} bytes: at most {MAX_FRAME_BYTES}")
        was_idle = not self._outgoing
        self._outgoing += HEADER.pack(len(payload)) + payload
        if was_idle and not self._write():
            self._loop.add_writer(self._socket.fileno(), self._write_on)

    def _write(self) -> bool:
        """Whether all of it is out."""
        try:
            while self._outgoing:
                sent = self._socket.send(self._outgoing)
                del self._outgoing[:sent]
        except BlockingIOError:
            return False
        except OSError:
            self._outgoing.clear()
        return True

    def _write_on(self) -> None:
        if self._write():
            with contextlib.suppress(OSError, ValueError):
                self._loop.remove_writer(self._socket.fileno())

    def attribute(self, execution_id: str | None) -> None:
        """Whose output it is that comes from now on; what has come already is not."""
        if execution_id is not None:
            self._drained()
        self._execution_id = execution_id

    def interrupt(self) -> None:
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """The whole process group."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Until its end has been told; for whoever killed it and takes no more of its output."""
        self._output.discard()
        while self._finishing is None:
            self._ending.clear()
            await self._ending.wait()
        await asyncio.shield(self._finishing)

    @property
    def memory_bytes(self) -> int | None:
        """Resident now."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_bytes().split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGESIZE") or None

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    # --- from the worker -------------------------------------------------------------------------------------------

    def _pipe_readable(self, fd: int) -> None:
        if self._output.full:
            self._pause()
            return
        self._read_pipe(fd)

    def _read_pipe(self, fd: int) -> bool:
        """Whether there may be more to read at once."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        decoder = self._decoders[fd]
        text = decoder.feed(data) if data else decoder.end()
        self._put(fd, text)
        if not data:
            self._close_pipe(fd)
        return bool(data)

    def _put(self, fd: int, text: str) -> None:
        for piece in pieces(text):
            self._output.write(Chunk(self._names[fd], piece, self._execution_id))

    def _close_pipe(self, fd: int) -> None:
        if fd in self._open:
            self._open.discard(fd)
            self._written.unregister(fd)
            self._loop.remove_reader(fd)
            os.close(fd)

    def _pause(self) -> None:
        """Read nothing until the queue has room: the pipes fill, and the worker waits."""
        if self._waiting_for_room is not None:
            return
        for fd in self._open:
            self._loop.remove_reader(fd)
        self._waiting_for_room = self._loop.create_task(self._resume())

    async def _resume(self) -> None:
        await self._output.room()
        self._waiting_for_room = None
        for fd in self._open:
            self._loop.add_reader(fd, self._pipe_readable, fd)
        self._deliver()

    def _socket_readable(self) -> None:
        try:
            data = self._socket.recv(RECEIVED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            return
        self._buffer += data
        while (frame := self._next()) is not None:
            self._frames.append(frame)
        self._deliver()

    def _next(self) -> Frame | None:
        if len(self._buffer) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(self._buffer)
        end = HEADER.size + length
        if len(self._buffer) < end:
            return None
        frame: Frame = json.loads(self._buffer[HEADER.size : end].decode("ascii"))
        del self._buffer[:end]
        return frame

    def _deliver(self) -> None:
        """Frames in order; before one that ends an execution, all that was written before it."""
        while self._frames:
            if self._frames[0]["type"] in ("result", "error"):
                if not self._drained():
                    return
                # Half a character at the end: its rest will not come.
                for fd in self._open:
                    self._put(fd, self._decoders[fd].end())
            self._on_frame(self._frames.pop(0))

    def _drained(self) -> bool:
        """Whether both pipes are empty now; False when the queue is full before that."""
        if not self._written.poll(0):
            return True
        for fd in tuple(self._open):
            while True:
                if self._output.full:
                    self._pause()
                    return False
                if not self._read_pipe(fd):
                    break
        return True

    def _process_ended(self) -> None:
        # Before it is reaped: until then its group's number is its own.
        self.kill()
        code = self._process.poll()
        if code is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._socket_readable()
        self._finishing = self._loop.create_task(self._finish(code))
        self._ending.set()

    async def _finish(self, code: int) -> None:
        """Take what the pipes hold, deliver the last frames, end what left its group, then tell the end. Children
        that still write are not waited for."""
        while not self._drained():
            await self._output.room()
        self._deliver()
        for fd in tuple(self._open):
            self._put(fd, self._decoders[fd].end())
            self._close_pipe(fd)
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        if self._waiting_for_room is not None:
            self._waiting_for_room.cancel()
        await asyncio.to_thread(end_marked, self._mark)
        self._on_end(Ended(code, None) if code >= 0 else Ended(None, -code))
