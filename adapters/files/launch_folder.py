"""The YAML files of one folder, read again when they changed. Blocking; nothing in the folder can make it fail or wait.

A file is taken whole or not at all. What is not taken is a `Problem` that says why.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from adapters.files.yaml_lines import Fault, FaultyText, printable
from domain.messages import Template
from handlers.ports import Clock, LaunchProfile

MAX_FILE_BYTES: Final = 64 * 1024
"""Some hundred times an ordinary file."""
MAX_FILES: Final = 256
TRIES: Final = 3
"""Readings of a file that somebody writes meanwhile."""

UNSURE_S: Final = 2.0
"""A file written once more within this time may show the same times and size: some disks keep whole seconds."""

_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

ThingT = TypeVar("ThingT", Template, LaunchProfile)


class Problem(msgspec.Struct, frozen=True, order=True):
    """A file that is skipped. `line` counts from 1; None where the whole file is at fault."""

    file: str
    line: int | None
    reason: str


class Found(msgspec.Struct, Generic[ThingT], frozen=True):
    """`things` by name, each with the file it stands in: of one name the later file's."""

    things: dict[str, tuple[ThingT, str]]
    problems: tuple[Problem, ...]


class _Stamp(NamedTuple):
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Stamp":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class _Kept(NamedTuple, Generic[ThingT]):
    """What a file held. `sure`: as long as it has the same stamp, it holds the same."""

    stamp: _Stamp
    sure: bool
    digest: bytes
    things: tuple[ThingT, ...]
    faults: tuple[Fault, ...]


class LaunchFolder(Generic[ThingT]):
    """`look()` as often as wanted, by one thread at a time."""

    def __init__(self, path: Path, parse: Callable[[str], tuple[ThingT, ...]], clock: Clock) -> None:
        self.path = path
        self._parse = parse
        self._clock = clock
        self._kept: dict[str, _Kept[ThingT]] = {}

    def look(self) -> Found[ThingT]:
        things: dict[str, tuple[ThingT, str]] = {}
        problems: list[Problem] = []
        kept: dict[str, _Kept[ThingT]] = {}
        try:
            names, skipped = self._names()
        except OSError as error:
            names, skipped = [], _folder_faults(self.path, error)
        for name, fault in skipped:
            problems.append(_problem(self.path / name, fault))
        for name in names:
            file = self.path / name
            try:
                read = self._read(file, self._kept.get(name))
            except FaultyText as error:
                problems += [_problem(file, fault) for fault in error.faults]
                continue
            except FileNotFoundError:
                if file.is_symlink():
                    problems.append(_problem(file, Fault(None, "is a link to nothing")))
                continue
            except OSError as error:
                problems.append(_problem(file, Fault(None, f"cannot be read: {error.strerror or error}")))
                continue
            kept[name] = read
            problems += [_problem(file, fault) for fault in read.faults]
            things |= {thing.name: (thing, printable(str(file))) for thing in read.things}
        self._kept = kept
        return Found(things, tuple(problems))

    def _names(self) -> tuple[list[str], list[tuple[str, Fault]]]:
        """Files to read, in order; and what stands beside them without being read, for a reason worth telling."""
        every = sorted((name for name in os.listdir(self.path) if name[0] != "."), key=os.fsencode)
        names = [name for name in every if name.endswith(".yaml")]
        skipped = [
            (name, Fault(None, "is not read: its name must end in .yaml")) for name in every if name.endswith(".yml")
        ]
        if len(names) > MAX_FILES:
            skipped.append(("", Fault(None, f"holds {len(names)} files: only the first {MAX_FILES} are read")))
        return names[:MAX_FILES], skipped

    def _read(self, file: Path, before: _Kept[ThingT] | None) -> _Kept[ThingT]:
        status = os.stat(file)
        if before is not None and before.sure and before.stamp == _Stamp.of(status):
            return before
        _check_kind(status)
        stamp, content = _stable_content(file)
        sure = self._clock.now().timestamp() - max(stamp.mtime_ns, stamp.ctime_ns) / 1e9 > UNSURE_S
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if before is not None and before.digest == digest:
            return before._replace(stamp=stamp, sure=sure)
        try:
            return _Kept(stamp, sure, digest, self._parse(_text(content)), ())
        except FaultyText as error:
            return _Kept(stamp, sure, digest, (), error.faults)


def _folder_faults(folder: Path, error: OSError) -> list[tuple[str, Fault]]:
    """A folder that is not there is none that is wrong."""
    if isinstance(error, FileNotFoundError):
        return [("", Fault(None, "is a link to nothing"))] if folder.is_symlink() else []
    return [("", Fault(None, f"cannot be read: {error.strerror or error}"))]


def _problem(file: Path, fault: Fault) -> Problem:
    return Problem(file=printable(str(file)), line=fault.line, reason=fault.reason)


def _check_kind(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "no file")
        raise FaultyText(Fault(None, f"is {kind}: expected a file"))
    if status.st_size > MAX_FILE_BYTES:
        raise FaultyText(Fault(None, f"has {status.st_size} bytes: at most {MAX_FILE_BYTES} are read"))


def _stable_content(file: Path) -> tuple[_Stamp, bytes]:
    """What stands in it at one moment. Raises `FaultyText` when it is written all the while, `OSError`."""
    for _ in range(TRIES):
        # Without waiting: a pipe may have taken the file's place just now.
        descriptor = os.open(file, _OPEN)
        try:
            before = os.fstat(descriptor)
            _check_kind(before)
            content = b"".join(_chunks(descriptor))
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if len(content) == after.st_size and _Stamp.of(before) == _Stamp.of(after):
            return _Stamp.of(after), content
    raise FaultyText(Fault(None, "is being written: it changed while it was read"))


def _chunks(descriptor: int) -> Iterator[bytes]:
    left = MAX_FILE_BYTES + 1
    while left > 0:
        try:
            chunk = os.read(descriptor, left)
        except OSError as error:
            if error.errno == errno.EINTR:
                continue
            raise
        if not chunk:
            return
        left -= len(chunk)
        yield chunk


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FaultyText(Fault(content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text")) from None


def problems_of(*found: Found[Template] | Found[LaunchProfile]) -> Sequence[Problem]:
    return [problem for each in found for problem in each.problems]
