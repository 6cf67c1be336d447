"""A person at a session of a whole tower: sees what it says, answers what it asks, on every kind of runtime."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx

from tests.integration.executing.test_processes import gone
from tests.integration.sessions.conftest import DEADLINE_S, Talks, agent, plan

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
