"""Reading the config of a trigger: a struct says what is allowed, a fault names its field."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from handlers.trigger_ports import TriggerProblem

C = TypeVar("C", bound=msgspec.Struct)

_AT: Final = re.compile(r" - at `\$\.?(?P<field>[^`]*)`\Z")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_MISSING: Final = re.compile(r"Object missing required field `(?P<field>[^`]*)`")


def read(config: Mapping[str, Any], kind: type[C]) -> C:
    """Raises `TriggerProblem`."""
    try:
        return msgspec.convert(dict(config), kind)
    except msgspec.ValidationError as error:
        raise _problem(str(error), kind) from error


def path_of(given: str | None, folder: str) -> str:
    """An absolute path, links unresolved. Relative ones are meant from `folder`."""
    path = Path(given or ".").expanduser()
    # `absolute` would leave `..` in it, which no watch of the folders above could follow.
    return str(Path(*_without_dots(Path(folder) / path)))


def _without_dots(path: Path) -> list[str]:
    parts: list[str] = []
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif len(parts) > 1:
            parts.pop()
    return parts


def _problem(text: str, kind: type[msgspec.Struct]) -> TriggerProblem:
    known = ", ".join(sorted(kind.__struct_encode_fields__))
    if (found := _UNKNOWN.match(text)) is not None:
        return TriggerProblem(found["field"], f"is not known here; known are {known or 'none'}")
    if (found := _MISSING.match(text)) is not None:
        return TriggerProblem(found["field"], "is missing")
    found = _AT.search(text)
    return TriggerProblem(found["field"] if found else "", _AT.sub("", text))
