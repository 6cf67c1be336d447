"""Background sessions of a whole tower: bundles that declare them, events that trigger them, and what the log tells."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.cli.child_tower import ChildTower
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.waiting import eventually

DEADLINE_S = 60.0
SAYS = "import sys; sys.stdout.write(sys.stdin.read())"
"""A program that says what it is told."""

Event = dict[str, Any]


def echo() -> dict[str, Any]:
    return {"kind": "echo"}


def program(code: str = SAYS) -> dict[str, Any]:
    """The command runtime, with Python in the place of an agent."""
    return {"kind": "command", "argv": [sys.executable, "-S", "-c", code], "input": "stdin", "context": "none"}


def listening(name: str, *events: str, bundle: str = "./worker.yaml", **options: Any) -> dict[str, Any]:
    """A background session that these events trigger."""
    triggers = [{"type": "session_event", "config": {"event_names": list(events)}}]
    return {"name": name, "bundle": bundle, "triggers": triggers, **options}


class Yard:
    """Bundles with background sessions, and one tower."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk = desk
        self.folder = folder

    def write(self, name: str, runtime: Mapping[str, Any], *sessions: Mapping[str, Any]) -> str:
        """The path of a bundle."""
        told = {"bundle": {"name": name}, "runtime": dict(runtime), "background_sessions": list(sessions)}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(told))
        return str(path)

    def spawn(self, bundle: str, **options: Any) -> str:
        """The id of an accepted session."""
        asked = {"bundle": bundle, "instruction": "Lead.", "background": True, **options}
        return self.desk.accepted("session", "spawn", asked)["session_id"]

    def emit(self, name: str, data: Any = None, **fields: Any) -> None:
        self.desk.accepted("session", "emit", {"name": name, "data": data}, **fields)

    def events(self, *types: str, **query: Any) -> list[Event]:
        """What the log holds of these types, in order: data with `event`, the type, and `position`."""
        found = [each for type_ in types for each in self.desk.events(type=f"agenttower.{type_}.v1", **query)]
        told = (
            {**each["data"], "event": each["type"].split(".", 1)[1], "position": each["position"]} for each in found
        )
        return sorted(told, key=lambda each: each["position"])

    async def until(self, count: int, *types: str, **query: Any) -> list[Event]:
        """Once there are so many."""

        def look() -> list[Event] | None:
            found = self.events(*types, **query)
            return found if len(found) >= count else None

        found = await eventually(look, f"{count} of {types}", timeout_s=DEADLINE_S)
        assert found is not None
        return found

    def of(self, parent: str) -> dict[str, str]:
        """Name -> id of the background sessions that this session declares."""
        declared = self.events("background.declared")
        return {each["name"]: each["background_id"] for each in declared if each["parent_session_id"] == parent}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """One tower for the tests of a module."""
    need("tmux")
    tower = ChildTower(variables={"SHELL": "/bin/sh"})
    desk = Desk(tower)
    try:
        tower.start()
        yield Yard(desk, tmp_path_factory.mktemp("bundles"))
    finally:
        desk.close()
        tower.remove()
