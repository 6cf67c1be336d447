"""Which files of a folder are meant: glob patterns by parts of a path, as a walk comes down to them.

`*`, `?` and `[…]` stay within one part, `**` alone crosses folders (none, one or many). Names that begin with a dot are
names as others. A path that is not UTF-8 is matched as Python decodes it (surrogates).
"""

import fnmatch
import re
from collections.abc import Sequence
from typing import Final

from handlers.trigger_ports import TriggerProblem

IGNORED: Final = (".git", "__pycache__", "*~", ".*.sw?", "4913", ".#*", "#*#", ".goutputstream-*", "*___jb_???___")
"""What is left out unless the config says otherwise: version control, caches, what editors keep beside a file."""

Part = re.Pattern[str] | None
"""None: `**`."""

Places = frozenset[tuple[int, int]]
"""(pattern, how many parts of it are behind) of all that may still match."""


class Globs:
    """Patterns and what they leave out. A walk holds the `Places` of the folder that it stands in.

    An `ignore` entry without a slash leaves out every file and folder of that name, one with a slash the path from the
    top. Raises `TriggerProblem` (of the field `patterns` or `ignore`).
    """

    def __init__(self, patterns: Sequence[str], ignore: Sequence[str]) -> None:
        self._patterns = tuple(_parts("patterns", pattern) for pattern in patterns)
        if not self._patterns:
            raise TriggerProblem("patterns", "at least one pattern is needed, such as **/*")
        names = [entry.rstrip("/") for entry in ignore]
        self._ignored_names = tuple(_part("ignore", name) for name in names if "/" not in name)
        self._ignored = tuple(_parts("ignore", name) for name in names if "/" in name)
        self.top: Final = self._open({(index, 0) for index in range(len(self._patterns))}, self._patterns)
        self.top_ignored: Final = self._open({(index, 0) for index in range(len(self._ignored))}, self._ignored)

    def below(self, places: Places, name: str) -> Places:
        """In the folder `name` of the folder of `places`; empty: nothing in there can match."""
        return _step(places, name, self._patterns)

    def ignored_below(self, places: Places, name: str) -> Places | None:
        """The same of what is left out; None if `name` itself is."""
        if any(part is None or part.match(name) for part in self._ignored_names):
            return None
        after = _step(places, name, self._ignored)
        return None if any(done == len(self._ignored[index]) for index, done in after) else after

    def takes(self, places: Places, name: str) -> bool:
        """Whether the file `name` in the folder of `places` is meant."""
        return any(done == len(self._patterns[index]) for index, done in _step(places, name, self._patterns))

    def wants(self, places: Places) -> bool:
        """Whether anything in a folder of these places can match."""
        return any(done < len(self._patterns[index]) for index, done in places)

    def at(self, parts: Sequence[str]) -> tuple[Places, Places] | None:
        """Places in the folder of these parts from the top; None where nothing is meant."""
        places, ignored = self.top, self.top_ignored
        for part in parts:
            after = self.ignored_below(ignored, part)
            places = self.below(places, part)
            if after is None or not self.wants(places):
                return None
            ignored = after
        return places, ignored

    @staticmethod
    def _open(places: set[tuple[int, int]], patterns: Sequence[Sequence[Part]]) -> Places:
        return _closed(places, patterns)


def _closed(places: set[tuple[int, int]], patterns: Sequence[Sequence[Part]]) -> Places:
    """With the places behind each `**`, which may stand for nothing."""
    found = set(places)
    for index, done in places:
        while done < len(patterns[index]) - 1 and patterns[index][done] is None:
            done += 1
            found.add((index, done))
    return frozenset(found)


def _step(places: Places, name: str, patterns: Sequence[Sequence[Part]]) -> Places:
    after: set[tuple[int, int]] = set()
    for index, done in places:
        if done == len(patterns[index]):
            continue
        part = patterns[index][done]
        if part is None:
            after.add((index, done))
            if done == len(patterns[index]) - 1:
                # A last `**` takes everything below.
                after.add((index, done + 1))
        elif part.match(name):
            after.add((index, done + 1))
    return _closed(after, patterns)


def _parts(field: str, pattern: str) -> tuple[Part, ...]:
    if pattern.startswith("/"):
        raise TriggerProblem(field, f"{pattern!r} is absolute: patterns are meant from `path`")
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts:
        raise TriggerProblem(field, f"{pattern!r} names nothing")
    if ".." in parts:
        raise TriggerProblem(field, f"{pattern!r} leads out of `path`")
    return tuple(None if part == "**" else _part(field, part) for part in parts)


def _part(field: str, part: str) -> re.Pattern[str]:
    if "**" in part:
        raise TriggerProblem(field, f"`**` stands alone between slashes, not as in {part!r}")
    if not part:
        raise TriggerProblem(field, "an empty pattern")
    return re.compile(fnmatch.translate(part))
