"""How a template's label patterns become labels."""

from collections.abc import Collection, Iterator
from itertools import count

from domain.messages import Template


def labels_for(template: Template, taken: Collection[str]) -> tuple[str, ...]:
    """A label a slot: `{n}` is the lowest ordinal whose label is free in `taken` and among the slots before it."""
    used = set(taken)
    labels: list[str] = []
    for slot in template.panes:
        label = next(
            candidate for candidate in _candidates(slot.label) if candidate not in used or "{n}" not in slot.label
        )
        used.add(label)
        labels.append(label)
    return tuple(labels)


def slot_names(template: Template) -> tuple[str, ...]:
    """`<role>:<label>` of each slot, ordinals counted from 1: what override keys name."""
    return tuple(f"{slot.role}:{label}" for slot, label in zip(template.panes, labels_for(template, ()), strict=True))


def _candidates(pattern: str) -> Iterator[str]:
    return (pattern.replace("{n}", str(ordinal)) for ordinal in count(1))
