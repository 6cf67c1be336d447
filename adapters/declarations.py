"""Background sessions as they stand in `agenttower.yaml`: what is wrong with them, and on which line."""

import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from domain.background.reading import FIELD, definitions
from domain.errors import Rejection

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def checked(value: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Raises `ValueError` for what is wrong."""
    try:
        definitions(value)
    except Rejection as refusal:
        raise ValueError(refusal.message) from refusal
    return value


def fault(node: yaml.Node, value: Any) -> tuple[int, str] | None:
    """Line and fault of the first wrong field of the list at `node`; None if all of it is right."""
    if not isinstance(value, list):
        return node.start_mark.line + 1, f"{FIELD}: a list was expected, not {value!r}"
    try:
        definitions(value)
    except Rejection as refusal:
        field = str(refusal.details.get("field", FIELD))
        return _line(node, field.removeprefix(FIELD)), refusal.message
    return None


def _line(node: yaml.Node, path: str) -> int:
    """Of the place `path` below `node`, or of the nearest one around it that exists."""
    line = node.start_mark.line + 1
    for key, index in _STEP.findall(path):
        if isinstance(node, yaml.MappingNode):
            found = next(((name, child) for name, child in node.value if name.value == key), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line + 1
        else:
            return line
    return line
