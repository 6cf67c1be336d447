"""Processes that end and panes that vanish, as a person sees them over HTTP."""

import asyncio
import os
import signal
import time

import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.waiting import eventually


class TestAKilledProcess:
    async def test_is_seen_with_its_signal_within_a_second_a_hundred_times_out_of_a_hundred(self, desk: Desk):
        layouts = [await asyncio.to_thread(desk.create, f"fleet{number}") for number in range(34)]
        for layout in layouts:
            await desk.settled(layout["layout_id"], timeout_s=60)
        panes = [pane for layout in layouts for pane in desk.layout(layout["layout_id"])["panes"]]
        assert {pane["state"] for pane in panes} == {"ready"}
        slow: list[float] = []
        for pane in panes[:100]:
            started = time.monotonic()
            os.kill(pane["pid"], signal.SIGKILL)
            await eventually(lambda pane=pane: desk.pane(pane["id"])["state"] == "degraded", "the death", timeout_s=10)
            slow.append(time.monotonic() - started)
            seen = desk.pane(pane["id"])
            assert (seen["failed_stage"], seen["signal"], seen["exit_code"]) == ("process_exited", 9, None)
        assert max(slow) < 1, sorted(slow)[-5:]

    async def test_an_exit_code_is_told_and_the_layout_is_degraded(self, desk: Desk):
        layout = await desk.ready("exits")
        pane = layout["panes"][2]
        desk.tmux("send-keys", "-t", pane["tmux_pane_id"], "exit 7", "Enter")
        await eventually(lambda: desk.pane(pane["id"])["state"] == "degraded", "the exit")
        seen = desk.pane(pane["id"])
        assert (seen["failed_stage"], seen["exit_code"], seen["signal"]) == ("process_exited", 7, None)
        assert desk.layout(layout["id"])["state"] == "degraded"


class TestAVanishedPane:
    async def test_is_failed_within_a_second_and_its_siblings_live_on(self, desk: Desk):
        layout = await desk.ready("gone")
        pane = layout["panes"][1]
        started = time.monotonic()
        desk.tmux("kill-pane", "-t", pane["tmux_pane_id"])
        await eventually(lambda: desk.pane(pane["id"])["state"] == "failed", "it is seen")
        assert time.monotonic() - started < 1
        assert desk.pane(pane["id"])["failed_stage"] == "pane_vanished"
        after = desk.layout(layout["id"])
        assert (after["state"], after["failed_stage"], after["ready_pane_count"]) == ("failed", "pane_vanished", 2)

    async def test_a_killed_tmux_server_fails_every_pane_and_layouts_can_be_made_again(self, desk: Desk):
        layout = await desk.ready("server")
        desk.tmux("kill-server")
        after = await eventually(
            lambda: (now := desk.layout(layout["id"]))["ready_pane_count"] == 0 and now, "all are seen to be gone"
        )
        assert {pane["failed_stage"] for pane in after["panes"]} == {"pane_vanished"}
        assert (await desk.ready("after"))["ready_pane_count"] == 3


class TestALaunchThatFails:
    async def test_a_command_that_exits_at_once_degrades_its_panes_and_tells_the_code(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        need("tmux")
        monkeypatch.setenv("SHELL", "/bin/false")
        with ChildTower() as tower:
            tower.start()
            desk = Desk(tower)
            layout = await desk.settled(desk.create("brief")["layout_id"])
            assert layout["state"] == "degraded"
            for pane in layout["panes"]:
                assert (pane["state"], pane["failed_stage"], pane["exit_code"]) == ("degraded", "launch_command", 1)
            # Registration is tried all the same.
            await eventually(lambda: all(pane["agent_id"] for pane in desk.get("/panes")["items"]), "registered")
            desk.close()
