"""The `FileWatch` port over watchdog: one watch a folder, of the nearest one that is there for what is not."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserver

POLL_S: Final = 0.5
"""Between two looks, where the system gives no more watches."""

CLOCK_STEP_S: Final = 0.05
"""By how much the time of a file may lie behind the clock."""

_TELLING: Final = frozenset({"created", "modified", "deleted", "moved", "closed"})

_log = structlog.get_logger(__name__)


class FolderWatch(FileSystemEventHandler):
    """Of one loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._observer: BaseObserver | None = None
        self._poller: BaseObserver | None = None
        self._watches: dict[str, tuple[BaseObserver, ObservedWatch]] = {}
        self._paths: dict[str, dict[str, Callable[[str], None]]] = {}
        """Path of a file, or of a folder above one -> who wants to know."""
        self._keys: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        """Key -> its paths, and the folders that are watched for them."""

    async def watch(self, key: str, files: Sequence[str], since: datetime, changed: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._turn:
            late = await asyncio.to_thread(self._set, key, files, since.timestamp() - CLOCK_STEP_S, changed)
        if late:
            changed(key)

    def close(self) -> None:
        for observer in (self._observer, self._poller):
            if observer is not None:
                observer.stop()
        self._loop = None

    def on_any_event(self, event: FileSystemEvent) -> None:
        """In the observer's thread. A folder is modified by whatever happens in it, which is told by itself."""
        if event.event_type not in _TELLING or (event.is_directory and event.event_type == "modified"):
            return
        told: dict[str, Callable[[str], None]] = {}
        with self._lock:
            for path in (event.src_path, event.dest_path):
                told |= self._paths.get(os.fsdecode(path), {})
        loop = self._loop
        if loop is not None and told:
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_tell, told)

    def _set(self, key: str, files: Sequence[str], since_s: float, changed: Callable[[str], None]) -> bool:
        """Whether a file has changed since."""
        wanted = {path for file in files for path in (file, os.path.realpath(file))}
        folders = {_nearest(os.path.dirname(path)) for path in wanted}
        paths = frozenset(wanted | {above for path in wanted for above in _between(path)})
        with self._lock:
            before, _ = self._keys.pop(key, (frozenset[str](), frozenset[str]()))
            for path in before - paths:
                self._paths.get(path, {}).pop(key, None)
                if not self._paths.get(path):
                    self._paths.pop(path, None)
            for path in paths:
                self._paths.setdefault(path, {})[key] = changed
            if files:
                self._keys[key] = (paths, frozenset(folders))
            needed = {folder for _, watched in self._keys.values() for folder in watched}
            missing, idle = needed - self._watches.keys(), self._watches.keys() - needed
        # Not under the lock: the observer's thread holds its own while it waits for ours.
        for folder in idle:
            observer, watch = self._watches.pop(folder)
            with contextlib.suppress(KeyError, OSError):
                observer.unschedule(watch)
        for folder in missing:
            self._watch_folder(folder)
        return any(_changed(path, since_s) for path in (*wanted, *folders))

    def _watch_folder(self, folder: str) -> None:
        try:
            self._observer = self._observer or _started(Observer())
            self._watches[folder] = (self._observer, self._observer.schedule(self, folder))
        except OSError as error:
            if not os.path.isdir(folder):
                # Gone just now: that is a change, which the times of the folder above tell.
                return
            _log.warning("looking at a folder now and then: the system watches no more", reason=str(error))
            self._poller = self._poller or _started(PollingObserver(timeout=POLL_S))
            self._watches[folder] = (self._poller, self._poller.schedule(self, folder))


def _tell(told: dict[str, Callable[[str], None]]) -> None:
    for key, changed in told.items():
        changed(key)


def _started(observer: Any) -> BaseObserver:
    observer.daemon = True
    observer.start()
    return observer


def _nearest(folder: str) -> str:
    """The folder, or the nearest one above it that is there."""
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def _between(path: str) -> list[str]:
    """The folders above a path, down from the nearest that is there: it is told of when they come or go."""
    found: list[str] = []
    folder = os.path.dirname(path)
    while True:
        found.append(folder)
        if os.path.isdir(folder) or os.path.dirname(folder) == folder:
            return found
        folder = os.path.dirname(folder)


def _changed(path: str, since_s: float) -> bool:
    try:
        status = Path(path).stat()
    except OSError:
        return False
    return max(status.st_mtime, status.st_ctime) >= since_s
