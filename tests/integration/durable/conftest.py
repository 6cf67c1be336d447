"""Executions of a whole tower: what a caller asks over HTTP and what the log tells of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.waiting import eventually

ENDS = ("completed", "failed", "cancelled", "timed_out", "lost")
DEADLINE_S = 60.0

Event = dict[str, Any]


class Runs:
    """Asks for executions on one tower. Each test takes sessions of its own."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def request(self, code: str, **data: Any) -> str:
        """The id of an accepted execution."""
        return self.desk.accepted("execution", "request", {"code": code, **data})["execution_id"]

    async def run(self, code: str, **data: Any) -> Event:
        return await self.end(self.request(code, **data))

    async def value(self, code: str, **data: Any) -> Any:
        end = await self.run(code, **data)
        assert end["event"] == "completed", end
        return end["value"]

    def events(self, execution_id: str, name: str | None = None) -> list[Event]:
        """Its events as their data, with `event`, their name."""
        found = self.desk.events(kind="execution", id=execution_id)
        told = [{**each["data"], "event": each["type"].split(".")[2]} for each in found]
        return [each for each in told if name in (None, each["event"])]

    async def event(self, execution_id: str, name: str, count: int = 1) -> Event:
        """The event of that name, once there are so many."""

        def look() -> Event | None:
            found = self.events(execution_id, name)
            return found[count - 1] if len(found) >= count else None

        found = await eventually(look, f"{name} of {execution_id}", timeout_s=DEADLINE_S)
        assert found is not None
        return found

    async def end(self, execution_id: str) -> Event:
        def look() -> Event | None:
            return next((each for each in self.events(execution_id) if each["event"] in ENDS), None)

        found = await eventually(look, f"the end of {execution_id}", timeout_s=DEADLINE_S)
        assert found is not None
        return found

    async def asks(self, execution_id: str, n: int = 1) -> Event:
        """The open promise of its n-th question."""

        def look() -> Event | None:
            found = self.desk.events(kind="promise", id=f"exec:{execution_id}:input:{n}")
            return found[0]["data"] if found else None

        found = await eventually(look, f"question {n} of {execution_id}", timeout_s=DEADLINE_S)
        assert found is not None
        return found

    async def of_session(self, session_id: str, name: str, count: int = 1) -> Event:
        def look() -> Event | None:
            found = self.desk.events(kind="session", id=session_id, type=f"agenttower.session.{name}.v1")
            return found[count - 1]["data"] if len(found) >= count else None

        found = await eventually(look, f"session.{name} of {session_id}", timeout_s=DEADLINE_S)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def make_runs() -> Iterator[Callable[..., Runs]]:
    """Starts a tower with these variables."""
    need("tmux")
    towers: list[tuple[ChildTower, Desk]] = []

    def make(**variables: str) -> Runs:
        tower = ChildTower(variables={"SHELL": "/bin/sh", **variables})
        desk = Desk(tower)
        towers.append((tower, desk))
        tower.start()
        return Runs(desk)

    yield make
    for tower, desk in towers:
        desk.close()
        tower.remove()


@pytest.fixture(scope="module")
def runs(make_runs: Callable[..., Runs]) -> Runs:
    """One tower for the tests of a module."""
    return make_runs()
