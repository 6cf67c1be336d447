"""A layout on real tmux, from the command to its last pane's removal."""

import asyncio
import os
from pathlib import Path

from adapters.nats.client import CommandClient
from adapters.nats.connection import connect
from adapters.system import SystemIds
from tests.integration.tower.conftest import PENDING, Desk
from tests.waiting import eventually


class TestCreating:
    async def test_the_command_line_gives_three_ready_panes(self, desk: Desk):
        done = desk.cli(
            "layout", "create", "--container", "host", "--template", "1m+2s", "--session-name", "demo", "--json"
        )
        assert done.returncode == 0, done.stderr
        panes = desk.get("/panes", state="ready")["items"]
        assert sorted(pane["label"] for pane in panes) == ["m1", "s1", "s2"]
        in_tmux = {pane.pane_id: pane for pane in desk.tmux_panes()}
        for pane in panes:
            seen = in_tmux[pane["id"]]
            assert (seen.title, seen.session, seen.dead) == (pane["label"], "demo", False)
            assert (seen.tmux_pane_id, seen.pid) == (pane["tmux_pane_id"], pane["pid"])
            assert seen.command in ("sh", "bash", "dash", "zsh", "fish")

    async def test_every_pane_has_a_log_that_grows(self, desk: Desk):
        layout = await desk.ready("logs")
        for pane in layout["panes"]:
            desk.tmux("send-keys", "-t", pane["tmux_pane_id"], f"echo said-by-{pane['label']}", "Enter")
        for pane in layout["panes"]:
            log, word = Path(pane["log_path"]), f"said-by-{pane['label']}"
            await eventually(lambda log=log, word=word: log.read_text().count(word) >= 2, "typed and printed")
            assert os.stat(log).st_mode & 0o777 == 0o600

    async def test_events_tell_the_story_in_order(self, desk: Desk):
        layout = await desk.ready("story")
        pane = layout["panes"][0]
        story = [event["type"].split(".", 1)[1] for event in desk.events(kind="pane", id=pane["id"])]
        assert story == [
            "pane.created.v1",
            "pane.pending_marker_set.v1",
            "pane.spawned.v1",
            "pane.launch_settled.v1",
            "pane.registered.v1",
            "pane.log_attached.v1",
            "pane.pending_marker_cleared.v1",
            "pane.state_changed.v1",
        ]
        sequences = [event["sequence"] for event in desk.events(kind="pane", id=pane["id"])]
        assert sequences == list(range(1, 9))

    async def test_a_taken_session_name_is_a_conflict_at_once_whoever_made_the_session(self, desk: Desk):
        await desk.ready("ours")
        desk.tmux("new-session", "-d", "-s", "theirs")
        for session in ("ours", "theirs"):
            data = {"container_id": "host", "template_name": "1m+2s", "tmux_session_name": session}
            assert desk.command("layout", "create", data)["error"] == {
                "code": "managed_session_name_conflict",
                "message": f"container host has a tmux session '{session}' already",
                "details": {"container_id": "host", "tmux_session_name": session},
            }

    async def test_a_second_layout_gets_the_next_labels_and_the_working_directory_asked_for(
        self, desk: Desk, short_tmp: Path
    ):
        await desk.ready("first")
        layout = await desk.ready("second", working_dir=str(short_tmp))
        assert [pane["label"] for pane in layout["panes"]] == ["m2", "s3", "s4"]
        for pane in layout["panes"]:
            there = desk.tmux("display-message", "-p", "-t", pane["tmux_pane_id"], "#{pane_current_path}").strip()
            assert there == str(short_tmp)
        assert str(short_tmp) not in str(desk.events(kind="layout"))


