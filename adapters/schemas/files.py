"""The files of `schemas/`: what they hold, whether they are current."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from adapters.http import documents
from adapters.http.app import create_api
from adapters.schemas import asyncapi
from adapters.schemas.json_schema import command_schema, event_schema, outcome_schema
from adapters.schemas.names import command_file, event_file
from domain import catalogue

FOLDER: Final = Path(__file__).parents[2] / "schemas"


@cache
def render() -> Mapping[str, str]:
    """Path below `schemas/` -> text, all of them."""
    files = {
        "asyncapi.yaml": asyncapi.text(asyncapi.document()),
        "openapi.json": _json(create_api().openapi()),
        "outcome.json": _json(outcome_schema()),
    }
    files |= {command_file(entry): _json(command_schema(entry)) for entry in documents.POSTED}
    files |= {event_file(entry): _json(event_schema(entry)) for entry in catalogue.EVENTS}
    return dict(sorted(files.items()))


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def differences(folder: Path) -> list[str]:
    """`path: missing | not current | not generated`, for each file of `folder` that `render()` would change."""
    wanted = render()
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found = [f"{path}: not generated" for path in sorted(there - wanted.keys())]
    for path, text in wanted.items():
        if path not in there:
            found.append(f"{path}: missing")
        elif (folder / path).read_text(encoding="utf-8") != text:
            found.append(f"{path}: not current")
    return found


def write(folder: Path) -> None:
    """Write all files; what is not generated any more is removed."""
    wanted = render()
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for path, text in wanted.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
