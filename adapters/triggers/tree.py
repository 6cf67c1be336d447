"""What has changed in a tree of files, found by looking: each look is compared with the last one, which is stored.

Folders are named from the top (`b""`), as bytes. Symbolic links to files are the files they stand for, those to folders
are not entered, so that no walk goes in circles. All of it blocks.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from adapters.triggers.globs import Globs, Places
from adapters.triggers.store import Sight, Store

CHUNK: Final = 2_000
"""Rows of a first look that are written at once."""


class Change(NamedTuple):
    """`kind`: created, modified, deleted, moved (`before`: where it was). Paths from the top."""

    path: bytes
    kind: str
    before: bytes | None = None


class Found(NamedTuple):
    changes: tuple[Change, ...]
    seen: tuple[tuple[bytes, bytes, Sight], ...]
    gone: tuple[tuple[bytes, bytes], ...]


class Tree:
    """`cover` is called with the path of each folder before it is listed, and of each link's file; False: it is not
    there. `uncover` for folders that went. `never`: real paths that are left out, with all below."""

    def __init__(
        self,
        base: bytes,
        globs: Globs,
        store: Store,
        *,
        cover: Callable[[bytes, bool], bool],
        uncover: Callable[[bytes], None],
        never: Iterable[bytes] = (),
    ) -> None:
        self._base = base
        self._globs = globs
        self._store = store
        self._cover = cover
        self._uncover = uncover
        self._never = frozenset(never)
        self._below: dict[bytes, set[bytes]] = {}
        """Folder that is covered -> the names of those in it, as they were when it was listed last."""
        self._known_places: dict[bytes, tuple[Places, Places]] = {}

    def path(self, folder: bytes) -> bytes:
        return os.path.join(self._base, folder) if folder else self._base

    def folder_of(self, path: bytes) -> bytes:
        """From the top, of a path as `cover` had it."""
        return b"" if path == self._base else path[len(self._base.rstrip(b"/")) + 1 :]

    def begin(self) -> None:
        """Take all there is as known."""
        rows: list[tuple[bytes, bytes, Sight]] = []
        for folder, files in self._walk(b"", *self._places(b"")):
            rows += ((folder, name, sight) for name, sight in files.items())
            if len(rows) >= CHUNK:
                self._store.write(seen=rows)
                rows = []
        self._store.write(seen=rows)

    def means(self, folder: bytes, name: bytes, *, is_folder: bool) -> bool:
        """Whether a change of `name` in a covered folder matters. From any thread, without looking at the disk."""
        known = self._known_places.get(folder)
        if known is None:
            return True
        places, ignored = known
        text = os.fsdecode(name)
        if self._globs.ignored_below(ignored, text) is None:
            return False
        return self._globs.wants(self._globs.below(places, text)) if is_folder else self._globs.takes(places, text)

    def fingerprint(self) -> int:
        """Another one after a change; only good for comparing within this process."""
        total = 0
        for folder, files in self._walk(b"", *self._places(b"")):
            total += sum(hash((folder, name, sight)) for name, sight in files.items())
        return total

    def forget(self) -> None:
        """All folders are uncovered and will be walked anew."""
        self._leave(b"")

    def look(self, folders: Iterable[bytes], lost: Iterable[bytes] = ()) -> Found:
        """What has changed in these folders, new ones in them included. `lost`: those that went, another one may be in
        their place; the top means everything."""
        now: dict[bytes, dict[bytes, Sight]] = {}
        whole: set[bytes] = set()
        asked = set(folders)
        for folder in lost:
            self._leave(folder)
            whole.add(folder)
            asked.add(folder.rpartition(b"/")[0])
        for folder in sorted(asked, key=len):
            if folder in self._below and folder not in now:
                self._look_again(folder, now, whole)
        if b"" not in self._below:
            whole.add(b"")
            now |= self._walk(b"", *self._places(b""))
        if whole:
            for folder in self._store.folders():
                if folder not in now and any(_is_within(folder, top) for top in whole):
                    now[folder] = {}
        return self._compare(now)

    def _look_again(self, folder: bytes, now: dict[bytes, dict[bytes, Sight]], whole: set[bytes]) -> None:
        """A folder itself; new ones in it, and those that went, whole."""
        before = self._below[folder]
        listed = self._list(folder, *self._places(folder))
        if listed is None:
            self._leave(folder)
            whole.add(folder)
            return
        files, below = listed
        now[folder] = files
        for name, there in below.items():
            sub = _join(folder, name)
            if sub not in self._below:
                whole.add(sub)
                now |= self._walk(sub, *there)
        for name in before - below.keys():
            self._leave(_join(folder, name))
            whole.add(_join(folder, name))

    def _leave(self, folder: bytes) -> None:
        """Uncover, with all below."""
        open_ = [folder]
        while open_:
            folder = open_.pop()
            names = self._below.pop(folder, None)
            self._known_places.pop(folder, None)
            if names is not None:
                self._uncover(self.path(folder))
                open_ += (_join(folder, name) for name in names)

    def _places(self, folder: bytes) -> tuple[Places, Places]:
        parts = [os.fsdecode(part) for part in folder.split(b"/")] if folder else []
        found = self._globs.at(parts)
        return (frozenset(), frozenset()) if found is None else found

    def _walk(self, top: bytes, places: Places, ignored: Places) -> Iterator[tuple[bytes, dict[bytes, Sight]]]:
        """Each folder from `top` down with its files; one that is not there is left out."""
        open_ = [(top, places, ignored)]
        while open_:
            folder, places, ignored = open_.pop()
            listed = self._list(folder, places, ignored)
            if listed is None:
                self._leave(folder)
                continue
            files, below = listed
            open_ += ((_join(folder, name), *inner) for name, inner in below.items())
            yield folder, files

    def _list(
        self, folder: bytes, places: Places, ignored: Places
    ) -> tuple[dict[bytes, Sight], dict[bytes, tuple[Places, Places]]] | None:
        """The files that are meant, and the folders in which there may be more; None: no such folder."""
        path = self.path(folder)
        if not self._cover(path, True):
            return None
        self._below[folder] = set()
        self._known_places[folder] = places, ignored
        files: dict[bytes, Sight] = {}
        below: dict[bytes, tuple[Places, Places]] = {}
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = os.fsdecode(entry.name)
                    inner = self._globs.ignored_below(ignored, name)
                    if inner is None:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        further = self._globs.below(places, name)
                        if self._globs.wants(further) and not self._is_left_out(entry.path):
                            below[entry.name] = (further, inner)
                    elif self._globs.takes(places, name) and (sight := self._sight(entry)) is not None:
                        files[entry.name] = sight
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            # What was there is still there, for all we know.
            files = self._store.files_in(folder)
        self._below[folder] = set(below)
        return files, below

    def _is_left_out(self, path: bytes) -> bool:
        return bool(self._never) and os.path.realpath(path) in self._never

    def _sight(self, entry: os.DirEntry[bytes]) -> Sight | None:
        """None for what is neither a file nor a link that leads nowhere."""
        try:
            linked = entry.is_symlink()
            if linked:
                self._cover(entry.path, False)
            try:
                status = entry.stat()
            except FileNotFoundError:
                if not linked:
                    return None
                status = entry.stat(follow_symlinks=False)
        except OSError:
            return None
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            return None
        return Sight(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)

    def _compare(self, now: dict[bytes, dict[bytes, Sight]]) -> Found:
        seen: list[tuple[bytes, bytes, Sight]] = []
        gone: list[tuple[bytes, bytes]] = []
        created: list[tuple[bytes, Sight]] = []
        deleted: dict[tuple[int, int, int], bytes] = {}
        changes: list[Change] = []
        for folder, files in now.items():
            before = self._store.files_in(folder)
            for name, sight in files.items():
                known = before.pop(name, None)
                if known == sight:
                    continue
                seen.append((folder, name, sight))
                if known is None:
                    created.append((_join(folder, name), sight))
                elif known[:3] != sight[:3]:
                    changes.append(Change(_join(folder, name), "modified"))
            for name, known in before.items():
                gone.append((folder, name))
                deleted[known.inode, known.modified, known.size] = _join(folder, name)
                changes.append(Change(_join(folder, name), "deleted"))
        moved: set[bytes] = set()
        for path, sight in created:
            was = deleted.pop((sight.inode, sight.modified, sight.size), None)
            if was is not None:
                moved.add(was)
            changes.append(Change(path, "created" if was is None else "moved", was))
        left = [change for change in changes if change.kind != "deleted" or change.path not in moved]
        return Found(tuple(sorted(left)), tuple(seen), tuple(gone))


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _is_within(path: bytes, folder: bytes) -> bool:
    return not folder or path == folder or path.startswith(folder + b"/")