class TestCapacity:
    async def test_of_64_at_once_exactly_40_are_accepted(self, desk: Desk):
        client = await connect((desk.tower.home / "nats.url").read_text(), name="race")
        commands = CommandClient(client, "demo", ids=SystemIds())

        def create(number: int):
            data = {"container_id": "host", "template_name": "1m+2s", "tmux_session_name": f"race{number}"}
            return commands.ask("layout", "create", data, timeout_s=30)

        outcomes = await asyncio.gather(*(create(number) for number in range(64)))
        await client.close()
        assert sum(outcome["status"] == "accepted" for outcome in outcomes) == 40
        errors = [outcome["error"] for outcome in outcomes if outcome["status"] == "rejected"]
        assert len(errors) == 24
        for error in errors:
            assert error["code"] == "managed_layout_capacity_exceeded"
            assert error["details"] == {"limit": 40, "current_count": 40}
        await eventually(lambda: not desk.get("/layouts", state="creating")["items"], "all settle", timeout_s=60)
        assert len(desk.tmux_panes()) == 120
        assert len(desk.get("/panes", state="ready", limit=200)["items"]) == 120


class TestRemovingAndRecreating:
    async def test_a_removed_pane_leaves_tmux_and_its_successor_takes_its_place(self, desk: Desk):
        layout = await desk.ready("work")
        old = layout["panes"][1]
        desk.accepted("pane", "remove", {"pane_id": old["id"]})
        await eventually(lambda: old["id"] not in {pane.pane_id for pane in desk.tmux_panes()}, "the kill")
        made = desk.accepted("pane", "recreate", {"predecessor_pane_id": old["id"]})
        assert (made["predecessor_id"], made["chain_depth"]) == (old["id"], 1)
        after = await desk.settled(layout["id"])
        assert after["state"] == "ready"
        successor = next(pane for pane in after["panes"] if pane["id"] == made["pane_id"])
        assert (successor["label"], successor["state"], successor["predecessor_id"]) == ("s1", "ready", old["id"])
        assert {pane.session for pane in desk.tmux_panes()} == {"work"}

    async def test_after_all_are_gone_the_session_is_started_again(self, desk: Desk):
        layout = await desk.ready("again")
        desk.accepted("layout", "remove", {"layout_id": layout["id"]})
        await eventually(lambda: not desk.tmux_panes(), "every pane is killed")
        assert desk.layout(layout["id"])["state"] == "removed"
        for pane in reversed(layout["panes"]):
            desk.accepted("pane", "recreate", {"predecessor_pane_id": pane["id"]})
        after = await desk.settled(layout["id"])
        assert (after["state"], after["ready_pane_count"]) == ("ready", 3)
        assert sorted(pane.title for pane in desk.tmux_panes()) == ["m1", "s1", "s2"]

    async def test_the_first_pane_is_recreated_beside_its_living_siblings(self, desk: Desk):
        layout = await desk.ready("beside")
        first = layout["panes"][0]
        desk.tmux("kill-pane", "-t", first["tmux_pane_id"])
        await eventually(lambda: desk.pane(first["id"])["state"] == "failed", "it is seen to be gone")
        desk.accepted("pane", "recreate", {"predecessor_pane_id": first["id"]})
        assert (await desk.settled(layout["id"]))["state"] == "ready"
        assert {pane.session for pane in desk.tmux_panes()} == {"beside"}

    async def test_removing_a_removed_pane_is_a_success_without_events(self, desk: Desk):
        layout = await desk.ready("twice")
        pane_id = layout["panes"][0]["id"]
        desk.accepted("pane", "remove", {"pane_id": pane_id})
        count = len(desk.events(kind="pane", id=pane_id))
        assert desk.accepted("pane", "remove", {"pane_id": pane_id})["removed_pane_ids"] == []
        assert len(desk.events(kind="pane", id=pane_id)) == count


class TestTitles:
    async def test_a_pane_is_pending_until_it_is_ready_and_bears_its_label_then(self, desk: Desk):
        made = desk.create("title", idempotency_key="order-7")
        titles = await eventually(lambda: [pane.title for pane in desk.tmux_panes()], "the panes stand in tmux")
        assert all(title in ("m1", "s1", "s2") or title.startswith(f"{PENDING}order-7:") for title in titles)
        await desk.settled(made["layout_id"])
        assert sorted(pane.title for pane in desk.tmux_panes()) == ["m1", "s1", "s2"]
