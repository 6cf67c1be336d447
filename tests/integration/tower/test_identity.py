"""A pane is known by its user option alone: whatever programs do to titles, people to windows, sessions and indexes,
and a person's own configuration to the server, the tower watches, removes and recreates the right pane."""

import asyncio
import os
import shlex
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.waiting import eventually

CONFIGURATION = """
set -g prefix C-a
unbind C-b
set -g base-index 1
set -g pane-base-index 1
set -g renumber-windows on
set -g default-command 'echo hijacked; exec sleep 1000'
set -g remain-on-exit off
setw -g remain-on-exit off
set -g history-limit 100
set -g status 2
set -g status-interval 1
set -g status-right '#(echo busy) %H:%M:%S'
set -g set-titles on
set -g automatic-rename on
set -g automatic-rename-format '#{pane_title}'
set -g allow-rename on
set -g destroy-unattached on
set -g pane-border-status top
set -g pane-border-format '#{pane_title}'
set-hook -g pane-died 'set -s @person_saw_death 1'
set-hook -g pane-exited 'display-message exited'
set-hook -g after-new-session 'rename-window mine'
set-hook -g after-split-window 'select-layout even-vertical'
set-hook -g after-kill-pane 'select-layout tiled'
set-hook -g session-closed 'display-message closed'
set-hook -g window-layout-changed 'refresh-client'
set-hook -g client-attached 'display-message hello'
"""


@contextmanager
def desk_with(configuration: str) -> Iterator[Desk]:
    """A tower whose user has this `~/.tmux.conf`."""
    need("tmux")
    with tempfile.TemporaryDirectory(prefix="at-") as home:
        (Path(home) / ".tmux.conf").write_text(configuration)
        with ChildTower(variables={"HOME": home, "SHELL": "/bin/sh"}) as tower:
            tower.start()
            desk = Desk(tower)
            yield desk
            desk.close()


@pytest.fixture
def configured() -> Iterator[Desk]:
    with desk_with(CONFIGURATION) as desk:
        yield desk


def type_into(desk: Desk, pane: dict[str, Any], text: str) -> None:
    desk.tmux("send-keys", "-t", pane["tmux_pane_id"], text, "Enter")


def said_of(desk: Desk, pane: dict[str, Any], what: str) -> str:
    """A format of tmux, of this pane."""
    return desk.tmux("display-message", "-p", "-t", pane["tmux_pane_id"], f"#{{{what}}}").strip()


async def title(desk: Desk, pane: dict[str, Any], text: str) -> None:
    """The program in the pane gives itself a title, as OSC 2 does."""
    type_into(desk, pane, f"printf '\\033]2;%s\\007' {shlex.quote(text)}")
    await eventually(lambda: said_of(desk, pane, "pane_title") == text, "the title is the program's")


async def becomes(desk: Desk, pane: dict[str, Any], state: str, stage: str | None = None) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now = desk.pane(pane["id"])
        return now if (now["state"], now["failed_stage"]) == (state, stage) else None

    found = await eventually(look, f"{pane['label']} becomes {state}", timeout_s=30)
    assert found is not None
    return found


async def dies_as_itself(desk: Desk, pane: dict[str, Any]) -> None:
    """Its process is killed: this pane, and no other, is degraded."""
    before = {each["id"]: each["state"] for each in desk.get("/panes", limit=200)["items"]}
    os.kill(pane["pid"], signal.SIGKILL)
    seen = await becomes(desk, pane, "degraded", "process_exited")
    assert seen["signal"] == 9
    after = {each["id"]: each["state"] for each in desk.get("/panes", limit=200)["items"]}
    assert after == before | {pane["id"]: "degraded"}


