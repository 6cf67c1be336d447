"""Panes with a restart policy on real tmux, and what `layout restore` brings back after a reboot."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.waiting import eventually

TEMPLATE = """\
name: guarded
panes:
  - {role: master, capability: plan, label: "m{n}", restart: on_failure}
  - {role: slave, capability: code, label: "s{n}", restart: on_failure, count: 3}
"""
PLANNED = "agenttower.pane.restart_scheduled.v1"
GIVEN_UP = "agenttower.pane.restart_given_up.v1"

Started = Callable[..., Desk]


@pytest.fixture
def started(short_tmp: Path) -> Iterator[Started]:
    """Starts the tower, its first wait as long as is asked for; `guarded` is a template of its operator's."""
    need("tmux")
    folder = short_tmp / "agenttower" / "templates"
    folder.mkdir(parents=True)
    (folder / "guarded.yaml").write_text(TEMPLATE)
    desks: list[Desk] = []

    def start(backoff_s: float = 0.05) -> Desk:
        variables = {
            "XDG_CONFIG_HOME": str(short_tmp),
            "SHELL": "/bin/sh",
            "AGENTTOWER_RESTART_BACKOFF": str(backoff_s),
            "AGENTTOWER_LAUNCH_SETTLE": "0.1",
        }
        tower = ChildTower(variables=variables)
        desks.append(Desk(tower))
        tower.start()
        return desks[-1]

    yield start
    for desk in desks:
        desk.close()
        with desk.tower:
            pass


async def guarded(desk: Desk) -> dict[str, Any]:
    return await desk.ready("work", "guarded")


def newest(desk: Desk, layout_id: str, label: str) -> dict[str, Any]:
    """The pane that has the label now: not one that was removed or replaced."""
    return next(pane for pane in desk.layout(layout_id)["panes"] if pane["label"] == label)


async def successor(desk: Desk, pane: dict[str, Any]) -> dict[str, Any]:
    """The pane that took its place, ready."""

    def look() -> dict[str, Any] | None:
        found = desk.pane(pane["id"])["successor_id"]
        made = desk.pane(found) if found else None
        return made if made and made["state"] == "ready" else None

    found = await eventually(look, f"{pane['label']} is made anew")
    assert found is not None
    return found


def ends(desk: Desk, pane: dict[str, Any], how: str) -> None:
    if how == "signal":
        os.kill(pane["pid"], signal.SIGKILL)
    elif how == "vanishes":
        desk.tmux("kill-pane", "-t", pane["tmux_pane_id"])
    else:
        desk.tmux("send-keys", "-t", pane["tmux_pane_id"], f"exit {how}", "Enter")


class TestAPaneThatFails:
    async def test_is_made_anew_by_the_policy_whatever_ended_it(self, started: Started):
        desk = started()
        layout = await guarded(desk)
        for pane, how in zip(layout["panes"][:3], ("1", "signal", "vanishes"), strict=True):
            ends(desk, pane, how)
            made = await successor(desk, pane)
            assert (made["label"], made["slot"], made["restart_count"]) == (pane["label"], pane["slot"], 1)
            assert desk.pane(pane["id"])["state"] == "removed"
            by = {event["type"].split(".")[2]: event["actor"] for event in desk.events(kind="pane", id=pane["id"])}
            assert (by["restart_scheduled"], by["removed"]) == ("tower", "policy")
            assert {event["actor"] for event in desk.events(id=made["id"], type="agenttower.pane.recreated.v1")} == {
                "policy"
            }
        after = await desk.settled(layout["id"])
        assert (after["state"], after["ready_pane_count"]) == ("ready", 4)
        assert sorted(pane.title for pane in desk.tmux_panes()) == ["m1", "s1", "s2", "s3"]
        assert "restarted" in desk.cli("layout", "show", "work").stdout

    async def test_not_one_that_ended_well(self, started: Started):
        desk = started()
        pane = (await guarded(desk))["panes"][0]
        ends(desk, pane, "0")
        await eventually(lambda: desk.pane(pane["id"])["state"] == "degraded", "the end is seen")
        # The decision is recorded with the death.
        seen = desk.pane(pane["id"])
        assert (seen["exit_code"], seen["restart_due_at"], desk.events(type=PLANNED)) == (0, None, [])

    async def test_all_of_them_when_their_tmux_server_is_killed(self, started: Started):
        desk = started()
        layout = await guarded(desk)
        os.kill(int(desk.tmux("display-message", "-p", "#{pid}")), signal.SIGKILL)
        made = [await successor(desk, pane) for pane in layout["panes"]]
        assert [pane["label"] for pane in made] == ["m1", "s1", "s2", "s3"]
        assert (await desk.settled(layout["id"]))["state"] == "ready"
        assert {pane.session for pane in desk.tmux_panes()} == {"work"}

    async def test_six_times_in_a_row_rests_until_an_operator_recreates_it(self, started: Started):
        desk = started(0.01)
        layout = await guarded(desk)
        pane = newest(desk, layout["id"], "s1")
        for count in range(1, 6):
            ends(desk, pane, "1")
            pane = await successor(desk, pane)
            assert pane["restart_count"] == count
        ends(desk, pane, "1")
        await eventually(lambda: desk.pane(pane["id"])["restart_given_up"] == "too_many", "it rests")
        (event,) = desk.events(type=GIVEN_UP)
        assert (event["subject"], event["data"]["reason"]) == (pane["id"], "too_many")
        waits = [
            event["data"]["earlier"] for event in sorted(desk.events(type=PLANNED), key=lambda each: each["position"])
        ]
        assert [len(earlier) for earlier in waits] == [0, 1, 2, 3, 4]
        assert "rests: too_many" in desk.cli("layout", "show", "work").stdout
        desk.accepted("pane", "remove", {"pane_id": pane["id"]})
        made = desk.accepted("pane", "recreate", {"predecessor_pane_id": pane["id"]})
        await desk.settled(layout["id"])
        ends(desk, desk.pane(made["pane_id"]), "1")
        again = await successor(desk, desk.pane(made["pane_id"]))
        assert again["restart_count"] == 1


