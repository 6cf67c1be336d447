"""The kernel's file notifications for one event loop: one descriptor for all triggers, no threads.

A machine gives a user some 128 inotify instances, so that one a trigger would not do. What is told is a hint only, that
something in a folder may have changed: who listens looks for itself. The binding is watchdog's.
"""

import asyncio
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable
from typing import Final

import structlog
from watchdog.observers import inotify_c

READ_BYTES: Final = 256 * 1024

_FLAGS: Final = inotify_c.InotifyConstants
FOLDER_CHANGES: Final = int(
    _FLAGS.IN_CREATE
    | _FLAGS.IN_DELETE
    | _FLAGS.IN_MODIFY
    | _FLAGS.IN_ATTRIB
    | _FLAGS.IN_CLOSE_WRITE
    | _FLAGS.IN_MOVED_FROM
    | _FLAGS.IN_MOVED_TO
    | _FLAGS.IN_DELETE_SELF
    | _FLAGS.IN_MOVE_SELF
    | _FLAGS.IN_ONLYDIR
)
NAME_CHANGES: Final = int(
    _FLAGS.IN_CREATE | _FLAGS.IN_DELETE | _FLAGS.IN_MOVED_FROM | _FLAGS.IN_MOVED_TO | _FLAGS.IN_ONLYDIR
)
"""Of a folder above: what comes and goes in it."""

FILE_CHANGES: Final = int(
    _FLAGS.IN_MODIFY | _FLAGS.IN_ATTRIB | _FLAGS.IN_CLOSE_WRITE | _FLAGS.IN_DELETE_SELF | _FLAGS.IN_MOVE_SELF
)
"""Of the file that a symbolic link stands for."""

_SELF: Final = int(_FLAGS.IN_DELETE_SELF | _FLAGS.IN_MOVE_SELF | _FLAGS.IN_UNMOUNT | _FLAGS.IN_IGNORED)
_IS_FOLDER: Final = int(_FLAGS.IN_ISDIR)
_OVERFLOW: Final = int(_FLAGS.IN_Q_OVERFLOW)
_IGNORED: Final = int(_FLAGS.IN_IGNORED)
_ADD: Final = int(_FLAGS.IN_MASK_ADD)
_HEADER: Final = struct.Struct("iIII")

Heard = Callable[[bytes | None, bytes, bool, bool], None]
"""Path as it was given, the name in it that changed (empty: itself), whether that is a folder, whether the path itself
went. A path of None: the kernel has dropped some, so everything may have changed."""

_log = structlog.get_logger("triggers")


class NoMoreWatches(OSError):
    """The machine gives no more; its settings say how many."""


class Inotify:
    """`watch` and `unwatch` may be called from any thread, once `open` was called on the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard: dict[int, dict[tuple[int, bytes], Heard]] = {}
        """Watch -> who listens, by listener and path: two paths may lead to one folder."""
        self._watches: dict[tuple[int, bytes], int] = {}
        self._listeners: dict[int, Heard] = {}

    def open(self) -> None:
        """Raises `NoMoreWatches`."""
        if self._fd is not None:
            return
        fd = int(inotify_c.inotify_init())
        if fd < 0:
            number = ctypes.get_errno()
            raise NoMoreWatches(number, f"{os.strerror(number)}: fs.inotify.max_user_instances are in use")
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        self._fd, self._loop = fd, asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def close(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, None
            self._heard.clear()
            self._watches.clear()
            self._listeners.clear()
        if fd is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(fd)
            os.close(fd)

    @property
    def watches(self) -> int:
        return len(self._heard)

    def listen(self, listener: int, heard: Heard) -> None:
        """`heard` is called on the loop for what `listener` watches."""
        with self._lock:
            self._listeners[listener] = heard

    def watch(self, listener: int, path: bytes, mask: int) -> bool:
        """Whether the path is watched from here on: there was nothing there if not. Raises `NoMoreWatches`."""
        with self._lock:
            if self._fd is None:
                return False
            watch = int(inotify_c.inotify_add_watch(self._fd, path, mask | _ADD))
            if watch < 0:
                number = ctypes.get_errno()
                if number in (errno.ENOSPC, errno.EMFILE, errno.ENOMEM):
                    raise NoMoreWatches(number, f"{os.strerror(number)}: all fs.inotify.max_user_watches are in use")
                return False
            key = (listener, path)
            before = self._watches.get(key)
            if before is not None and before != watch:
                self._let_go(key, before)
            self._watches[key] = watch
            self._heard.setdefault(watch, {})[key] = self._listeners[listener]
            return True

    def unwatch(self, listener: int, path: bytes) -> None:
        with self._lock:
            watch = self._watches.pop((listener, path), None)
            if watch is not None:
                self._let_go((listener, path), watch)

    def forget(self, listener: int) -> None:
        """All that it watches, and itself."""
        with self._lock:
            for key in [key for key in self._watches if key[0] == listener]:
                self._let_go(key, self._watches.pop(key))
            self._listeners.pop(listener, None)

    def _let_go(self, key: tuple[int, bytes], watch: int) -> None:
        heard = self._heard.get(watch)
        if heard is None:
            return
        heard.pop(key, None)
        if not heard:
            del self._heard[watch]
            if self._fd is not None:
                inotify_c.inotify_rm_watch(self._fd, watch)  # pyright: ignore[reportArgumentType]

    def _read(self) -> None:
        if self._fd is None:
            return
        try:
            block = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        # Under the lock, so that what a thread is about to watch is known by the time it is told of.
        told: list[tuple[Heard, bytes | None, bytes, int]] = []
        with self._lock:
            while at < len(block):
                watch, mask, _, length = _HEADER.unpack_from(block, at)
                name = block[at + _HEADER.size : at + _HEADER.size + length].rstrip(b"\0")
                at += _HEADER.size + length
                if mask & _OVERFLOW:
                    told.extend((heard, None, b"", 0) for heard in self._listeners.values())
                    continue
                for (_, path), heard in self._heard.get(watch, {}).items():
                    told.append((heard, path, name, mask))
                if mask & _IGNORED:
                    for key in self._heard.pop(watch, {}):
                        self._watches.pop(key, None)
        for heard, path, name, mask in told:
            heard(path, name, bool(mask & _IS_FOLDER), bool(mask & _SELF) and not name)
