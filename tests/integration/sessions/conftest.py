"""Sessions of a whole tower: what a caller asks over HTTP and what the log tells of them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.waiting import eventually

AGENT = Path(__file__).parents[1] / "runtimes" / "agent.py"
RESTS = ("completed", "error", "cancelled", "timed_out")
DEADLINE_S = 60.0

Event = dict[str, Any]


def plan(kind: str = "echo", **runtime: Any) -> dict[str, Any]:
    return {"bundle": {"name": f"{kind}-bundle"}, "runtime": {"kind": kind, **runtime}}


def agent(**runtime: Any) -> dict[str, Any]:
    """The program of the tests, which is told line by line what to do."""
    options = {"argv": [sys.executable, str(AGENT)], "context": "none", "grace_s": 0.3} | runtime
    return plan("command", **options)


class Talks:
    """Asks for sessions on one tower."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def spawn(self, instruction: str, bundle: Any = None, **options: Any) -> str:
        """The id of an accepted session."""
        data = {"instruction": instruction, **options}
        if "agent" not in options:
            data["bundle"] = bundle or plan()
        outcome = self.command("spawn", data)
        assert outcome["status"] == "accepted", outcome
        return outcome["result"]["session_id"]

    def command(self, verb: str, data: dict[str, Any]) -> dict[str, Any]:
        """The outcome, at once."""
        body = {"noun": "session", "verb": verb, "data": data}
        return self.desk.http.post("/commands", params={"wait": 0}, json=body).json()

    def instruct(self, session_id: str, instruction: str) -> int:
        """The number of the turn."""
        asked = {"session_id": session_id, "instruction": instruction}
        return self.desk.accepted("session", "instruct", asked)["turn"]

    def cancel(self, session_id: str) -> None:
        self.desk.accepted("session", "cancel", {"session_id": session_id})

    def events(self, session_id: str, *names: str) -> list[Event]:
        """Its events as their data, with `event`, their name."""
        found = self.desk.events(kind="session", id=session_id)
        told = [{**each["data"], "event": each["type"].split(".")[2]} for each in found]
        return [each for each in told if not names or each["event"] in names]

    def names(self, session_id: str) -> list[str]:
        return [each["event"] for each in self.events(session_id)]

    async def event(self, session_id: str, name: str, count: int = 1) -> Event:
        """The event of that name, once there are so many."""

        def look() -> Event | None:
            found = self.events(session_id, name)
            return found[count - 1] if len(found) >= count else None

        found = await eventually(look, f"{name} of {session_id}", timeout_s=DEADLINE_S)
        assert found is not None
        return found

    async def rest(self, session_id: str, count: int = 1) -> Event:
        """Its first outcome, or the one of that number."""

        def look() -> Event | None:
            found = self.events(session_id, *RESTS)
            return found[count - 1] if len(found) >= count else None

        found = await eventually(look, f"an outcome of {session_id}", timeout_s=DEADLINE_S)
        assert found is not None
        return found

    async def denied(self, session_id: str, count: int = 1) -> list[tuple[str, str]]:
        """What code in it asked of the tower and may not have: capability and reason, once there are so many."""

        def look() -> list[Event]:
            found = self.desk.events(kind="capability", id=f"session:{session_id}")
            return found if len(found) >= count else []

        found = await eventually(look, f"denials of {session_id}", timeout_s=DEADLINE_S)
        assert {each["data"]["session_id"] for each in found} == {session_id}
        return [(each["data"]["capability"], each["data"]["reason"]) for each in found]

    async def says(self, session_id: str, text: str) -> None:
        """Until its output holds the text."""

        def look() -> bool:
            url = f"/executions/session:{session_id}/output"
            with self.desk.http.stream("GET", url, params={"format": "text"}) as answer:
                return any(text in piece for piece in answer.iter_text())

        await eventually(look, f"{text!r} said by {session_id}", timeout_s=DEADLINE_S)


@pytest.fixture(scope="module")
def talks() -> Iterator[Talks]:
    """One tower for the tests of a module."""
    need("tmux")
    tower = ChildTower(variables={"SHELL": "/bin/sh"})
    desk = Desk(tower)
    try:
        tower.start()
        yield Talks(desk)
    finally:
        desk.close()
        tower.remove()