async def recreated(desk: Desk, pane: dict[str, Any]) -> dict[str, Any]:
    """The pane removed, gone from tmux, and made anew: its successor, ready."""
    desk.accepted("pane", "remove", {"pane_id": pane["id"]})
    await eventually(lambda: pane["id"] not in {seen.pane_id for seen in desk.tmux_panes()}, "it is gone from tmux")
    made = desk.accepted("pane", "recreate", {"predecessor_pane_id": pane["id"]})
    successor = await becomes(desk, {"id": made["pane_id"], "label": pane["label"]}, "ready")
    assert successor["label"] == pane["label"]
    (seen,) = [each for each in desk.tmux_panes() if each.pane_id == successor["id"]]
    assert (seen.pid, seen.tmux_pane_id, seen.dead) == (successor["pid"], successor["tmux_pane_id"], False)
    return successor


class TestTitlesOfPrograms:
    async def test_say_nothing_about_who_a_pane_is(self, desk: Desk):
        layout = await desk.ready("titles")
        first, second, third = layout["panes"]
        # Another pane's label, a pending marker, and what would break a listing.
        await title(desk, first, second["label"])
        await title(desk, second, f"@MANAGED:{first['id']}:{first['label']}")
        await title(desk, third, "a|b #{pane_id} %begin 1 1 1")
        await dies_as_itself(desk, first)
        await dies_as_itself(desk, second)
        desk.restart()
        assert {pane["id"]: pane["state"] for pane in desk.layout(layout["id"])["panes"]} == {
            first["id"]: "degraded",
            second["id"]: "degraded",
            third["id"]: "ready",
        }
        for pane in (first, second):
            await recreated(desk, pane)
        assert desk.pane(third["id"])["state"] == "ready"
        assert desk.layout(layout["id"])["state"] == "ready"

    async def test_a_recreated_pane_bears_its_label_until_its_program_says_otherwise(self, desk: Desk):
        layout = await desk.ready("labels")
        pane = layout["panes"][1]
        await title(desk, pane, "vim")
        successor = await recreated(desk, pane)
        assert said_of(desk, successor, "pane_title") == pane["label"]


class TestPeopleAtWork:
    async def test_panes_moved_between_windows_and_sessions_are_still_watched_removed_and_recreated(self, desk: Desk):
        layout = await desk.ready("moves")
        first, second, third = layout["panes"]
        desk.tmux("new-session", "-d", "-s", "person", "sleep", "1000")
        desk.tmux("break-pane", "-d", "-s", first["tmux_pane_id"], "-n", "elsewhere")
        desk.tmux("join-pane", "-d", "-s", second["tmux_pane_id"], "-t", "=person:")
        desk.tmux("rename-session", "-t", "=moves:", "renamed")
        assert said_of(desk, second, "session_name") == "person"
        for pane in (first, second):
            await dies_as_itself(desk, pane)
        successors = [await recreated(desk, pane) for pane in (first, second)]
        # Where siblings live, whatever their session is called by now.
        assert {said_of(desk, pane, "session_name") for pane in (*successors, third)} == {"renamed"}
        assert desk.layout(layout["id"])["state"] == "ready"
        assert desk.tmux("list-panes", "-s", "-t", "=person:", "-F", "#{pane_dead}").split() == ["0"]

    async def test_what_moved_and_was_renamed_is_found_again_by_the_next_tower(self, desk: Desk):
        layout = await desk.ready("again")
        first, second, third = layout["panes"]
        desk.tmux("new-session", "-d", "-s", "person", "sleep", "1000")
        desk.tmux("join-pane", "-d", "-s", first["tmux_pane_id"], "-t", "=person:")
        desk.tmux("swap-pane", "-d", "-s", second["tmux_pane_id"], "-t", third["tmux_pane_id"])
        desk.tmux("rename-session", "-t", "=again:", "other")
        await title(desk, third, first["label"])
        desk.restart()
        assert desk.layout(layout["id"])["state"] == "ready"
        await dies_as_itself(desk, first)
        await dies_as_itself(desk, third)
        assert desk.pane(second["id"])["state"] == "ready"

    async def test_a_persons_pane_in_the_layouts_window_outlives_the_layout(self, desk: Desk):
        layout = await desk.ready("guests")
        theirs = desk.tmux(
            "split-window", "-d", "-t", "=guests:", "-P", "-F", "#{pane_id} #{pane_pid}", "sleep", "1000"
        ).split()
        await title(desk, layout["panes"][0], "@MANAGED:x:guest")
        desk.accepted("layout", "remove", {"layout_id": layout["id"]})
        await eventually(lambda: not desk.tmux_panes(), "the layout's panes are gone")
        assert desk.tmux("list-panes", "-s", "-t", "=guests:", "-F", "#{pane_id} #{pane_pid} #{pane_dead}").split() == [
            *theirs,
            "0",
        ]
        # The session lives: what is made anew joins it.
        made = desk.accepted("pane", "recreate", {"predecessor_pane_id": layout["panes"][0]["id"]})
        successor = await becomes(desk, {"id": made["pane_id"], "label": "m1"}, "ready")
        assert said_of(desk, successor, "session_name") == "guests"

    async def test_a_new_layout_may_take_the_name_that_a_renamed_session_left(self, desk: Desk):
        layout = await desk.ready("name")
        desk.tmux("rename-session", "-t", "=name:", "left")
        data = {"container_id": "host", "template_name": "1m+2s", "tmux_session_name": "left"}
        assert desk.command("layout", "create", data)["error"]["code"] == "managed_session_name_conflict"
        desk.accepted("layout", "remove", {"layout_id": layout["id"]})
        await eventually(lambda: not desk.tmux_panes(), "the layout's panes are gone")
        assert (await desk.ready("name"))["ready_pane_count"] == 3


