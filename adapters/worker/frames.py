"""The wire between worker and parent: frames of JSON on one stream socket, 4 bytes of length before each.

JSON is ASCII-escaped, so that lone surrogates survive. Any thread may send; whoever waits for a frame reads for all.
What is read in other hands (a signal's handler, the loop, another thread) makes nothing readable any more, so each
who waits is woken: in `wait` by an eventfd, the main loop by `on_queued`.
"""

import json
import os
import select
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

MAX_FRAME_BYTES: Final = 32 * 1024 * 1024
HEADER: Final = struct.Struct(">I")
CHUNK: Final = 65536

Frame = dict[str, Any]
T = TypeVar("T")


class Closed(Exception):
    """The parent is gone."""


class TooLong(Exception):
    """A frame over 32 MiB was to be sent."""


class Channel:
    """One end of the socket, by its file descriptor. `on_frame` sees each frame when it arrives, in any thread; what
    it does not take (returns False) waits in `frames` for the main loop, which `on_queued` tells."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.frames: deque[Frame] = deque()
        self.on_frame: Callable[[Frame], bool] = lambda _frame: False
        self.on_queued: Callable[[], None] = lambda: None
        self._buffer = bytearray()
        self._count = 0
        self._taking = False
        self._reading = False
        self._wake_fd = os.eventfd(0)
        self._woken = False
        # Reentrant: the handler of an interrupt may read while its own thread is about to.
        self._changed = threading.Condition(threading.RLock())
        self._sending = threading.RLock()
        os.set_blocking(fd, False)

    def abandon(self) -> None:
        """In a forked child: the socket is its parent's, and whatever gets its number is none."""
        fd, self.fd = self.fd, -1
        os.close(fd)
        os.close(self._wake_fd)

    def send(self, kind: str, **fields: Any) -> str:
        """The frame's id. Raises `Closed`, `TooLong`."""
        self._count += 1
        frame_id = f"w{self._count}"
        frame = {"type": kind, "id": frame_id, "timestamp": time.time(), **fields}
        payload = json.dumps(frame).encode("ascii")
        if len(payload) > MAX_FRAME_BYTES:
            raise TooLong(f"a frame of {len(payload)} bytes")
        with self._sending:
            self._write(HEADER.pack(len(payload)) + payload)
        return frame_id

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                select.select([], [self.fd], [])
            except (OSError, ValueError) as error:
                raise Closed from error

    def wait(self, ready: Callable[[], T | None], deadline: float | None = None) -> T:
        """What `ready` gives once it gives something; frames are read meanwhile, for whoever wants them.

        `deadline` is on the monotonic clock. Raises `TimeoutError`, `Closed`.
        """
        while True:
            with self._changed:
                while True:
                    found = ready()
                    if found is not None:
                        return found
                    left_s = None if deadline is None else deadline - time.monotonic()
                    if left_s is not None and left_s <= 0:
                        raise TimeoutError
                    if not self._reading:
                        self._reading = True
                        break
                    self._changed.wait(left_s)
            try:
                readable = select.select([self.fd, self._wake_fd], [], [], left_s)[0]
            finally:
                with self._changed:
                    self._reading = False
                    if self._woken:
                        self._woken = False
                        os.eventfd_read(self._wake_fd)
                    self._changed.notify_all()
            if self.fd in readable:
                self.take()

    def wake(self) -> None:
        """Whoever is in `wait` asks again what is ready."""
        with self._changed:
            self._changed.notify_all()
            if self._reading and not self._woken:
                self._woken = True
                os.eventfd_write(self._wake_fd, 1)

    def take(self) -> None:
        """Read what is there, without waiting. Raises `Closed`."""
        with self._changed:
            if self._taking:
                # The handler of an interrupt, in the middle of this: what is there is being read.
                return
            self._taking = True
            try:
                self._read()
                queued = self._sort()
            finally:
                self._taking = False
            self.wake()
        if queued:
            self.on_queued()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return
            except OSError as error:
                raise Closed from error
            if not data:
                raise Closed
            self._buffer += data
            if len(data) < CHUNK:
                return

    def _sort(self) -> bool:
        """Whether there is something new for the main loop."""
        queued = False
        while (frame := self._next()) is not None:
            if not self.on_frame(frame):
                self.frames.append(frame)
                queued = True
        return queued

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
