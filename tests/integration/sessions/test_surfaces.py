"""A person at a session of a whole tower: sees what it says, answers what it asks, on every kind of runtime."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.executing.test_processes import gone
from tests.integration.sessions.conftest import DEADLINE_S, Talks, agent, plan
from tests.waiting import eventually

Told = tuple[str, dict[str, Any]]


@asynccontextmanager
async def attached(talks: Talks, session_id: str, **params: str) -> AsyncIterator[AsyncGenerator[Told]]:
    url = f"{talks.desk.tower.running.http}/v1/sessions/{session_id}/stream"
    async with (
        httpx.AsyncClient(timeout=DEADLINE_S) as client,
        client.stream("GET", url, params=params) as response,
        aclosing(told(response)) as coming,
    ):
        assert response.status_code == 200
        yield coming


async def told(response: httpx.Response) -> AsyncGenerator[Told]:
    event = ""
    async with asyncio.timeout(DEADLINE_S):
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                yield event, json.loads(value)


async def until(coming: AsyncGenerator[Told], event: str) -> list[Told]:
    found: list[Told] = []
    async for one in coming:
        found.append(one)
        if one[0] == event:
            return found
    raise AssertionError(f"no {event} among {found}")


def said(events: list[Told]) -> str:
    return "".join(data["text"] for event, data in events if event == "output")


async def test_what_a_program_prints_comes_while_it_runs(talks: Talks) -> None:
    session_id = talks.spawn("say first\nhang", agent())
    async with attached(talks, session_id) as coming:
        assert said(await until(coming, "output")).startswith("first\n")
        talks.cancel(session_id)
        rest = await until(coming, "end")
    assert [event for event, _ in rest if event != "output"] == ["stop_requested", "cancelled", "ended", "end"]


async def test_what_code_asks_is_answered_by_whoever_sees_it(talks: Talks) -> None:
    session_id = talks.spawn("print('hello', input('name? '))", plan("python"))
    async with attached(talks, session_id) as coming:
        _, asked = (await until(coming, "input_requested"))[-1]
        assert (asked["data"]["prompt"], asked["data"]["session_id"]) == ("name? ", session_id)
        talks.desk.accepted("promise", "resolve", {"id": asked["promise_id"], "value": "Ada"})
        rest = await until(coming, "completed")
    assert rest[0] == ("answered", {**rest[0][1], "promise_id": asked["promise_id"], "state": "resolved"})
    assert said(rest) == "hello Ada\n"


async def test_a_question_ends_with_its_turn(talks: Talks) -> None:
    session_id = talks.spawn("input('name? ')", plan("python"))
    async with attached(talks, session_id) as coming:
        _, asked = (await until(coming, "input_requested"))[-1]
        talks.cancel(session_id)
        events = await until(coming, "end")
    assert ("cancelled", asked["promise_id"]) in [(data.get("state"), data.get("promise_id")) for _, data in events]


async def test_secrets_are_not_asked_for(talks: Talks) -> None:
    session_id = talks.spawn("import getpass\ngetpass.getpass()", plan("python"))
    assert (await talks.rest(session_id))["error_type"] == "EOFError"


async def test_a_pane_of_the_tower_answers(talks: Talks) -> None:
    layout = await talks.desk.ready("talks")
    pane = layout["panes"][0]
    session_id = talks.spawn("echo $((6 * 7))", plan("pane", pane=pane["label"], idle_s=0.5))
    end = await talks.rest(session_id)
    assert end["event"] == "completed"
    assert "42\n" in end["output"]
    other = talks.spawn("echo $((6 * 8))", plan("pane", pane=pane["id"], idle_s=0.5))
    assert (await talks.rest(other))["error_type"] == "pane_not_ready"
    talks.desk.accepted("session", "end", {"session_id": session_id})
    talks.desk.accepted("session", "resume", {"session_id": other, "instruction": "echo $((6 * 9))"})
    assert "54\n" in (await talks.rest(other, 2))["output"]


async def test_what_a_killed_tower_leaves_running_is_ended_by_the_next(talks: Talks) -> None:
    session_id = talks.spawn("leave-far\nignore-term\nhang", agent())
    async with attached(talks, session_id) as coming:
        child = int(said(await until(coming, "output")).split()[0])
    talks.desk.restart()
    await gone(child)
    assert (await talks.rest(session_id))["error_type"] == "lost"


async def spawned_from(talks: Talks, bundle: str, instruction: str, **options: Any) -> str:
    """One that is not prepared yet is prepared because it is asked for."""
    data = {"bundle": bundle, "instruction": instruction, **options}

    def spawn() -> dict[str, Any] | None:
        outcome = talks.desk.command("session", "spawn", data)
        return outcome if outcome["status"] == "accepted" else None

    accepted = await eventually(spawn, f"{bundle} is prepared", timeout_s=DEADLINE_S)
    assert accepted is not None
    return accepted["result"]["session_id"]


async def test_a_bundle_that_was_changed_is_told_by_the_policy_of_each(talks: Talks, tmp_path: Path) -> None:
    bundle = tmp_path / "talker.yaml"
    text = "bundle: {name: talker, version: 1.0.0}\nruntime: {kind: echo}\n"
    bundle.write_text(text)
    session_id = await spawned_from(talks, str(bundle), "hello")
    await talks.rest(session_id)
    async with (
        attached(talks, session_id) as notified,
        attached(talks, session_id, bundle_reloaded="restart") as restarted,
        attached(talks, session_id, bundle_reloaded="ignore") as ignoring,
    ):
        for coming in (notified, restarted, ignoring):
            await until(coming, "completed")
        bundle.write_text(text + "context: {}\n# once more\ndescription: other\n")
        _, reloaded = (await until(notified, "bundle_reloaded"))[-1]
        ((event, restart),) = [one async for one in restarted]
        assert (event, restart["to_digest"]) == ("restart", reloaded["to_digest"])
        assert reloaded["from_digest"] != reloaded["to_digest"]
        talks.desk.accepted("session", "end", {"session_id": session_id})
        assert [event for event, _ in await until(ignoring, "end")] == ["ended", "end"]
    again = await spawned_from(talks, instruction="hello again", **restart["spawn"])
    spawned = await talks.event(again, "spawned")
    assert spawned["bundle"]["digest"] == reloaded["to_digest"]
