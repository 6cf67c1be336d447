"""`agenttower pane logs`: what a pane printed, followed until it is removed, and while no tower runs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.integration.cli.conftest import DEADLINE_S, Desk, environment, going_on
from tests.waiting import eventually


def pane_of(desk: Desk) -> dict[str, Any]:
    made = desk.layout()
    return desk.json("layout", "show", made["layout_id"])["panes"][0]


async def typed(desk: Desk, pane: dict[str, Any], text: str) -> None:
    """Have the pane's shell print a line, and wait until it is in its log."""
    desk.tmux("send-keys", "-t", pane["tmux_pane_id"], f"echo {text[0]}''{text[1:]}", "Enter")
    await eventually(lambda: text in Path(pane["log_path"]).read_text(errors="replace"), f"{text} is logged")


def rotate(log: Path) -> None:
    log.replace(f"{log}.1")
    log.write_bytes(b"\x1b[1mafter-it\x1b[0m\r\n")


async def test_the_end_of_a_log(desk: Desk) -> None:
    pane = pane_of(desk)
    await typed(desk, pane, "first-words")
    await typed(desk, pane, "second-words")
    assert "first-words" in desk.ok("pane", "logs", pane["id"]).out
    few = desk.json("pane", "logs", pane["id"], "--lines", "2")
    assert few["path"] == pane["log_path"]
    assert len(few["lines"]) == 2
    assert few["lines"][0] == "second-words"
    assert desk.ok("pane", "logs", pane["id"], "--lines", "0").out == ""


def raw(desk: Desk, pane: dict[str, Any]) -> bytes:
    argv = [sys.executable, "-m", "adapters.cli", "pane", "logs", pane["id"], "-n", "1", "--raw"]
    return subprocess.run(argv, env=environment(desk.home), capture_output=True, timeout=DEADLINE_S, check=True).stdout


async def test_as_text_or_as_it_was_printed(desk: Desk) -> None:
    pane = pane_of(desk)
    rotate(Path(pane["log_path"]))
    # A shell's prompt ends no line.
    assert desk.ok("pane", "logs", pane["id"], "-n", "1").out.endswith("after-it\n")
    assert raw(desk, pane).endswith(b"\x1b[1mafter-it\x1b[0m\r\n")


def test_all_that_is_kept(desk: Desk) -> None:
    pane = pane_of(desk)
    before = Path(f"{pane['log_path']}.1")
    before.write_text("".join(f"line {number}\n" for number in range(5000)))
    os.utime(before, (0, 0))
    said = desk.ok("pane", "logs", pane["id"], "--since-start").out
    assert said.startswith("line 0\n")
    assert "line 4999\n" in said


async def test_follows_what_is_printed_and_rotated(desk: Desk) -> None:
    pane = pane_of(desk)
    await typed(desk, pane, "before-it")
    with going_on(desk, "pane", "logs", pane["id"], "--follow", "--lines", "2") as seen:
        await eventually(lambda: b"before-it" in seen.read_bytes(), "the end of the log is shown")
        await typed(desk, pane, "while-it")
        await eventually(lambda: b"while-it" in seen.read_bytes(), "new output is shown")
        rotate(Path(pane["log_path"]))
        await eventually(lambda: b"after-it" in seen.read_bytes(), "the new file is shown")
    assert seen.read_bytes().count(b"while-it\n") == 1


async def followed(desk: Desk, pane: dict[str, Any], act: Callable[[], object]) -> tuple[int, str, str]:
    """Exit code and both streams of a follower that ends by itself after `act`."""
    argv = [sys.executable, "-m", "adapters.cli", "pane", "logs", pane["id"], "--follow"]
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment(desk.home)
    )
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        first = await process.stdout.readline()
        await asyncio.to_thread(act)
        out, err = await process.communicate()
    return process.returncode or 0, (first + out).decode(), err.decode()


async def test_ends_when_the_pane_is_removed(desk: Desk) -> None:
    pane = pane_of(desk)
    await typed(desk, pane, "some-words")
    code, out, err = await followed(desk, pane, lambda: desk.ok("pane", "remove", pane["id"]))
    assert (code, err) == (0, f"Pane {pane['id']} is removed\n")
    assert "some-words" in out
    again = desk.ok("pane", "logs", pane["id"], "--follow")
    assert (again.err, "some-words" in again.out) == (f"Pane {pane['id']} is removed\n", True)


async def test_ends_when_the_pane_is_recreated_and_says_as_what(desk: Desk) -> None:
    pane = pane_of(desk)
    await typed(desk, pane, "some-words")

    def recreate() -> None:
        desk.tmux("kill-pane", "-t", pane["tmux_pane_id"])

    def failed() -> bool:
        return desk.json("pane", "show", pane["id"])["state"] == "failed"

    made: list[str] = []

    def act() -> None:
        recreate()
        while not failed():
            pass
        made.append(desk.json("pane", "recreate", pane["id"])["pane_id"])

    code, _, err = await followed(desk, pane, act)
    assert (code, err) == (0, f"Pane {pane['id']} is recreated as {made[0]}\n")


async def test_while_no_tower_runs(own_desk: Desk) -> None:
    pane = pane_of(own_desk)
    await typed(own_desk, pane, "some-words")
    own_desk.tower.stop()
    for reference in (pane["id"], pane["id"][-12:]):
        assert "some-words" in own_desk.ok("pane", "logs", reference).out
    unknown = own_desk.run("pane", "logs", "m1")
    assert unknown.code == 1
    assert unknown.err.startswith("no tower runs for node local ")
    assert "no log there is of a pane whose id begins or ends with 'm1'" in unknown.err
    assert own_desk.run("pane", "logs", pane["id"][:4]).err.startswith(f"'{pane['id'][:4]}' stands for 3 logs")


async def test_over_http(desk: Desk) -> None:
    pane = pane_of(desk)
    await typed(desk, pane, "some-words")
    await asyncio.to_thread(read_over_http, desk, pane)


def read_over_http(desk: Desk, pane: dict[str, Any]) -> None:
    path = f"/v1/panes/{pane['id']}/log"
    with httpx.Client(base_url=desk.tower.running.http, timeout=DEADLINE_S) as client:
        answer = client.get(path, params={"lines": 3})
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text.splitlines()[1] == "some-words"
        assert b"\r\n" in client.get(path, params={"raw": "true", "lines": "all"}).content
        assert client.get("/v1/panes/unknown/log").status_code == 404
        assert client.get(path, params={"lines": -1}).status_code == 422
        with client.stream("GET", path, params={"follow": "true", "lines": 0}) as stream:
            desk.tmux("send-keys", "-t", pane["tmux_pane_id"], "echo more''-words", "Enter")
            seen = ""
            for part in stream.iter_text():
                seen += part
                if "more-words" in seen and desk.json("pane", "show", pane["id"])["state"] == "ready":
                    desk.ok("pane", "remove", pane["id"])
        assert "more-words" in seen
        Path(pane["log_path"]).unlink()
        gone = client.get(path)
        assert (gone.status_code, gone.json()["error"]["details"]) == (503, {"part": "log"})
