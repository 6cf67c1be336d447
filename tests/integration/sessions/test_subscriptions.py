"""Whoever listens to sessions from Python, at the broker of a whole tower: nothing missed, nothing twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.remote import RemoteTower
from domain.errors import Rejection
from tests.integration.executing.test_remote import kill_broker
from tests.integration.sessions.conftest import DEADLINE_S, Talks, plan
from tests.waiting import eventually


@pytest.fixture
async def remote(talks: Talks) -> AsyncIterator[RemoteTower]:
    url = (talks.desk.tower.home / "nats.url").read_text().strip()
    async with RemoteTower(url, node=talks.desk.tower.running.node) as tower:
        yield tower


async def test_what_is_emitted_after_it_returns_is_not_missed(remote: RemoteTower) -> None:
    async with await remote.subscribe(["work:*", "work:done"]) as told:
        for number in range(20):
            await remote.emit("work:done", number)
        await remote.emit("other:done")
        await remote.emit("work:over")
        async with asyncio.timeout(DEADLINE_S):
            found = [await anext(told) for _ in range(21)]
    assert [(each.name, each.data) for each in found] == [*(("work:done", n) for n in range(20)), ("work:over", None)]
    assert told.position == found[-1].position


async def test_it_goes_on_from_a_position_though_nobody_listened_meanwhile(remote: RemoteTower) -> None:
    async with await remote.subscribe(["work:*"]) as told:
        await remote.emit("work:done", "heard")
        await anext(told)
        after = told.position
    await remote.emit("work:done", "meanwhile")
    assert (await remote.wait_for_event(["work:*"], DEADLINE_S, after=after)).data == "meanwhile"


async def test_one_is_waited_for(talks: Talks, remote: RemoteTower) -> None:
    waiting = asyncio.create_task(remote.wait_for_event(["session:completed"], DEADLINE_S, ["waited-for"]))

    def is_in_force() -> bool:
        return any(each["sources"] == ["waited-for"] for each in _subscriptions(talks))

    await eventually(is_in_force, "the subscription")
    talks.spawn("hello")
    talks.spawn("hello", session_id="waited-for", session_name="greeter")
    event = await waiting
    assert event.source_session_id == "waited-for"
    named = {"session_id": "waited-for", "session_name": "greeter", "bundle_name": "echo-bundle"}
    assert event.data == {**named, "output": event.data["output"], "turn_count": 1, "success": True}


async def test_waiting_has_an_end(remote: RemoteTower) -> None:
    with pytest.raises(TimeoutError):
        await remote.wait_for_event(["nobody:emits"], 0.1)


async def test_a_slow_one_is_shown_with_its_lag(talks: Talks, remote: RemoteTower) -> None:
    async with await remote.subscribe(["work:*"], ["nobody"]) as told:
        for number in range(300):
            await remote.emit("work:done", number)

        def lag() -> int:
            return max(each["lag"] for each in _subscriptions(talks) if each["sources"] == ["nobody"])

        # It holds some; what it has no room for is left to the broker.
        await eventually(lambda: 0 < lag() <= 300 and told.lag > 0, "the lag")


async def test_nothing_is_missed_while_the_broker_is_away(talks: Talks, remote: RemoteTower) -> None:
    async with await remote.subscribe(["work:*"]) as told:
        await remote.emit("work:done", "before")
        kill_broker(talks.desk.tower)

        async def emitted() -> bool:
            try:
                await remote.emit("work:done", "after")
            except (Rejection, OSError, RuntimeError):
                return False
            return True

        await eventually(emitted, "the broker", timeout_s=DEADLINE_S)
        async with asyncio.timeout(DEADLINE_S):
            assert [(await anext(told)).data for _ in range(2)] == ["before", "after"]


async def test_code_in_a_session_emits(talks: Talks, remote: RemoteTower) -> None:
    async with await remote.subscribe(["work:*"]) as told:
        session_id = talks.spawn("tower.emit('work:done', {'n': 1})", plan("python"))
        async with asyncio.timeout(DEADLINE_S):
            event = await anext(told)
    assert (event.source_session_id, event.data) == (session_id, {"n": 1})
    await talks.rest(session_id)


async def test_what_it_emits_keeps_to_the_rules(talks: Talks) -> None:
    session_id = talks.spawn("tower.emit('done', 1)", plan("python"))
    rest = await talks.rest(session_id)
    assert rest["event"] == "error" and "two words with a colon between" in rest["error"]


def _subscriptions(talks: Talks) -> list[dict[str, Any]]:
    return talks.desk.http.get("/session-events/subscriptions").json()["items"]
