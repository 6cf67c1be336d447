"""Composition of plain maps and lists, as YAML gives them. Nothing is changed in place; inputs may be shared.

A `Replace` around a list or map (`!replace` in a file) takes the place of what it is merged over, instead of being
merged into it. It stays around the result, so that merging is the same in whatever order it is done; `plain` takes it
off.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

KEYS: Final = ("id", "module")
"""Of these fields the first that an entry of a module list has names it."""

Map = Mapping[str, Any]


class Replace(msgspec.Struct, frozen=True):
    """A list or map that is not merged into what comes before it."""

    value: Any


def merged(parent: Any, child: Any) -> Any:
    """Maps are merged deeply, lists joined without what the parent's has already; else the child's value stands."""
    if isinstance(child, Replace):
        return child
    if isinstance(parent, Replace):
        return Replace(merged(parent.value, child)) if _same_shape(parent.value, child) else child
    if isinstance(parent, Mapping) and isinstance(child, Mapping):
        return deep_merge(cast(Map, parent), cast(Map, child))
    if isinstance(parent, list) and isinstance(child, list):
        return joined(cast(list[Any], parent), cast(list[Any], child))
    return child


def deep_merge(parent: Map, child: Map) -> dict[str, Any]:
    """Both maps in one: the parent's keys keep their places, new ones follow."""
    result = dict(parent)
    for key, value in child.items():
        result[key] = merged(result[key], value) if key in result else value
    return result


def joined(parent: Sequence[Any], child: Sequence[Any]) -> list[Any]:
    """The parent's items, then those of the child that are not among them yet."""
    result = list(parent)
    for item in child:
        if not any(same(item, known) for known in result):
            result.append(item)
    return result


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: `true` is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        left, right = cast(Map, one), cast(Map, other)
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(one, list) and isinstance(other, list):
        items, others = cast(list[Any], one), cast(list[Any], other)
        return len(items) == len(others) and all(map(same, items, others))
    return one == other


def module_key(entry: Any) -> str | None:
    """By which an entry of a module list is known; None for one that has no name."""
    given = entry.value if isinstance(entry, Replace) else entry
    if not isinstance(given, Mapping):
        return None
    for key in KEYS:
        found: object = cast(Map, given).get(key)
        if isinstance(found, str) and found:
            return found
    return None


def merge_module_lists(parent: Sequence[Any], child: Sequence[Any]) -> list[Any]:
    """Entries by `id`, else `module`: one that is there keeps its place and is merged deeply, new ones follow.

    Of two with the same key in one list the second stays, at the place of the first. Entries without either are no
    entries: they were refused when the file was read.
    """
    result = keyed(parent)
    for key, entry in keyed(child).items():
        result[key] = merged(result[key], entry) if key in result else entry
    return list(result.values())


def keyed(entries: Sequence[Any]) -> dict[str, Any]:
    """Entries by key; of two with the same the second stays, at the place of the first."""
    result: dict[str, Any] = {}
    for entry in entries:
        key = module_key(entry)
        if key is not None:
            result[key] = entry
    return result


def plain(value: Any) -> Any:
    """The same without any `Replace`, made anew."""
    if isinstance(value, Replace):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in cast(Map, value).items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast(Sequence[Any], value)]
    return value


def _same_shape(one: Any, other: Any) -> bool:
    kinds = (Mapping, list)
    return any(isinstance(one, kind) and isinstance(other, kind) for kind in kinds)