class TestWhileItWaits:
    async def test_a_tower_that_is_killed_takes_up_the_rest_of_the_wait(self, started: Started):
        desk = started(3)
        layout = await guarded(desk)
        dead, gone = layout["panes"][:2]
        ends(desk, dead, "signal")
        ends(desk, gone, "vanishes")
        for pane in (dead, gone):
            await eventually(lambda pane=pane: desk.pane(pane["id"])["restart_due_at"], "the restart is planned")
        desk.restart()
        for pane in (dead, gone):
            await successor(desk, pane)
        made = desk.events(type="agenttower.pane.recreated.v1")
        assert sorted(event["data"]["predecessor_id"] for event in made) == sorted([dead["id"], gone["id"]])

    async def test_an_operators_removal_ends_it(self, started: Started):
        desk = started(3)
        layout = await guarded(desk)
        pane = layout["panes"][0]
        ends(desk, pane, "1")
        await eventually(lambda: desk.pane(pane["id"])["restart_due_at"], "the restart is planned")
        desk.accepted("pane", "remove", {"pane_id": pane["id"]})
        assert desk.pane(pane["id"])["restart_due_at"] is None
        (event,) = desk.events(type="agenttower.pane.restart_cancelled.v1")
        assert event["actor"] == "host"


class TestAfterAReboot:
    def reboot(self, desk: Desk) -> None:
        """Nothing of tmux is left, and the tower starts again."""
        desk.close()
        desk.tower.kill()
        desk.tmux("kill-server")
        desk.tower.start()

    async def test_one_command_brings_every_pane_back_to_its_place(self, started: Started):
        desk = started()
        layout = await guarded(desk)
        built_in = await desk.ready("other", "2m+2s")
        before = [(pane.title, pane.session) for pane in desk.tmux_panes()]
        self.reboot(desk)
        # A restart policy is for what dies while the tower runs.
        assert desk.events(type=PLANNED) == []
        assert {desk.layout(each["id"])["failed_stage"] for each in (layout, built_in)} == {"recovery_reattach"}
        done = desk.cli("layout", "restore", "--all")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "8 of 8 lost panes are back, in 2 layouts"
        assert [(pane.title, pane.session) for pane in desk.tmux_panes()] == before
        for each in (layout, built_in):
            after = desk.layout(each["id"])
            assert (after["state"], after["ready_pane_count"]) == ("ready", 4)
            assert [(pane["label"], pane["slot"]) for pane in after["panes"]] == [
                (pane["label"], pane["slot"]) for pane in each["panes"]
            ]
        assert desk.cli("layout", "restore", "--all").stdout == "Nothing to restore: no pane was lost.\n"

    async def test_what_cannot_come_back_is_named_and_the_rest_does(self, started: Started):
        desk = started()
        layout = await desk.ready("work", "2m+2s")
        self.reboot(desk)
        await desk.ready("usurper", "1m+2s")
        done = desk.cli("layout", "restore", "work")
        assert done.returncode == 1
        rows = {line.split()[1]: line.split()[2:] for line in done.stdout.splitlines()[1:5]}
        assert rows["m2"] == ["ready", "-"]
        assert [rows[label] for label in ("m1", "s1", "s2")] == [["failed", "managed_pane_label_conflict"]] * 3
        assert "not everything came back" in done.stderr
        assert desk.layout(layout["id"])["ready_pane_count"] == 1
        assert desk.cli("layout", "restore").returncode == 2
        assert desk.cli("layout", "restore", "work", "--all").returncode == 2
