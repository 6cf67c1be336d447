"""A whole tower and real containers: from the scan to the last pane, and what becomes of containers under it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.containers.engines import Container, Podman
from tests.integration.tower.conftest import Desk
from tests.waiting import eventually

Start = Callable[..., Container]
BENCH = "/run/bench"


class Fleet(Desk):
    """A desk whose tower has containers. `start` gives one that the tower has registered."""

    def __init__(self, tower: ChildTower, start: Start) -> None:
        super().__init__(tower)
        self._start = start

    async def container(self, **options: Any) -> Container:
        bench = self.tower.home / "bench"
        made = await asyncio.to_thread(lambda: self._start(mounts={bench: BENCH}, **options))
        await self.scan()
        return made

    async def scan(self) -> None:
        scan_id = self.accepted("container", "scan", {})["scan_id"]

        def ended() -> bool:
            scans = self.events(kind="container", type="agenttower.container.scanned.v1")
            return any(each["data"]["scan_id"] == scan_id for each in scans)

        await eventually(ended, "the scan ends")

    async def ready_in(self, container: Container, session: str, template: str = "1m+2s") -> dict[str, Any]:
        return await self.ready(session, template, container_id=container.container_id)

    def states(self, layout: dict[str, Any]) -> list[str]:
        return [pane["state"] for pane in self.layout(layout["id"])["panes"]]


def marked(container: Container, socket: str = "/tmp/tmux-0/default") -> list[str]:
    """The tower's panes that stand in the container."""
    return container.tmux("list-panes", "-a", "-F", "#{@agenttower_pane_id}", socket=socket).split()


def fleet_of(cli: str, start: Start) -> Iterator[Fleet]:
    with ChildTower(variables={"AGENTTOWER_CONTAINER_CLI": cli}) as tower:
        tower.start()
        fleet = Fleet(tower, start)
        yield fleet
        fleet.close()


@pytest.fixture
def fleet(engine: Podman, start: Start) -> Iterator[Fleet]:
    yield from fleet_of(str(engine.cli), start)


@pytest.fixture
def either(cli: str, start: Start) -> Iterator[Fleet]:
    """With the command line of podman, and with that of docker."""
    yield from fleet_of(cli, start)


class TestALayoutInAContainer:
    async def test_from_the_scan_to_its_removal(self, either: Fleet):
        container = await either.container(user="dev", labels={"agenttower.tmux_socket": "/tmp/bench.sock"})
        layout = await either.ready_in(container, "work")
        assert [pane["container_id"] for pane in layout["panes"]] == [container.container_id] * 3
        first, second, _ = layout["panes"]
        socket = "/tmp/bench.sock"
        container.tmux("send-keys", "-t", first["tmux_pane_id"], "echo said-$((40 + 2))", "Enter", socket=socket)
        log = Path(first["log_path"])
        assert log.is_relative_to(either.tower.home / "bench")
        await eventually(lambda: b"said-42" in log.read_bytes(), "the log is read on the host")

        environment = container.execute("cat", f"/proc/{first['pid']}/environ").split("\0")
        assert f"AGENTTOWER_SOCKET={BENCH}/tower.sock" in environment

        container.execute("kill", "-KILL", str(first["pid"]))
        await eventually(lambda: either.pane(first["id"])["state"] == "degraded", "the death")
        seen = either.pane(first["id"])
        assert (seen["failed_stage"], seen["signal"]) == ("process_exited", 9)
        container.tmux("kill-pane", "-t", second["tmux_pane_id"], socket=socket)
        await eventually(lambda: either.pane(second["id"])["state"] == "failed", "it vanished")
        assert either.pane(second["id"])["failed_stage"] == "pane_vanished"

        made = either.accepted("pane", "recreate", {"predecessor_pane_id": second["id"]})
        await eventually(lambda: either.pane(made["pane_id"])["state"] == "ready", "its successor")
        either.accepted("layout", "remove", {"layout_id": layout["id"]})
        await eventually(lambda: not marked(container, socket), "nothing is left in tmux")
        assert either.layout(layout["id"])["state"] == "removed"

    async def test_a_session_name_is_taken_only_within_its_container(self, fleet: Fleet):
        one, other = await fleet.container(), await fleet.container()
        made = await asyncio.gather(*(fleet.ready_in(each, "same") for each in (one, other)))
        assert len(marked(one)) == len(marked(other)) == 3
        for layout, labels in zip(made, (["m1", "s1", "s2"],) * 2, strict=True):
            assert [pane["label"] for pane in layout["panes"]] == labels
        one.tmux("new-session", "-d", "-s", "theirs", "sleep 100000")
        for session in ("same", "theirs"):
            data = {"container_id": one.container_id, "template_name": "1m+2s", "tmux_session_name": session}
            assert fleet.command("layout", "create", data)["error"]["code"] == "managed_session_name_conflict"
        await fleet.ready_in(other, "theirs")

    async def test_serial_in_one_container_and_beside_each_other_in_two(self, fleet: Fleet):
        slow, other = await fleet.container(), await fleet.container()
        await fleet.ready_in(slow, "first")
        server = slow.tmux("display-message", "-p", "#{pid}")
        slow.execute("kill", "-STOP", server)
        waiting = [fleet.create(name, container_id=slow.container_id)["layout_id"] for name in ("second", "third")]
        await fleet.ready_in(other, "beside")
        assert [fleet.layout(each)["state"] for each in waiting] == ["creating"] * 2
        slow.execute("kill", "-CONT", server)
        second, third = [await fleet.settled(each) for each in waiting]
        assert (second["state"], third["state"]) == ("ready", "ready")
        spawned = fleet.events(kind="pane", type="agenttower.pane.spawned.v1")
        places = {each["subject"]: each["position"] for each in spawned}
        assert max(places[pane["id"]] for pane in second["panes"]) < min(places[pane["id"]] for pane in third["panes"])


