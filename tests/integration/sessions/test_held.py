"""Whoever waits for a session over a restart of a killed tower: over HTTP, by promise, at the command line."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.integration.cli.conftest import environment
from tests.integration.sessions.conftest import DEADLINE_S, Talks, agent, plan
from tests.waiting import eventually


@contextmanager
def at_the_command_line(talks: Talks, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "adapters.cli", "session", *words],
        env=environment(talks.desk.tower.home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def posted(talks: Talks, data: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a spawn that waits for its outcome; None where the connection broke."""
    token = (talks.desk.tower.home / "http.token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    try:
        url = talks.desk.tower.running.http + "/v1/sessions"
        return httpx.post(url, headers=headers, json=data, timeout=DEADLINE_S).json()["result"]
    except httpx.TransportError:
        return None


async def test_over_http_the_same_question_again_is_answered_with_the_outcome(talks: Talks) -> None:
    lost = {"bundle": agent(), "instruction": "hang", "idempotency_key": "held-1"}
    blocker = talks.spawn("import time; time.sleep(600)", plan("python"))
    asking = asyncio.create_task(asyncio.to_thread(posted, talks, lost))

    def begun() -> list[dict[str, Any]]:
        return [row for row in talks.desk.get("/sessions")["items"] if row["state"] == "running"]

    await eventually(lambda: len(begun()) == 2, "both run", timeout_s=DEADLINE_S)
    talks.desk.restart()
    assert await asking is None
    answer = await asyncio.to_thread(posted, talks, lost)
    assert answer is not None
    assert (answer["state"], answer["error_type"], answer["replay"]) == ("error", "lost", True)
    assert len(talks.events(answer["session_id"], "turn_started")) == 1, "none is run twice"
    promise = talks.desk.get(f"/promises/spawn:{blocker}", wait=20)
    assert (promise["state"], promise["value"]["error_type"]) == ("rejected", "lost")


async def test_at_the_command_line_one_stays_over_the_restart(talks: Talks) -> None:
    """With what runs, which is lost, and with what waits behind it, which goes on when it is resumed."""
    session = talks.spawn("1", plan("python"))
    await talks.rest(session)
    long = "print('begun', flush=True)\nimport time\ntime.sleep(600)"
    with at_the_command_line(talks, "instruct", session, long) as one:
        assert one.stdout is not None
        assert await asyncio.to_thread(one.stdout.readline) == b"begun\n"
        with at_the_command_line(talks, "instruct", session, "6 * 7") as two:
            await talks.event(session, "instructed", 3)
            talks.desk.restart()
            said = await asyncio.to_thread(one.communicate, timeout=DEADLINE_S)
            assert one.returncode == 1
            assert b"lost: " in said[1]
            talks.desk.accepted("session", "resume", {"session_id": session})
            said = await asyncio.to_thread(two.communicate, timeout=DEADLINE_S)
            assert (two.returncode, said[0]) == (0, b"42\n")
