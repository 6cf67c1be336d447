"""YAML as people write it, with the line of every value: safe, bounded, one document or several.

`documents` gives plain data only: text, whole numbers, lists, mappings. Everything else that YAML makes of a word
(`no`, `1.5`, `2026-01-02`) stays an `Unquoted`, so that the error can say what it was taken for. `values` gives all
that JSON knows, for files whose fields are free.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import yaml

from domain.bundles.merging import Replace

MAX_VALUES: Final = 10_000
"""Values of one file, each use of an alias counted: more is no configuration but a bomb."""
MAX_DEPTH: Final = 20

_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final = {
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "timestamp": "a date",
    "binary": "binary data",
    "null": "nothing",
    "value": "a sign of YAML's own",
    "merge": "a sign of YAML's own",
}
_REPLACE: Final = "!replace"
_OF_JSON: Final = frozenset({"int", "float", "bool", "null"})
_WHOLE: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,8})\Z")

Path = tuple[str | int, ...]


class Fault(NamedTuple):
    """Why a text is not taken. `line` counts from 1; None where there is none."""

    line: int | None
    reason: str


class FaultyText(Exception):
    """At least one fault."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(reason for _, reason in faults))
        self.faults: Final = faults


class Unquoted(NamedTuple):
    """A word that YAML takes for something else than text; `kind` says for what."""

    kind: str


class Document(NamedTuple):
    """One document: its value, and the line on which each place in it stands (a mapping's key, a list's item)."""

    value: Any
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """Of the place, or of the nearest one around it that exists."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def documents(text: str) -> list[Document]:
    """The documents that hold something. Raises `FaultyText`, and nothing else, whatever the text."""
    return _documents(text, _Room(MAX_VALUES))


def values(text: str) -> list[Document]:
    """As `documents`, with numbers, true, false and null as such, dates and the like as the text that stands there,
    keys as text whatever they look like, and a `Replace` around lists and mappings that bear the tag `!replace`."""
    return _documents(text, _Room(MAX_VALUES, free=True))


def _documents(text: str, room: "_Room") -> list[Document]:
    found: list[Document] = []
    for node in _nodes(text):
        if node.tag == f"{_TAG}null" and isinstance(node, yaml.ScalarNode):
            continue
        lines: dict[Path, int] = {(): _line(node)}
        found.append(Document(_read(node, (), lines, room), lines))
    return found


def printable(text: str) -> str:
    """On one line, whatever bytes it came from; at most 200 characters."""
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return shown if len(shown) <= 200 else shown[:199] + "…"


class _Room:
    """How many more values may be read, and whether they are `free`: whatever JSON knows."""

    def __init__(self, values: int, *, free: bool = False) -> None:
        self._left = values
        self.free: Final = free

    def take(self, node: yaml.Node) -> None:
        self._left -= 1
        if self._left < 0:
            raise FaultyText(Fault(_line(node), f"more than {MAX_VALUES} values, each use of an alias counted"))


def _nodes(text: str) -> list[yaml.Node]:
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        return list(_composed(loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        raise FaultyText(Fault(line, f"not YAML: {printable(error.problem or 'cannot be read')}")) from None
    except yaml.reader.ReaderError as error:
        reason = f"not YAML: the character {printable(chr(int(error.character)))} may not stand here"
        raise FaultyText(Fault(text.count("\n", 0, error.position) + 1, reason)) from None
    except RecursionError:
        raise FaultyText(Fault(None, f"not read: nested deeper than {MAX_DEPTH}")) from None
    except Exception as error:  # noqa: BLE001 -- PyYAML lets many kinds through: chr() and int() of what was written
        line = loader.line + 1 if loader is not None else None
        raise FaultyText(Fault(line, f"not YAML: {printable(str(error))}")) from None
    finally:
        if loader is not None:
            loader.dispose()


def _composed(loader: yaml.SafeLoader) -> Iterator[yaml.Node]:
    while loader.check_node():
        node = loader.get_node()
        assert node is not None
        yield node


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _read(node: yaml.Node, path: Path, lines: dict[Path, int], room: _Room) -> Any:
    room.take(node)
    if len(path) > MAX_DEPTH:
        raise FaultyText(Fault(_line(node), f"nested deeper than {MAX_DEPTH}"))
    tag = node.tag.removeprefix(_TAG)
    if room.free and tag == _REPLACE and not isinstance(node, yaml.ScalarNode):
        replacing = "seq" if isinstance(node, yaml.SequenceNode) else "map"
        return Replace(_items(node, replacing, path, lines, room))
    match node:
        case yaml.ScalarNode() if tag == "str":
            return node.value
        case yaml.ScalarNode() if tag == "int" and _WHOLE.match(node.value):
            return int(node.value)
        case yaml.ScalarNode() if tag in _KINDS:
            return _free(node, tag) if room.free else Unquoted(_KINDS[tag])
        case _:
            return _items(node, tag, path, lines, room)


def _free(node: yaml.ScalarNode, tag: str) -> Any:
    """Numbers that JSON has none of (`.inf`) stay text."""
    if tag not in _OF_JSON:
        return node.value
    try:
        made = yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, yaml.YAMLError):
        return node.value
    return node.value if isinstance(made, float) and not math.isfinite(made) else made


def _items(node: yaml.Node, tag: str, path: Path, lines: dict[Path, int], room: _Room) -> Any:
    match node:
        case yaml.SequenceNode() if tag == "seq":
            items: list[Any] = []
            for index, item in enumerate(node.value):
                lines[(*path, index)] = _line(item)
                items.append(_read(item, (*path, index), lines, room))
            return items
        case yaml.MappingNode() if tag == "map":
            return _mapping(node, path, lines, room)
        case _:
            raise FaultyText(Fault(_line(node), f"the tag {printable(node.tag)} is not taken"))


def _mapping(node: yaml.MappingNode, path: Path, lines: dict[Path, int], room: _Room) -> dict[str, Any]:
    """Keys of its own, and behind them those that `<<` merges in."""
    found: dict[str, Any] = {}
    stands: dict[str, int] = {}
    merged: list[yaml.Node] = []
    for key_node, value_node in node.value:
        if key_node.tag == f"{_TAG}merge":
            merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            continue
        key, line = _key(key_node, room), _line(key_node)
        if key in stands:
            raise FaultyText(Fault(line, f"{printable(key)} stands here again, first on line {stands[key]}"))
        stands[key] = lines[(*path, key)] = line
        found[key] = _read(value_node, (*path, key), lines, room)
    for each in merged:
        inherited_lines: dict[Path, int] = {}
        # A level deeper than it stands, so that a mapping that merges itself comes to an end.
        inherited = _read(each, (*path, "<<"), inherited_lines, room)
        inherited = inherited.value if isinstance(inherited, Replace) else inherited
        if not isinstance(inherited, dict):
            raise FaultyText(Fault(_line(each), "<< takes a mapping, or a list of mappings"))
        for key in inherited.keys() - found.keys():
            found[key] = inherited[key]
        for place, line in inherited_lines.items():
            lines.setdefault((*path, *place[len(path) + 1 :]), line)
    return found


def _key(node: yaml.Node, room: _Room) -> str:
    room.take(node)
    if isinstance(node, yaml.ScalarNode) and (room.free or node.tag == f"{_TAG}str"):
        return node.value
    if isinstance(node, yaml.ScalarNode):
        raise FaultyText(Fault(_line(node), f"the key {printable(node.value)} is not text: put it in quotes"))
    raise FaultyText(Fault(_line(node), "a key is text"))
