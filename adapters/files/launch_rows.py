"""Templates and launch profiles as rows for people and programs: sorted by name, secrets redacted."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from adapters.files.launch_folder import Problem
from adapters.files.launching import Catalogue
from adapters.telemetry import REDACTED, is_secret_key, redacted
from domain.layouts.labels import slot_names
from domain.messages import Template
from handlers.ports import LaunchProfile

Row = dict[str, Any]

_ASSIGNED: Final = re.compile(r"(-{0,2}[A-Za-z_][A-Za-z0-9_-]*)=", re.ASCII)


class Listed(NamedTuple):
    """`problems`: the files that were skipped, one row a fault {file, line, reason}."""

    rows: Sequence[Row]
    problems: Sequence[Row]


class Look(Protocol):
    async def look(self) -> Catalogue: ...


class LaunchRows:
    """What stands in the catalogue at the time of each call."""

    def __init__(self, files: Look) -> None:
        self._files = files

    async def templates(self) -> Listed:
        return template_rows(await self._files.look())

    async def profiles(self) -> Listed:
        return profile_rows(await self._files.look())


def template_rows(catalogue: Catalogue) -> Listed:
    templates = catalogue.known.templates
    rows = [_template_row(templates[name], catalogue.template_files) for name in sorted(templates)]
    return Listed(rows, _problem_rows(catalogue.template_problems))


def profile_rows(catalogue: Catalogue) -> Listed:
    profiles = catalogue.known.profiles
    rows = [_profile_row(profiles[name], catalogue.profile_files) for name in sorted(profiles)]
    return Listed(rows, _problem_rows(catalogue.profile_problems))


def _template_row(template: Template, files: Mapping[str, str]) -> Row:
    """`slot` is the key of `launch_command_overrides`."""
    slots = zip(slot_names(template), template.panes, strict=True)
    return {
        "id": template.name,
        "name": template.name,
        **_source(template.name, files),
        "pane_count": len(template.panes),
        "panes": [{"slot": name, **msgspec.structs.asdict(slot)} for name, slot in slots],
    }


def _profile_row(profile: LaunchProfile, files: Mapping[str, str]) -> Row:
    return {
        "id": profile.name,
        "name": profile.name,
        **_source(profile.name, files),
        "command": _argv(profile.command),
        "env": redacted(profile.env),
        "working_dir": profile.working_dir,
        "resume": None if profile.resume is None else _argv(profile.resume),
        "digest": profile.digest,
    }


def _source(name: str, files: Mapping[str, str]) -> Row:
    return {"source": "file" if name in files else "built_in", "file": files.get(name)}


def _argv(words: Sequence[str]) -> list[str]:
    """An assignment among the words, `API_KEY=…` or `--api-key=…`, is shown as an environment's would be."""
    return [_word(word) for word in words]


def _word(word: str) -> str:
    found = _ASSIGNED.match(word)
    return f"{found[0]}{REDACTED}" if found is not None and is_secret_key(found[1]) else word


def _problem_rows(problems: Sequence[Problem]) -> list[Row]:
    return [msgspec.structs.asdict(problem) for problem in problems]
