"""Who listens to which event names. An event finds its listeners without looking at all of them."""

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec
from immutables import Map
from msgspec.structs import replace

from domain.background.definition import ROUTED, Definition

EVERY: Final = "*"


class Listener(msgspec.Struct, frozen=True, array_like=True):
    """A trigger of a background session. `number` is the latter's; `sources`: whose events, empty for anybody's."""

    number: int
    background_id: str
    trigger: int
    sources: tuple[str, ...] = ()


class Listeners(msgspec.Struct, frozen=True, kw_only=True):
    """By pattern: a name, `work:*` for all names that begin so, or `*`."""

    by_pattern: Map[str, tuple[Listener, ...]] = Map()

    def of(self, name: str, sources: frozenset[str]) -> tuple[Listener, ...]:
        """Of an event from what goes by any of the names `sources`: of each background session the first trigger that
        matches, in the order of declaration."""
        heard: dict[str, Listener] = {}
        for pattern in (name, f"{name.partition(':')[0]}:*", EVERY):
            for each in self.by_pattern.get(pattern, ()):
                if each.sources and sources.isdisjoint(each.sources):
                    continue
                there = heard.get(each.background_id)
                if there is None or each.trigger < there.trigger:
                    heard[each.background_id] = each
        return tuple(sorted(heard.values(), key=lambda each: each.number))

    def with_(self, number: int, background_id: str, definition: Definition) -> "Listeners":
        """`definition` in the place of the one that it had."""
        by_pattern = self.without(background_id).by_pattern
        for pattern, listener in _listening(number, background_id, definition):
            by_pattern = by_pattern.set(pattern, (*by_pattern.get(pattern, ()), listener))
        return replace(self, by_pattern=by_pattern)

    def without(self, background_id: str) -> "Listeners":
        by_pattern = self.by_pattern
        for pattern, listeners in self.by_pattern.items():
            kept = tuple(each for each in listeners if each.background_id != background_id)
            if len(kept) != len(listeners):
                by_pattern = by_pattern.set(pattern, kept) if kept else by_pattern.delete(pattern)
        return replace(self, by_pattern=by_pattern)


def _listening(number: int, background_id: str, definition: Definition) -> Iterator[tuple[str, Listener]]:
    for place, trigger in enumerate(definition.triggers):
        if trigger.type in ROUTED:
            names = texts(trigger.config.get("event_names"))
            sources = texts(trigger.config.get("source_sessions"))
            for name in dict.fromkeys(names):
                yield name, Listener(number, background_id, place, sources)


def texts(value: Any) -> tuple[str, ...]:
    """The texts of a list; none of anything else."""
    return tuple(str(each) for each in cast(list[Any], value)) if isinstance(value, list | tuple) else ()
