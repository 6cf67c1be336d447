"""A bundle with all that it includes, composed: first include, further includes in order, own content last. Blocking.

Includes of includes come first (depth first). A bundle that is included in two ways is read once, and composed
wherever it is included, as the ecosystem does.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from adapters.bundles.finding import Finder, Place, Start, root_bundle, roots_of
from adapters.bundles.inputs import Inputs
from adapters.bundles.problems import cycle
from adapters.bundles.reading import BundleFile, bundle_file
from adapters.files.yaml_lines import Document
from domain.bundles.layers import Layer, compose
from domain.bundles.merging import Replace
from domain.bundles.shapes import KNOWN, MODULE_LISTS, includes_of, layer_of, unknown
from handlers.bundle_ports import BundleProblem

MAX_DEPTH: Final = 50
"""Includes of includes."""

LEFT_OUT: Final = frozenset({"bundle_not_found", "bundle_include_cycle"})
"""What a lenient bundle goes on without."""


class Loader:
    """Of one preparation; `lenient` may be set by the top bundle itself."""

    def __init__(self, *, inputs: Inputs, finder: Finder, lenient: bool) -> None:
        self._inputs = inputs
        self._finder = finder
        self.lenient = lenient
        self.warnings: list[str] = []
        self._loaded: dict[str, Layer] = {}
        self._read: dict[str, BundleFile] = {}

    def load(self, place: Place) -> Layer:
        """The top bundle, composed. Raises `BundleProblem`."""
        read = self._file(place, top=True)
        self.lenient = self.lenient or read.given.get("lenient") is True
        return self._composed(place, read, ())

    def overlay(self, place: Place, includes: Sequence[str] | None) -> Layer:
        """An overlay with what it includes; `includes` stand for its own. The file may be missing then."""
        if self._inputs.exists(place.file):
            read = self._file(place, top=False)
        else:
            read = BundleFile(place.file, {}, "", Document({}, {(): 1}), 0)
        if includes is not None:
            read = read._replace(given={**read.given, "includes": list(includes)})
        return self._composed(place, read, (), overlay=True)

    def name_of(self, place: Place) -> str:
        """Without loading what it includes; the empty text if it has none."""
        return _name(self._file(place, top=False))

    def _file(self, place: Place, *, top: bool) -> BundleFile:
        key = os.path.realpath(place.file)
        if key not in self._read or top:
            self._read[key] = bundle_file(place.file, self._inputs.read(place.file), top=top)
            self._warn_of_unknown(self._read[key])
        return self._read[key]

    def _composed(self, place: Place, read: BundleFile, chain: tuple[str, ...], *, overlay: bool = False) -> Layer:
        key = os.path.realpath(place.file)
        if key in self._loaded:
            return self._loaded[key]
        if key in chain or len(chain) >= MAX_DEPTH:
            raise cycle([*chain[chain.index(key) if key in chain else 0 :], key])
        self._name_space(place, _name(read))
        result: Layer | None = None
        for index, text in enumerate(includes_of(read.given)):
            included = self._include(text, place, read.where("includes", index), (*chain, key))
            if included is not None:
                result = included if result is None else compose(result, included)
        own = _own(place, read, overlay=overlay)
        self._loaded[key] = own if result is None else compose(result, own)
        return self._loaded[key]

    def _include(self, text: str, place: Place, where: str, chain: tuple[str, ...]) -> Layer | None:
        """None for one that is left out."""
        try:
            found = self._finder.bundle(text, Start(place.folder, place.fetched, where))
            return self._composed(found, self._file(found, top=False), chain)
        except BundleProblem as problem:
            if not self.lenient or problem.code not in LEFT_OUT:
                raise
            self._warn(f"{where}: the include {text} is left out: {problem.message}")
            return None

    def _name_space(self, place: Place, name: str) -> None:
        """The bundle's own name, and that of its repository's root bundle, from here on lead to their files."""
        spaces = self._finder.namespaces
        if name:
            spaces.setdefault(name, roots_of(place))
        above = root_bundle(place)
        if above is None:
            return
        try:
            root = bundle_file(above.file, self._inputs.peek(above.file), top=False)
        except BundleProblem:
            # It is not loaded, only a name.
            return
        self._inputs.count(_name(root))
        if _name(root):
            spaces.setdefault(_name(root), roots_of(above))

    def _warn_of_unknown(self, read: BundleFile) -> None:
        for path in unknown(read.given):
            name = ".".join(map(str, path))
            near = difflib.get_close_matches(name, (*KNOWN, "bundle.name", "bundle.version", "bundle.description"), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self._warn(f"{read.where(*path)}: {name} means nothing here and is kept{hint}")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _name(read: BundleFile) -> str:
    head = read.given.get("bundle")
    head = head.value if isinstance(head, Replace) else head
    return (head or {}).get("name") or ""


def _own(place: Place, read: BundleFile, *, overlay: bool) -> Layer:
    """Its own content, the sources of its modules absolute."""
    layer = layer_of(read.given, folder=str(place.folder), body=read.body, overlay=overlay)
    sections: dict[str, Any] = {
        name: with_sources(getattr(layer, name), str(place.folder)) for name in (*MODULE_LISTS, "session")
    }
    agents = {
        name: msgspec.structs.replace(agent, inline=with_sources(agent.inline, str(place.folder)))
        for name, agent in layer.agents.items()
    }
    return msgspec.structs.replace(layer, agents=agents, **sections)


def with_sources(value: Any, folder: str) -> Any:
    """The same, relative sources of modules made absolute; what stands in a `config` is nobody's business."""
    match value:
        case Replace():
            return Replace(with_sources(value.value, folder))
        case list():
            return [with_sources(each, folder) for each in cast(list[Any], value)]
        case Mapping():
            return {key: _with_source(key, each, folder) for key, each in value.items()}
        case _:
            return value


def _with_source(key: str, value: Any, folder: str) -> Any:
    if key == "source" and isinstance(value, str) and value.startswith(("./", "../")):
        return os.path.normpath(os.path.join(folder, value))
    return value if key == "config" else with_sources(value, folder)