class TestAPersonsConfiguration:
    async def test_takes_nothing_from_watching_removing_and_recreating(self, configured: Desk):
        desk = configured
        layout = await desk.ready("configured")
        assert desk.tmux("show-options", "-gv", "prefix").strip() == "C-a"
        panes = layout["panes"]
        indexes = desk.tmux("list-panes", "-t", "=configured:", "-F", "#{window_index}.#{pane_index}").split()
        assert indexes == ["1.1", "1.2", "1.3"]
        for pane in panes:
            assert "hijacked" not in desk.tmux("capture-pane", "-p", "-S", "-", "-t", pane["tmux_pane_id"])
        await title(desk, panes[0], panes[1]["label"])
        await dies_as_itself(desk, panes[1])
        assert desk.tmux("show-options", "-sqv", "@person_saw_death").strip() == "1"
        type_into(desk, panes[2], "exit 7")
        assert (await becomes(desk, panes[2], "degraded", "process_exited"))["exit_code"] == 7
        for pane in panes[1:]:
            await recreated(desk, pane)
        desk.tmux("kill-pane", "-t", panes[0]["tmux_pane_id"])
        await becomes(desk, panes[0], "failed", "pane_vanished")
        await recreated_after_failure(desk, panes[0])
        assert desk.layout(layout["id"])["state"] == "ready"
        desk.restart()
        assert desk.layout(layout["id"])["state"] == "ready"

    async def test_a_person_who_comes_and_goes_leaves_everything_standing(self, configured: Desk):
        desk = configured
        layout = await desk.ready("visited")
        # destroy-unattached is on: the end of the last client ends what is not kept.
        argv = ["tmux", "-S", str(desk.tower.tmux_socket), "-C", "attach-session", "-t", "=visited:"]
        client = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=DEVNULL)
        await eventually(lambda: said_of(desk, layout["panes"][0], "session_attached") == "1", "a person is there")
        assert client.stdin is not None
        client.stdin.close()
        await eventually(lambda: said_of(desk, layout["panes"][0], "session_attached") == "0", "the person has left")
        assert await client.wait() == 0
        await dies_as_itself(desk, layout["panes"][2])
        assert len(desk.tmux_panes()) == 3


async def recreated_after_failure(desk: Desk, pane: dict[str, Any]) -> None:
    made = desk.accepted("pane", "recreate", {"predecessor_pane_id": pane["id"]})
    await becomes(desk, {"id": made["pane_id"], "label": pane["label"]}, "ready")
