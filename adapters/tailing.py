"""Reading a log that is written on: its last lines, then what is added, over rotations.

A log is the file at its path and, from before the last rotation, the one at `<path>.1`. Where files take turns instead
of being renamed, the one changed last is the end.
"""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from adapters.paths import PREDECESSOR

BLOCK_BYTES: Final = 64 * 1024

_LINES: Final = re.compile(rb"[^\n]*\n|[^\n]+\Z")

Opener = Callable[[str], int]
"""A descriptor to read the file at a path with. `OSError`."""


def open_here(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class Tail:
    """One reader. `begin` once, then `more` as often as something may have been added. `close` it.

    `missed`: some output was gone before it was read.
    """

    def __init__(self, path: str, opener: Opener = open_here) -> None:
        self._paths = (path, path + PREDECESSOR)
        self._open = opener
        self._file: BinaryIO | None = None
        self.missed = False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def begin(self, lines: int | None) -> Iterator[bytes]:
        """The last lines, all there are with None. Raises `FileNotFoundError`, `PermissionError`."""
        older, self._file = self._parts()
        try:
            if lines is None:
                yield from _blocks(older)
                yield from _blocks(self._file)
            else:
                yield last_lines([each for each in (older, self._file) if each is not None], lines)
        finally:
            if older is not None:
                older.close()

    def more(self) -> Iterator[bytes]:
        """What was added since."""
        yield from self._rest()
        while (newer := self._newer()) is not None:
            # It was written on until it was left.
            yield from self._rest()
            self.close()
            self._file = newer
            yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        assert self._file is not None
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
            self.missed = True
        yield from _blocks(self._file)

    def _parts(self) -> tuple[BinaryIO | None, BinaryIO]:
        """The part before, if there is one, and the last."""
        found = [each for each in map(self._opened, self._paths) if each is not None]
        if not found:
            raise FileNotFoundError(self._paths[0])
        if len(found) == 1:
            return None, found[0]
        current, other = found
        if _identity(current) == _identity(other):
            other.close()
            return None, current
        return (current, other) if _changed_ns(other) > _changed_ns(current) else (other, current)

    def _newer(self) -> BinaryIO | None:
        """The part that follows the one being read; None while that is the last."""
        assert self._file is not None
        mine, mine_ns = _identity(self._file), _changed_ns(self._file)
        found = {path: each for path in self._paths if (each := self._opened(path)) is not None}
        current = found.get(self._paths[0])
        renamed = current is not None and _identity(current) != mine
        following = [
            each
            for path, each in found.items()
            if _identity(each) != mine
            and (_changed_ns(each) > mine_ns or (renamed and path == self._paths[0] and _changed_ns(each) == mine_ns))
            and os.fstat(each.fileno()).st_size
        ]
        chosen = min(following, key=_changed_ns, default=None)
        for each in found.values():
            if each is not chosen:
                each.close()
        if chosen is not None and os.fstat(self._file.fileno()).st_nlink == 0:
            self.missed = True
        return chosen

    def _opened(self, path: str) -> BinaryIO | None:
        try:
            return os.fdopen(self._open(path), "rb", buffering=0)
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def changes(path: Path, changed: Callable[[], object]) -> Iterator[None]:
    """`changed` is called, in another thread, after each change of the log at `path`. Not after it was read, which
    would have a reader that looks again then wake itself for ever."""
    from watchdog import events
    from watchdog.observers import Observer

    class Changed(events.FileSystemEventHandler):
        def on_any_event(self, event: events.FileSystemEvent) -> None:
            if str(event.src_path).startswith(str(path)):
                changed()

    # What it says of its own end is nothing for the reader of a log.
    logging.getLogger("watchdog").addHandler(logging.NullHandler())
    observer = Observer()
    kinds = [events.FileCreatedEvent, events.FileModifiedEvent, events.FileMovedEvent, events.FileDeletedEvent]
    observer.schedule(Changed(), str(path.parent), event_filter=kinds)
    observer.start()
    try:
        yield
    finally:
        observer.stop()


def last_lines(files: Sequence[BinaryIO], count: int) -> bytes:
    """The last `count` lines of files that follow each other; each then stands where its reading ended."""
    parts: list[bytes] = []
    newlines = 0
    for file in reversed(files):
        end = at = file.seek(0, os.SEEK_END)
        # One more than asked for: the text behind the last newline is a line only if it is not empty.
        while at > 0 and newlines <= count and count:
            size = min(BLOCK_BYTES, at)
            at -= size
            file.seek(at)
            parts.append(_exactly(file, size))
            newlines += parts[-1].count(b"\n")
        file.seek(end)
    # Not splitlines, to which a carriage return ends a line as well.
    return b"".join(_LINES.findall(b"".join(reversed(parts)))[-count:]) if count else b""


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size and (block := file.read(size - len(data))):
        data += block
    return data


def _blocks(file: BinaryIO | None) -> Iterator[bytes]:
    while file is not None and (block := file.read(BLOCK_BYTES)):
        yield block


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _changed_ns(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_mtime_ns
