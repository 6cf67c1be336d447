"""One worker process: its socket, its two pipes, its end. One reader, in the event loop that started it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, Final

import msgspec

from adapters.executing.output import CHUNK_BYTES, Chunk, Decoder, Stream, StreamName

WORKER: Final = Path(__file__).parent.parent / "worker"
HEADER: Final = Struct(">I")
MAX_FRAME_BYTES: Final = 32 * 1024 * 1024
READ_BYTES: Final = 1024 * 1024
PIPE_BYTES: Final = 1024 * 1024
F_SETPIPE_SZ: Final = 1031

Frame = dict[str, Any]


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`python`: the interpreter, 3.11 or newer. `limits`: see `adapters/worker/process.py`. `env`: all of it."""

    working_dir: str
    python: str = sys.executable
    env: Mapping[str, str] | None = None
    heartbeat_s: float = 5.0
    limits: Mapping[str, int] = {}
    blocking_calls: tuple[str, ...] | None = None
    ast_cache: int = 100


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
        self._start(settings)

    def _start(self, settings: WorkerSettings) -> None:
        # In this thread: the kernel ends a worker with the thread that started it.
        ours, theirs = socket.socketpair()
        pipes: list[tuple[int, int]] = [os.pipe(), os.pipe()]
        config = {
            "fd": theirs.fileno(),
            "working_dir": settings.working_dir,
            "heartbeat_s": settings.heartbeat_s,
            "limits": dict(settings.limits),
            "blocking_calls": settings.blocking_calls,
            "ast_cache": settings.ast_cache,
        }
        try:
            self._process = subprocess.Popen(
                [settings.python, str(WORKER), json.dumps(config)],
                stdin=subprocess.DEVNULL,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                pass_fds=[theirs.fileno()],
                env=None if settings.env is None else dict(settings.env),
                start_new_session=True,
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
        self._waiting_for_room: asyncio.Task[None] | None = None
        self._frames: list[Frame] = []
        for fd in self._names:
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._pipe_readable, fd)
        self._loop.add_reader(ours.fileno(), self._socket_readable)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._process_ended)

    # --- to the worker ---------------------------------------------------------------------------------------------

    def send(self, kind: str, frame_id: str, **fields: Any) -> None:
        """Frames to a worker that is gone are lost: its end tells of it."""
        payload = json.dumps({"type": kind, "id": frame_id, **fields}).encode("ascii")
        if len(payload) > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {len(payload)} bytes: at most {MAX_FRAME_BYTES}")
        was_idle = not self._outgoing
        self._outgoing += HEADER.pack(len(payload)) + payload
        if was_idle:
            self._write()

    def _write(self) -> None:
        try:
            while self._outgoing:
                sent = self._socket.send(self._outgoing)
                del self._outgoing[:sent]
        except BlockingIOError:
            self._loop.add_writer(self._socket.fileno(), self._write)
            return
        except OSError:
            self._outgoing.clear()
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
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

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
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        decoder = self._decoders[fd]
        text = decoder.feed(data) if data else decoder.end()
        if text:
            self._output.write(Chunk(self._names[fd], text, self._execution_id))
        if not data:
            self._close_pipe(fd)
        return bool(data)

    def _close_pipe(self, fd: int) -> None:
        if fd in self._open:
            self._open.discard(fd)
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
            data = self._socket.recv(READ_BYTES)
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
        frame: Frame = json.loads(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return frame

    def _deliver(self) -> None:
        """Frames in order; before one that ends an execution, all that was written before it."""
        while self._frames:
            if self._frames[0]["type"] in ("result", "error") and not self._drained():
                return
            self._on_frame(self._frames.pop(0))

    def _drained(self) -> bool:
        """Whether both pipes are empty now; False when the queue is full before that."""
        for fd in tuple(self._open):
            while True:
                if self._output.full:
                    self._pause()
                    return False
                if not self._read_pipe(fd):
                    break
        return True

    def _process_ended(self) -> None:
        code = self._process.poll()
        if code is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._socket_readable()
        self.kill()
        self._loop.create_task(self._finish(code))

    async def _finish(self, code: int) -> None:
        """Take what the pipes hold, deliver the last frames, then tell the end. Children that still write are not
        waited for: their group is gone."""
        while not self._drained():
            await self._output.room()
        self._deliver()
        for fd in tuple(self._open):
            self._close_pipe(fd)
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        if self._waiting_for_room is not None:
            self._waiting_for_room.cancel()
        self._on_end(Ended(code, None) if code >= 0 else Ended(None, -code))


def descendants(pid: int) -> Sequence[int]:
    """Living processes below this one, those that left its group too; itself left out."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for child in _children(parent):
            found.append(child)
            waiting.append(child)
    return found


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    children: list[int] = []
    for thread in threads:
        with contextlib.suppress(OSError):
            children += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return children
