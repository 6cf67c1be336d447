"""What a run is told to do: templates with fields and nothing else.

`{path}`, `{change}`, `{name}`, `{n}`, `{type}`, `{source}`, `{timestamp}`, `{data}`, `{json}` of the firing;
`{event.data[issue_id]}`, `{event.data[files][0]}`, and so on for every part of it. `{{` and `}}` are braces. A field
that a template may not have is an error when it is declared; one that a firing does not have stays as it stands.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import msgspec

from domain.background.definition import FILE_CHANGE, ROUTED, TIMER
from domain.background.events import TriggerTold

PLAIN: Final = ("path", "change", "name", "n", "type", "source", "timestamp", "data", "json")
OF_EVENT: Final = (
    "type",
    "source",
    "timestamp",
    "data",
    "file_path",
    "change_type",
    "source_session_id",
    "event_name",
    "name",
    "depth",
)

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{|\}")
_FIELD: Final = re.compile(r"([a-z_]+)((?:\.[A-Za-z_][A-Za-z0-9_]*|\[[^\[\]]+\])*)\Z")
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([^\[\]]+)\]")
_NOTHING: Final = object()


class Instruction(NamedTuple):
    text: str
    warnings: tuple[str, ...]


def fault(template: str) -> str | None:
    """What is wrong with a template, for its author; None if nothing is."""
    for piece in _PIECE.finditer(template):
        if piece[0] in ("{{", "}}"):
            continue
        if piece[1] is None:
            return f"a {piece[0]} that belongs to no field: braces in the text are written twice"
        if (wrong := _field_fault(piece[1])) is not None:
            return wrong
    return None


def _field_fault(text: str) -> str | None:
    field = _FIELD.match(text)
    if field is None:
        return f"{{{text}}} is no field: braces in the text are written twice"
    root, steps = field[1], _steps(field[2])
    if root in PLAIN:
        if steps and root != "data":
            return f"{{{text}}}: {root} has no parts"
        return None
    if root != "event":
        return f"unknown field {{{text}}}: there are event, {', '.join(PLAIN)}"
    if not steps or steps[0] not in OF_EVENT:
        return f"unknown field {{{text}}}: an event has {', '.join(OF_EVENT)}"
    if len(steps) > 1 and steps[0] != "data":
        return f"{{{text}}}: {steps[0]} has no parts"
    return None


def instruction(template: str | None, fired: TriggerTold, count: int) -> Instruction:
    """The text for a firing, by `template` or that of its type. `count`: the how manyth one it is."""
    fields = _fields(fired, count)
    warnings: list[str] = []

    def filled(piece: re.Match[str]) -> str:
        if piece[0] in ("{{", "}}"):
            return piece[0][0]
        value = _NOTHING if piece[1] is None else _value(piece[1], fields)
        if value is _NOTHING:
            warnings.append(f"{piece[0]} is nothing that this firing has")
            return piece[0]
        return _text(value)

    return Instruction(_PIECE.sub(filled, template or _default(fired)), tuple(warnings))


def _default(fired: TriggerTold) -> str:
    if fired.type == FILE_CHANGE:
        return "File changed: {path} ({change})"
    if fired.type in ROUTED:
        return "Event received: {name}\n\nData:\n{json}"
    if fired.type == TIMER:
        return "Timer triggered (tick {n})"
    return "Triggered by {type}: {json}"


def _fields(fired: TriggerTold, count: int) -> dict[str, Any]:
    data: Any = fired.data
    tick = cast(Mapping[str, Any], data).get("tick") if isinstance(data, Mapping) else None
    of_event = {
        **{name: getattr(fired, name) for name in OF_EVENT if name not in ("timestamp", "name")},
        "timestamp": fired.timestamp.isoformat(),
        "name": fired.event_name,
    }
    return {
        "event": of_event,
        "path": fired.file_path,
        "change": fired.change_type,
        "name": fired.event_name,
        "n": count if tick is None else tick,
        "type": fired.type,
        "source": fired.source,
        "timestamp": of_event["timestamp"],
        "data": data,
        "json": _indented(data) if fired.type in ROUTED else _compact(data),
    }


def _steps(text: str) -> list[str]:
    return [step[1] if step[1] is not None else step[2] for step in _STEP.finditer(text)]


def _value(text: str, fields: Mapping[str, Any]) -> Any:
    field = _FIELD.match(text)
    if field is None:
        return _NOTHING
    value: Any = fields.get(field[1], _NOTHING)
    for step in _steps(field[2]):
        if isinstance(value, Mapping):
            value = cast(Mapping[str, Any], value).get(step, _NOTHING)
        elif isinstance(value, list | tuple) and step.isascii() and step.isdigit():
            items = cast(list[Any], value)
            value = items[int(step)] if int(step) < len(items) else _NOTHING
        else:
            return _NOTHING
    return _NOTHING if value is None and len(fields) and _absent(field[1], field[2]) else value


def _absent(root: str, steps: str) -> bool:
    """Whether None means that the firing has no such field, and not that its data says null."""
    return root != "data" and not steps.startswith((".data", "[data]"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _compact(value)


def _compact(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _indented(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
