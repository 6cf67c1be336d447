"""Where background sessions are declared: the settings, and bundles, which are read again."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from adapters.cli.child_tower import ChildTower
from tests.integration.background.conftest import DEADLINE_S, Yard, echo, listening
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.waiting import eventually


class Configured:
    """A tower whose settings declare background sessions."""

    def __init__(self, tower: ChildTower) -> None:
        self.tower = tower
        self.desk = Desk(tower)
        self.yard = Yard(self.desk, tower.home)

    def write(self, *sessions: dict[str, Any]) -> None:
        file = self.tower.home / "config" / "agenttower" / "agenttower.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump({"background_sessions": list(sessions)}))

    def restart(self) -> None:
        self.tower.stop()
        self.desk.close()
        self.tower.start()
        self.desk = Desk(self.tower)
        self.yard = Yard(self.desk, self.tower.home)


@pytest.fixture
def configured() -> Iterator[Configured]:
    need("tmux")
    tower = ChildTower(variables={"SHELL": "/bin/sh"})
    configured = Configured(tower)
    try:
        yield configured
    finally:
        configured.desk.close()
        tower.remove()


def declared(yard: Yard, **query: Any) -> list[str]:
    return [each["background_id"] for each in yard.events("background.declared", **query)]


async def test_the_settings_declare_them_at_each_start(configured: Configured) -> None:
    worker = str(configured.tower.home / "worker.yaml")
    configured.yard.write("worker", echo())
    one, two = listening("one", "work:*", bundle=worker), listening("two", "tests:*", bundle=worker)
    configured.write(one, two)
    configured.tower.start()
    await configured.yard.until(2, "background.starting")
    configured.yard.emit("work:begun", "x")
    (ended,) = await configured.yard.until(1, "background.run_ended")
    assert (ended["background_id"], ended["success"]) == ("bg-one-0001", True)

    configured.restart()
    configured.yard.emit("work:begun", "y")
    await configured.yard.until(2, "background.run_ended")
    assert declared(configured.yard) == ["bg-one-0001", "bg-two-0002"]
    configured.write(one | {"pool_size": 2}, listening("three", "work:*", bundle=worker))
    configured.restart()
    await configured.yard.until(4, "background.declared")
    assert declared(configured.yard) == ["bg-one-0001", "bg-two-0002", "bg-one-0001", "bg-three-0003"]
    (stopped,) = await configured.yard.until(1, "background.stopped")
    assert (stopped["background_id"], stopped["reason"]) == ("bg-two-0002", "withdrawn")


async def test_what_a_bundle_declares_is_read_again_when_it_is_reloaded(yard: Yard) -> None:
    yard.write("worker", echo())
    one, two = listening("one", "one:*"), listening("two", "two:*")
    path = yard.write("reread", echo(), one, two)
    parent = yard.spawn(path)
    before = yard.of(parent)
    assert set(before) == {"one", "two"}
    yard.write("reread", echo(), one | {"pool_size": 5}, listening("three", "three:*"))

    def redeclared() -> bool:
        return set(yard.of(parent)) == {"one", "two", "three"}

    await eventually(redeclared, "what it declares now", timeout_s=DEADLINE_S)
    (stopped,) = await yard.until(1, "background.stopped", id=before["two"])
    assert stopped["reason"] == "withdrawn"
    again = yard.events("background.declared", id=before["one"])
    assert [each["definition"]["pool_size"] for each in again] == [1, 5]
    yard.emit("three:begun", "x")
    (ended,) = await yard.until(1, "background.run_ended", id=yard.of(parent)["three"])
    assert ended["success"] is True
    yard.desk.accepted("session", "cancel", {"session_id": parent})


async def test_what_is_wrong_with_it_leaves_them_as_they_are(yard: Yard) -> None:
    yard.write("worker", echo())
    path = yard.write("spoilt", echo(), listening("one", "one:*"))
    parent = yard.spawn(path)
    ids = yard.of(parent)
    yard.write("spoilt", echo(), listening("one", "no name"))

    def reloaded() -> bool:
        return any(each["uri"] == path for each in yard.events("bundle.reloaded"))

    await eventually(reloaded, "the reload", timeout_s=DEADLINE_S)
    yard.emit("one:begun", "x")
    (ended,) = await yard.until(1, "background.run_ended", id=ids["one"])
    assert ended["success"] is True and len(yard.events("background.declared", id=ids["one"])) == 1
    refused = yard.desk.command("session", "spawn", {"bundle": path, "instruction": "Lead."})
    assert (refused["status"], refused["error"]["code"]) == ("rejected", "validation_failed")
    assert refused["error"]["details"]["field"] == "background_sessions[0].triggers[0].config.event_names"
    yard.desk.accepted("session", "cancel", {"session_id": parent})
