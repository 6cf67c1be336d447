"""A tower that is killed: what it had promised holds, nothing is there twice; and two towers on one node."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.tower.conftest import Desk
from tests.waiting import eventually

STAGES = {"pane_create", "launch_command", "registration", "log_attach", "recovery_reattach", "pane_vanished"}


class TestKilledWhileCreating:
    @pytest.mark.parametrize("seed", range(4))
    async def test_every_pane_ends_ready_or_failed_and_none_is_there_twice(self, desk: Desk, seed: int):
        rng = random.Random(seed)
        layouts: list[str] = []
        for number in range(3):
            layouts.append(desk.create(f"crash{number}")["layout_id"])
            # Any moment of the pipeline, its settle time included: so many events after the command's own.
            wanted = desk.get("/events", limit=1)["position"] + rng.randrange(0, 12)
            await eventually(
                lambda wanted=wanted: desk.get("/events", limit=1)["position"] >= wanted, "the pipeline is so far"
            )
            desk.restart()
        for layout_id in layouts:
            layout = await desk.settled(layout_id)
            for pane in layout["panes"]:
                assert pane["state"] in ("ready", "failed"), pane
                assert pane["state"] == "ready" or pane["failed_stage"] in STAGES
        in_tmux = [pane.pane_id for pane in desk.tmux_panes()]
        assert len(in_tmux) == len(set(in_tmux))
        ready = {pane["id"] for pane in desk.get("/panes", state="ready", limit=200)["items"]}
        assert ready <= set(in_tmux)
        assert desk.cli("audit", "verify").returncode == 0


class TestKilledAfterwards:
    async def test_the_next_tower_finds_its_panes_and_says_so(self, desk: Desk):
        layout = await desk.ready("stays")
        before = {pane.pane_id: pane.pid for pane in desk.tmux_panes()}
        desk.restart()
        assert desk.layout(layout["id"])["state"] == "ready"
        assert {pane.pane_id: pane.pid for pane in desk.tmux_panes()} == before
        (event,) = desk.events(type="agenttower.layout.recovery_reattached.v1")
        assert sorted(event["data"]["pane_ids"]) == sorted(before)

    async def test_what_vanished_meanwhile_is_failed_with_the_stage_that_says_so(self, desk: Desk):
        layout = await desk.ready("lost")
        desk.close()
        desk.tower.kill()
        desk.tmux("kill-server")
        desk.tower.start()
        after = desk.layout(layout["id"])
        assert (after["state"], after["failed_stage"]) == ("failed", "recovery_reattach")
        assert [pane["failed_stage"] for pane in after["panes"]] == ["recovery_reattach"] * 3

    async def test_a_pane_removed_just_before_the_crash_is_gone_after_it(self, desk: Desk):
        layout = await desk.ready("remains")
        removed = layout["panes"][0]["id"]
        desk.accepted("pane", "remove", {"pane_id": removed})
        desk.restart()
        await eventually(lambda: removed not in {pane.pane_id for pane in desk.tmux_panes()}, "it is killed")

    async def test_a_command_asked_again_after_the_crash_is_answered_as_before(self, desk: Desk):
        data = {"container_id": "host", "template_name": "1m+2s", "tmux_session_name": "once"}
        first = desk.command("layout", "create", data)
        desk.restart()
        again = desk.command("layout", "create", data, id=first["command_id"])
        assert again == {**first, "replay": True}


class TestTwoTowers:
    async def test_the_second_says_who_runs_the_node_and_stays_out(self, desk: Desk, short_tmp: Path):
        done = second_tower(short_tmp, AGENTTOWER_NATS_URL=url_of_the_tower_user(desk))
        assert done.returncode == 1
        assert f"node demo is run by another tower: pid {desk.tower.running.pid}" in done.stderr
        await desk.ready("alone")

    async def test_one_on_the_same_home_names_the_first(self, desk: Desk):
        done = second_tower(desk.tower.home)
        assert done.returncode == 1
        assert f"pid {desk.tower.running.pid}" in done.stderr
        await desk.ready("alone")


def url_of_the_tower_user(desk: Desk) -> str:
    address = (desk.tower.home / "nats.url").read_text().rpartition("@")[2]
    passwords = json.loads((desk.tower.home / "nats" / "users.json").read_text())
    return f"nats://tower:{passwords['tower']}@{address}"


def second_tower(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adapters.cli", "--home", str(home), "--node", "demo", "up", "--http", "127.0.0.1:0"],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
