"""`file_change`: tells, a quiet moment after the last change, what is new, modified, deleted or moved in a folder.

The kernel's notifications say only where to look; what has changed is the difference between two looks, so that bursts,
lost notifications and editors that save by renaming come out right. Where the kernel cannot tell (file systems of other
machines, no more watches) the whole tree is looked at now and then. What was seen is stored, for changes while no tower
ran.
"""

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import structlog
from msgspec import Meta

from adapters.triggers import configs
from adapters.triggers.globs import IGNORED, Globs
from adapters.triggers.inotify import FILE_CHANGES, FOLDER_CHANGES, NAME_CHANGES, Inotify, NoMoreWatches
from adapters.triggers.mounts import polling_reason
from adapters.triggers.store import Store, Untold
from adapters.triggers.tree import Change, Tree
from handlers.ports import Clock, Ids
from handlers.trigger_ports import Firing

LONGEST_BURST_S: Final = 60.0
"""A tree that is written all the while is looked at after this time."""

FIRING_BYTES: Final = 224 * 1024
"""Of the data of one firing, as JSON; more is told in several, one after the other."""

POLL_SHARE: Final = 10
"""Looking at a tree may take this part of the time, however large it is."""

T = TypeVar("T")

_log = structlog.get_logger("triggers")


class FileChangeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path`: a folder, or the working folder of the tower. `watch`: `auto` takes what the file system is fit for."""

    path: str | None = None
    patterns: Annotated[tuple[str, ...], Meta(min_length=1, max_length=1000)] = ("**/*",)
    ignore: Annotated[tuple[str, ...], Meta(max_length=1000)] = IGNORED
    debounce_ms: Annotated[int, Meta(ge=0, le=600_000)] = 1000
    catch_up: bool = True
    watch: Literal["auto", "inotify", "polling"] = "auto"
    poll_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 2.0


class Told(msgspec.Struct):
    """A firing as it is stored until its outcome is known."""

    timestamp: datetime
    file_path: str
    change_type: str
    data: dict[str, Any]


class _Ended(Exception):
    """The source was stopped while it walked a tree."""


class FileChange:
    """A `TriggerSource`. `never`: folders that are left out wherever they are, the tower's own."""

    def __init__(self, inotify: Inotify, clock: Clock, ids: Ids, *, never: Iterable[str] = ()) -> None:
        self._inotify = inotify
        self._clock = clock
        self._ids = ids
        self._never = tuple(os.fsencode(os.path.realpath(folder)) for folder in never)
        self._how = "not yet"
        self._watching = asyncio.Event()
        self._hinted = asyncio.Event()
        self._heard_at = 0.0
        self._dirty: set[bytes] = set()
        self._lost: set[bytes] = set()
        self._chain: dict[bytes, bytes] = {}
        self._linked: set[bytes] = set()
        self._identity: tuple[int, int] | None = None
        self._moved = False
        self._working: asyncio.Future[Any] | None = None
        self._mark: int | None = None
        self._ending = False

    @property
    def how(self) -> str:
        return self._how

    def configure(self, config: Mapping[str, Any], *, folder: str, state: Path) -> None:
        self._config = configs.read(config, FileChangeConfig)
        self._path = configs.path_of(self._config.path, folder)
        self._base = os.fsencode(self._path)
        self._globs = Globs(self._config.patterns, self._config.ignore)
        self._store = Store(state)

    async def watching(self) -> None:
        await self._watching.wait()

    async def watch(self) -> AsyncGenerator[Firing]:
        untold = await self._run(self._open)
        await self._begin()
        self._watching.set()
        for each in untold:
            yield self._firing(each)
        while True:
            if self._polls:
                await self._until_polled()
            else:
                await self._hinted.wait()
                await self._until_quiet()
            for each in await self._changes():
                yield self._firing(each)

    async def stop(self) -> None:
        self._ending = True
        self._inotify.forget(id(self))
        if self._working is not None:
            await asyncio.wait([self._working])
        self._store.close()

    # --- beginning -------------------------------------------------------------------------------------------------

    def _open(self) -> list[Untold]:
        self._store.open()
        reason = "as configured" if self._config.watch == "polling" else None
        if self._config.watch == "auto":
            reason = polling_reason(self._base)
        self._use(reason)
        return self._store.untold()

    def _use(self, polling_because: str | None) -> None:
        """Notifications, unless there is a reason for polling."""
        self._polls = polling_because is not None
        self._how = f"polling every {self._config.poll_seconds:g} s ({polling_because})" if self._polls else "inotify"
        cover, uncover = (self._is_there, self._nothing) if self._polls else (self._cover, self._uncover)
        self._tree = Tree(self._base, self._globs, self._store, cover=cover, uncover=uncover, never=self._never)

    async def _begin(self) -> None:
        """From here on nothing is missed: all is covered, and what was seen before is compared or taken as known."""
        if not self._polls:
            try:
                self._inotify.open()
                self._inotify.listen(id(self), self._heard)
            except NoMoreWatches as error:
                self._poll(error)
        known = await self._run(lambda: self._store.thing("begun")) is not None
        while True:
            try:
                if known and self._config.catch_up:
                    await self._run(self._rebase)
                    self._hint(lost=b"")
                    self._heard_at -= self._config.debounce_ms / 1000
                else:
                    await self._run(self._take_as_known)
                return
            except NoMoreWatches as error:
                self._poll(error)

    def _take_as_known(self) -> None:
        self._store.forget_files()
        self._tree.forget()
        self._rebase()
        self._tree.begin()
        self._store.write(things={"begun": "1"})

    def _poll(self, error: NoMoreWatches) -> None:
        _log.warning("looking at files now and then: the system tells no more", path=self._path, reason=str(error))
        self._inotify.forget(id(self))
        self._use("inotify is at its limit")

    # --- what the kernel tells -------------------------------------------------------------------------------------

    def _heard(self, path: bytes | None, name: bytes, is_folder: bool, went: bool) -> None:
        if path is None:
            self._hint(lost=b"")
        elif path in self._chain:
            if went or name == self._chain[path]:
                self._hint(rebase=True)
        elif path in self._linked:
            self._hint(dirty=self._tree.folder_of(os.path.dirname(path)))
        else:
            folder = self._tree.folder_of(path)
            if went:
                self._hint(lost=folder)
            elif self._tree.means(folder, name, is_folder=is_folder):
                self._hint(dirty=folder)

    def _hint(self, *, dirty: bytes | None = None, lost: bytes | None = None, rebase: bool = False) -> None:
        if dirty is not None:
            self._dirty.add(dirty)
        if lost is not None:
            self._lost.add(lost)
        if rebase:
            self._moved = True
        self._heard_at = self._clock.monotonic()
        self._hinted.set()

    def _cover(self, path: bytes, is_folder: bool) -> bool:
        if self._ending:
            raise _Ended
        if not is_folder:
            self._linked.add(path)
        return self._inotify.watch(id(self), path, FOLDER_CHANGES if is_folder else FILE_CHANGES)

    def _uncover(self, path: bytes) -> None:
        self._inotify.unwatch(id(self), path)
        for link in [link for link in self._linked if os.path.dirname(link) == path]:
            self._linked.discard(link)
            self._inotify.unwatch(id(self), link)

    def _is_there(self, _path: bytes, _is_folder: bool) -> bool:
        if self._ending:
            raise _Ended
        return True

    def _nothing(self, _path: bytes) -> None:
        pass

    def _rebase(self) -> bool:
        """Watch the way to the folder; whether another one, or none, is at its end."""
        if not self._polls:
            parts = [part for part in self._base.split(b"/") if part]
            for depth, name in enumerate(parts):
                above = b"/" + b"/".join(parts[:depth])
                self._chain[above] = name
                if not self._inotify.watch(id(self), above, NAME_CHANGES):
                    break
        try:
            status = os.stat(self._base)
        except OSError:
            found = (0, 0)
        else:
            found = status.st_dev, status.st_ino
        before, self._identity = self._identity, found
        return before != found

    # --- what is told ----------------------------------------------------------------------------------------------

    async def _until_quiet(self) -> None:
        begun = self._clock.monotonic()
        while True:
            due = min(self._heard_at + self._config.debounce_ms / 1000, begun + LONGEST_BURST_S)
            rest_s = due - self._clock.monotonic()
            if rest_s <= 0:
                return
            await self._clock.sleep(rest_s)

    async def _until_polled(self) -> None:
        begun = self._clock.monotonic()
        mark, first = await self._run(self._tree.fingerprint), self._hinted.is_set()
        while mark == self._mark and not first:
            took_s = self._clock.monotonic() - begun
            await self._clock.sleep(max(self._config.poll_seconds, POLL_SHARE * took_s))
            begun = self._clock.monotonic()
            mark = await self._run(self._tree.fingerprint)
        begun = self._clock.monotonic()
        while not first and self._clock.monotonic() - begun < LONGEST_BURST_S:
            await self._clock.sleep(max(self._config.debounce_ms / 1000, 0.01))
            again = await self._run(self._tree.fingerprint)
            if again == mark:
                break
            mark = again
        self._mark = mark
        self._lost.add(b"")

    async def _changes(self) -> list[Untold]:
        self._hinted.clear()
        dirty, self._dirty = self._dirty, set()
        lost, self._lost = self._lost, set()
        moved, self._moved = self._moved, False
        try:
            return await self._run(lambda: self._look(dirty, lost, moved))
        except NoMoreWatches as error:
            self._poll(error)
            return await self._run(lambda: self._look(set(), {b""}, False))

    def _look(self, dirty: set[bytes], lost: set[bytes], moved: bool) -> list[Untold]:
        if moved and self._rebase():
            lost.add(b"")
        found = self._tree.look(dirty, lost)
        if not (found.seen or found.gone):
            return []
        told = [(self._ids.uuid7(), payload) for payload in self._payloads(found.changes)]
        return self._store.write(seen=found.seen, gone=found.gone, untold=told)

    def _payloads(self, changes: tuple[Change, ...]) -> list[bytes]:
        parts: list[list[Change]] = []
        size = FIRING_BYTES
        for change in changes:
            size += _size(change)
            if size > FIRING_BYTES:
                parts.append([])
                size = _size(change)
            parts[-1].append(change)
        return [self._payload(part, number, len(parts)) for number, part in enumerate(parts, 1)]

    def _payload(self, changes: list[Change], part: int, parts: int) -> bytes:
        data: dict[str, Any] = {
            "base": shown(self._base),
            "paths": [shown(change.path) for change in changes],
            "changes": {shown(change.path): change.kind for change in changes},
        }
        if moved := {shown(change.path): shown(change.before) for change in changes if change.before is not None}:
            data["moved_from"] = moved
        if odd := {
            shown(each.path): base64.b64encode(each.path).decode() for each in changes if not _is_text(each.path)
        }:
            data["bytes"] = odd
        if parts > 1:
            data |= {"part": part, "parts": parts}
        first = changes[0]
        told = Told(self._clock.now(), shown(self._tree.path(first.path)), first.kind, data)
        return msgspec.json.encode(told)

    def _firing(self, untold: Untold) -> Firing:
        told = msgspec.json.decode(untold.payload, type=Told)

        async def done(_outcome: Mapping[str, Any]) -> None:
            await self._run(lambda: self._store.told(untold.number))

        return Firing(
            id=untold.id,
            source=self._path,
            timestamp=told.timestamp,
            data=told.data,
            file_path=told.file_path,
            change_type=told.change_type,
            after=done,
        )

    async def _run(self, work: Callable[[], T]) -> T:
        """In a thread, which `stop` waits for even when whoever waits here was cancelled."""
        if self._working is not None:
            await asyncio.wait([self._working])
        self._working = working = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            working.add_done_callback(_retrieved)
            raise
        finally:
            if working.done():
                self._working = None


def shown(path: bytes) -> str:
    """A path as text; what is not UTF-8 as `\\xff`."""
    return path.decode("utf-8", "backslashreplace")


def _size(change: Change) -> int:
    """Bytes of JSON that name it."""
    paths = [change.path, change.path, change.path, change.before] if change.before is not None else [change.path] * 2
    odd = 0 if _is_text(change.path) else 3 * len(change.path)
    return sum(len(msgspec.json.encode(shown(path))) for path in paths) + len(change.kind) + 12 + odd


def _is_text(path: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        path.decode("utf-8")
        return True
    return False


def _retrieved(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
