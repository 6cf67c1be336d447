"""From the name of a bundle to its file: the prefix map, git, namespaces, folders. Blocking."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from adapters.bundles.git_cache import GitCache, GitFailed
from adapters.bundles.inputs import Inputs
from adapters.bundles.problems import not_found
from adapters.bundles.reading import SUFFIXES
from adapters.bundles.uris import (
    DEFAULT_REF,
    SUBDIRECTORY,
    FileUri,
    GitUri,
    NamespaceUri,
    NameUri,
    WrongUri,
    inside,
    parse,
)

IN_FOLDER: Final = ("bundle.md", "bundle.yaml")
LEVELS_UP: Final = 8
"""How far above a bundle the root of its repository is looked for, where no `.git` says where that is."""


class Place(NamedTuple):
    """Where a bundle stands. `fetched`: the folder of its repository, if it came by git: it cannot lead out of it."""

    file: Path
    fetched: Path | None = None

    @property
    def folder(self) -> Path:
        return self.file.parent


class Start(NamedTuple):
    """From where names lead. `where`: file and line of a name, for messages."""

    folder: Path
    fetched: Path | None = None
    where: str = ""


class Finder:
    """Of one preparation. `prefixes`: beginnings of URIs, and the local folders that stand for them. `names`: the URIs
    of bundles that are known by name elsewhere. `namespaces`: name -> where its paths begin, filled as bundles load.
    `warnings` grows as copies serve for what cannot be fetched."""

    def __init__(
        self,
        *,
        inputs: Inputs,
        git: GitCache,
        prefixes: Mapping[str, str],
        names: Callable[[], Mapping[str, str]],
        fresh: bool,
    ) -> None:
        self._inputs = inputs
        self._git = git
        self._prefixes = prefixes
        self._names = names
        self._fresh = fresh
        self.namespaces: dict[str, tuple[Start, ...]] = {}
        self.warnings: list[str] = []

    def bundle(self, text: str, start: Start) -> Place:
        """The file of a bundle. Raises `BundleProblem`."""
        return self._follow(text, start, bundle_candidates)

    def text(self, text: str, start: Start) -> Place:
        """The file of a context or mention."""
        return self._follow(text.removeprefix("@"), start, _text_candidates)

    def agent(self, name: str, start: Start) -> Place:
        """`agents/NAME.md` of its namespace, else of the bundle that names it."""

        def candidates(path: Path) -> Sequence[Path]:
            return [path.parent / "agents" / f"{path.name}.md", path.with_name(f"{path.name}.md")]

        return self._follow(name, start, candidates)

    def start(self, folder: str, where: str) -> Start:
        """In a folder, with the repository that it came with."""
        path = Path(folder or os.sep)
        return Start(path, self._git.repository_of(path), where)

    def _follow(self, text: str, start: Start, candidates: Callable[[Path], Sequence[Path]]) -> Place:
        if (mapped := self._mapped(text, start)) is not None:
            return self._first(text, start, [mapped], candidates)
        try:
            uri = parse(text)
        except WrongUri as error:
            raise not_found(text, [f"expected {error}"], named_in=start.where) from None
        match uri:
            case GitUri():
                return self._first(text, start, [self._checkout(text, uri, start)], candidates)
            case FileUri(path):
                begins = os.path.join(start.folder, os.path.expanduser(path))
                return self._first(text, start, [Start(Path(os.path.normpath(begins)), start.fetched)], candidates)
            case NamespaceUri(name, path):
                roots = self._roots(name, start)
                if not roots:
                    raise not_found(text, [f"no bundle named {name} is loaded"], named_in=start.where)
                return self._first(text, start, [Start(root.folder / path, root.fetched) for root in roots], candidates)
            case NameUri(name):
                return self._by_name(text, name, start, candidates)

    def _by_name(self, text: str, name: str, start: Start, candidates: Callable[[Path], Sequence[Path]]) -> Place:
        """A bundle that is known by that name, or a file beside what names it."""
        uri = self._names().get(name) if candidates is bundle_candidates else None
        if uri is not None and uri != text:
            return self._follow(uri, start, candidates)
        return self._first(text, start, [Start(start.folder / name, start.fetched)], candidates)

    def _first(
        self, text: str, start: Start, begins: Sequence[Start], candidates: Callable[[Path], Sequence[Path]]
    ) -> Place:
        searched: list[str] = []
        for begin in begins:
            for path in candidates(begin.folder):
                if begin.fetched is not None and not inside(path, begin.fetched):
                    searched.append(f"{path} (outside of its repository)")
                elif self._inputs.exists(path):
                    return Place(path, begin.fetched)
                else:
                    searched.append(str(path))
        raise not_found(text, searched, named_in=start.where)

    def _roots(self, name: str, start: Start) -> tuple[Start, ...]:
        """Where the paths of a namespace begin: of bundles of this preparation, else of one that is known by name."""
        if name in self.namespaces:
            return self.namespaces[name]
        uri = self._names().get(name)
        if uri is None:
            return ()
        place = self.bundle(uri, start)
        self.namespaces[name] = roots_of(place)
        return self.namespaces[name]

    def _mapped(self, text: str, start: Start) -> Start | None:
        """Where the longest prefix that fits leads; into a mirror (a bare repository) by git."""
        fitting = [prefix for prefix in self._prefixes if text.startswith(prefix)]
        if not fitting:
            return None
        prefix = max(fitting, key=len)
        base, _, path = text.removeprefix(prefix).partition(SUBDIRECTORY)
        rest, at, ref = base.rpartition("@")
        folder = Path(os.path.expanduser(self._prefixes[prefix])) / (rest if at else base).lstrip("/")
        if (folder / "HEAD").is_file() and (folder / "objects").is_dir():
            return self._checkout(text, GitUri(str(folder), ref or DEFAULT_REF, path), start)
        return Start(Path(os.path.normpath(folder / path)))

    def _checkout(self, text: str, uri: GitUri, start: Start) -> Start:
        try:
            found = self._git.checkout(uri.url, uri.ref, fresh=self._fresh)
        except GitFailed as error:
            raise not_found(text, [f"{uri.url}@{uri.ref} ({error})"], named_in=start.where) from None
        if found.warning is not None and found.warning not in self.warnings:
            self.warnings.append(found.warning)
        return Start(found.path / uri.path, found.path)


def bundle_candidates(path: Path) -> list[Path]:
    """`x.yaml` itself; else the bundle of the folder `x`, else `x` with an ending."""
    own = [path] if path.suffix in SUFFIXES else []
    with_ending = [path.with_name(path.name + suffix) for suffix in (".yaml", ".yml", ".md") if path.name]
    return [*own, *(path / name for name in IN_FOLDER), *with_ending]


def roots_of(place: Place) -> tuple[Start, ...]:
    """Where a namespace begins: at the nearest bundle file above, and at the bundle itself."""
    own = Start(place.folder, place.fetched)
    above = root_bundle(place)
    return (own,) if above is None else (Start(above.folder, place.fetched), own)


def root_bundle(place: Place) -> Place | None:
    """The nearest bundle above, within the repository."""
    folder = place.folder if place.file.name not in IN_FOLDER else _parent(place.folder, place.fetched)
    for _ in range(LEVELS_UP):
        if folder is None:
            return None
        for name in IN_FOLDER:
            if (folder / name).is_file() and folder / name != place.file:
                return Place(folder / name, place.fetched)
        folder = _parent(folder, place.fetched)
    return None


def _parent(folder: Path, fetched: Path | None) -> Path | None:
    """None at the root of a repository."""
    at_root = folder == fetched or folder.parent == folder or (folder / ".git").exists()
    return None if at_root else folder.parent


def _text_candidates(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in (".md", ".yaml", ".yml") if path.name)]
