"""How a template's label patterns become labels."""

from collections.abc import Collection, Iterator
from itertools import count
from typing import Final

from domain.messages import Template

MARKER: Final = "@MANAGED:"
"""How the title of a pane begins while it is pending: `@MANAGED:<token>:<label>`."""


def labels_for(template: Template, taken: Collection[str]) -> tuple[str, ...]:
    """A label a slot: `{n}` is the lowest ordinal whose label is free in `taken`, among the literal labels of the
    template, and among the slots before it. A literal label stays as it is, free or not."""
    used = {*taken, *(slot.label for slot in template.panes)}
    labels: list[str] = []
    for slot in template.panes:
        label = slot.label
        if "{n}" in label:
            label = next(candidate for candidate in _candidates(label) if candidate not in used)
        used.add(label)
        labels.append(label)
    return tuple(labels)


def slot_names(template: Template) -> tuple[str, ...]:
    """`<role>:<label>` of each slot, ordinals counted from 1: what override keys name."""
    return tuple(f"{slot.role}:{label}" for slot, label in zip(template.panes, labels_for(template, ()), strict=True))


def _candidates(pattern: str) -> Iterator[str]:
    return (pattern.replace("{n}", str(ordinal)) for ordinal in count(1))