class TestWhatBecomesOfContainers:
    async def test_without_tmux_the_panes_fail_and_say_why(self, fleet: Fleet):
        container = await fleet.container(without=("tmux",))
        layout = await fleet.settled(fleet.create("none", container_id=container.container_id)["layout_id"])
        assert (layout["state"], layout["failed_stage"]) == ("failed", "pane_create")
        assert "tmux is not installed there" in str(fleet.events(kind="pane"))

    async def test_stopped_or_paused_nothing_is_known_and_a_new_start_tells(self, fleet: Fleet):
        container = await fleet.container()
        layout = await fleet.ready_in(container, "work")
        container.pause()
        await fleet.scan()
        assert fleet.states(layout) == ["ready"] * 3
        container.unpause()
        container.stop()
        await fleet.scan()
        assert fleet.states(layout) == ["ready"] * 3
        container.start()
        await eventually(lambda: fleet.states(layout) == ["failed"] * 3, "no server runs in it any more")
        assert (await fleet.ready_in(container, "again"))["ready_pane_count"] == 3
        said = [json.loads(line) for line in (fleet.tower.home / "tower.log").read_text().splitlines()]
        why = [line["reason"] for line in said if "panes cannot be looked at" in line["event"]]
        assert why
        assert all(one != other for one, other in pairwise(why)), "each reason is told once"

    async def test_removed_its_panes_are_gone(self, fleet: Fleet):
        container = await fleet.container()
        layout = await fleet.ready_in(container, "work")
        container.remove()
        await eventually(lambda: fleet.states(layout) == ["failed"] * 3, "they are seen to be gone")
        await fleet.scan()
        data = {"container_id": container.container_id, "template_name": "1m+2s", "tmux_session_name": "new"}
        assert fleet.command("layout", "create", data)["error"]["code"] == "container_not_found"

    async def test_a_restarted_tower_finds_what_stands_and_waits_for_what_does_not_answer(self, fleet: Fleet):
        standing, paused, removed, also = [await fleet.container() for _ in range(4)]
        layouts = {each.container_id: await fleet.ready_in(each, "work") for each in (standing, paused, removed, also)}
        fleet.close()
        fleet.tower.kill()
        paused.pause()
        removed.remove()
        fleet.tower.start()
        for each in (standing, also, paused):
            assert fleet.states(layouts[each.container_id]) == ["ready"] * 3
        await eventually(lambda: fleet.states(layouts[removed.container_id]) == ["failed"] * 3, "gone for good")

        def reattached() -> set[str]:
            found = fleet.events(kind="layout", type="agenttower.layout.recovery_reattached.v1")
            return {each["subject"] for each in found}

        found = {layouts[each.container_id]["id"] for each in (standing, also)}
        assert reattached() == found
        paused.unpause()
        await eventually(lambda: reattached() == found | {layouts[paused.container_id]["id"]}, "tried again")
        assert fleet.states(layouts[paused.container_id]) == ["ready"] * 3
        assert len(marked(paused)) == 3
