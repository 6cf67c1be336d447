"""`agenttower pane send` on a real tower: what arrives, what is said, what the log holds of it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.cli.conftest import DEADLINE_S, Desk, environment
from tests.waiting import eventually


def shell_pane(desk: Desk) -> dict[str, Any]:
    made = desk.layout()
    return desk.json("layout", "show", made["layout_id"])["panes"][0]


async def written(path: Path) -> str:
    await eventually(lambda: path.exists() and path.read_text().endswith("\n"), f"{path.name} is written")
    return await asyncio.to_thread(path.read_text)


def piped(desk: Desk, given: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "adapters.cli", "pane", "send", *words],
        env=environment(desk.home),
        input=given,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )


async def test_text_is_typed_and_entered(desk: Desk, tmp_path: Path) -> None:
    pane = shell_pane(desk)
    target = tmp_path / "said"
    done = desk.ok("pane", "send", pane["id"], f"echo $((20 + 3)) '#{{pane_id}}' é > {target}")
    assert done.out == f"Typed into pane {pane['id']}, and seen to arrive\n"
    assert await written(target) == "23 #{pane_id} é\n"


async def test_enter_is_left_to_a_later_text(desk: Desk, tmp_path: Path) -> None:
    pane = shell_pane(desk)
    target = tmp_path / "said"
    first = desk.json("pane", "send", pane["id"], f"echo one two > {target}", "--no-enter")
    assert first["pane_id"] == pane["id"]
    assert first["seen"] is True
    assert not target.exists()
    desk.ok("pane", "send", pane["id"], "--", " -n; true")
    await eventually(target.exists, "the line is entered")


async def test_text_from_standard_input(desk: Desk, tmp_path: Path) -> None:
    pane = shell_pane(desk)
    target = tmp_path / "said"
    done = piped(desk, f"echo from stdin > {target}\n".encode(), pane["id"], "-", "--json")
    assert done.returncode == 0
    assert b'"seen":true' in done.stdout.replace(b" ", b"")
    assert await written(target) == "from stdin\n"
    bad = piped(desk, b"abc\xff", pane["id"], "-")
    assert (bad.returncode, bad.stderr) == (1, b"standard input is not UTF-8, at byte 3\n")


async def test_the_words_are_in_no_event_and_in_no_file_afterwards(desk: Desk, tmp_path: Path) -> None:
    pane = shell_pane(desk)
    desk.ok("pane", "send", pane["id"], "# the-secret-words", "--no-enter")
    events = desk.json("events", "query", "--id", pane["id"], "--limit", "200")["items"]
    names = [event["type"].split(".")[2] for event in events]
    assert names[-3:] == ["send_requested", "send_begun", "text_sent"]
    requested = events[-3]["data"]
    assert requested["bytes"] == len("# the-secret-words")
    assert "secret" not in str(events)
    texts = desk.home / "nodes" / "local" / "texts"

    def left() -> list[str]:
        return [path.name for path in texts.iterdir() if path.name != "key"]

    await eventually(lambda: not left(), "the text is dropped")
    assert [oct(path.stat().st_mode & 0o777) for path in (texts, texts / "key")] == ["0o700", "0o600"]


async def test_what_cannot_take_text(desk: Desk) -> None:
    pane = shell_pane(desk)
    os.kill(pane["pid"], signal.SIGKILL)
    await eventually(lambda: desk.json("pane", "show", pane["id"])["state"] == "degraded", "its process is dead")
    dead = desk.run("pane", "send", pane["id"], "hello")
    assert dead.code == 1
    assert dead.err.startswith(f"managed_pane_not_ready: pane {pane['id']} is degraded and its process has ended")
    desk.ok("pane", "remove", pane["id"])
    gone = desk.run("pane", "send", pane["id"], "hello", "--json")
    assert gone.code == 1
    assert '"current_state": "removed"' in gone.err
    empty = desk.run("pane", "send", pane["id"], "")
    assert empty.code == 1
    assert empty.err.startswith("validation_failed: ")
