"""GET /v1/sessions/{id}/stream: a session shown to a person, whole and in order; resumed anywhere; with a policy for a
bundle that was loaded anew."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from adapters.nats.connection import connect, js_api
from adapters.system import SystemIds
from domain.promises import PromiseCreate
from domain.sessions import commands as c
from domain.sessions.ids import asked_in
from handlers.execution_ports import between_executions
from tests.integration.http.world import BEARER, NODE, World
from tests.unit.talks import BUNDLE

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_DIGEST = "e" * 64


class Told(NamedTuple):
    id: str
    event: str
    data: dict[str, Any]

    def is_like(self, event: str, **fields: Any) -> bool:
        return self.event == event and fields.items() <= self.data.items()


class Talk:
    """A session without a runtime: a test says what it does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.id = f"s-{SystemIds().uuid7()}"
        self.turn = 0

    async def accepted(self, name: str, **data: Any) -> None:
        answer = await self.world.post(name, data)
        assert answer.status_code == 200, answer.text

    async def spawn(self) -> None:
        await self.accepted("session.spawn", session_id=self.id, bundle="reviewer", instruction="Look.")

    async def begin(self) -> None:
        self.turn += 1
        await self._record(c.SessionRecordTurnStarted(session_id=self.id, turn=self.turn))

    async def say(self, text: str) -> None:
        await self.world.output.write(between_executions(self.id), self.turn, "stdout", text)

    async def end(self, state: Any = "completed", **fields: Any) -> None:
        written = await self.world.output.finish(between_executions(self.id), self.turn)
        ended = c.SessionRecordTurnEnded(
            session_id=self.id, turn=self.turn, state=state, output_position=written.position, **fields
        )
        await self._record(ended)

    async def take_turn(self, *said: str) -> None:
        await self.begin()
        for text in said:
            await self.say(text)
        await self.end()

    async def goes_stale(self) -> None:
        await self._record(c.SessionRecordStale(session_id=self.id, from_digest=BUNDLE.digest, to_digest=OTHER_DIGEST))

    async def _record(self, request: Any) -> None:
        outcome = await self.world.follow_up(request)
        assert outcome["status"] == "accepted", outcome

    def attach(self, last_id: str = "", **params: Any) -> Any:
        return attached(self.world, self.id, last_id, **params)

    async def whole(self, last_id: str = "", **params: Any) -> list[Told]:
        """All that is told, of a session that has an end."""
        async with self.attach(last_id, **params) as coming:
            return [one async for one in coming]


@asynccontextmanager
async def attached(world: World, session_id: str, last_id: str = "", **params: Any) -> AsyncIterator[Any]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    path = f"/v1/sessions/{session_id}/stream"
    async with world.client.stream("GET", path, params=params, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        async with aclosing(told(response)) as coming:
            yield coming


async def told(response: httpx.Response) -> AsyncGenerator[Told]:
    """Events, comments left out."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(30):
        async for line in response.aiter_lines():
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
            else:
                if "event" in fields:
                    yield Told(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}


async def until(coming: Any, event: str) -> list[Told]:
    found: list[Told] = []
    while not found or found[-1].event != event:
        found.append(await anext(coming))
    return found


@pytest.fixture
def talk(shared_world: World) -> Talk:
    return Talk(shared_world)


async def a_life(talk: Talk) -> None:
    """Two turns and the end."""
    await talk.spawn()
    await talk.take_turn("one\n", "ün\n")
    await talk.accepted("session.instruct", session_id=talk.id, instruction="More.")
    await talk.take_turn("two\n")
    await talk.accepted("session.end", session_id=talk.id)


NAMES = [
    *("spawned", "instructed", "turn_started", "output", "turn_completed", "completed"),
    *("instructed", "turn_started", "output", "turn_completed", "completed", "ended", "end"),
]


async def test_a_session_is_told_as_it_goes_on(talk: Talk) -> None:
    await talk.spawn()
    async with talk.attach() as coming:
        spawned, instructed = [await anext(coming) for _ in range(2)]
        assert spawned.is_like("spawned", session_name="reviewer", runtime="echo")
        assert instructed.is_like("instructed", turn=1, instruction="Look.")
        await talk.begin()
        assert (await anext(coming)).is_like("turn_started", turn=1)
        await talk.say("one\n")
        assert (await anext(coming)).is_like("output", turn=1, offset=0, text="one\n")
        await talk.say("two\n")
        await talk.end("failed", error=c.TurnFailure(type="exit_status", message="agent ended with exit code 3"))
        assert (await anext(coming)).is_like("output", turn=1, offset=4, text="two\n")
        error = await anext(coming)
        assert error.is_like("error", turn=1, error_type="exit_status", error="agent ended with exit code 3")
        await talk.accepted("session.cancel", session_id=talk.id)
        assert [one.event async for one in coming] == ["ended", "end"]


async def test_what_was_before_is_told_in_the_same_order(talk: Talk) -> None:
    await a_life(talk)
    events = await talk.whole()
    assert [one.event for one in events] == NAMES
    assert "".join(one.data["text"] for one in events if one.event == "output") == "one\nün\ntwo\n"
    assert [one.data["turn"] for one in events if one.event == "output"] == [1, 2]


async def test_it_is_resumed_anywhere_with_nothing_twice_and_nothing_left_out(talk: Talk) -> None:
    await a_life(talk)
    events = await talk.whole()
    for number, one in enumerate(events[:-1]):
        assert await talk.whole(last_id=one.id) == events[number + 1 :]
    assert await talk.whole(last_event_id=events[3].id) == events[4:], "a page that was loaded anew has no header"


async def test_in_the_middle_of_a_turn_too(talk: Talk) -> None:
    await talk.spawn()
    await talk.begin()
    await talk.say("one\n")
    async with talk.attach() as coming:
        before = await until(coming, "output")
    await talk.say("two\n")
    async with talk.attach(last_id=before[-1].id) as coming:
        assert (await anext(coming)).is_like("output", text="two\n", offset=4)
    await talk.end()
    async with talk.attach(last_id=before[-1].id) as coming:
        rest = await until(coming, "completed")
    assert [one.event for one in rest] == ["output", "turn_completed", "completed"]


async def test_behind_the_end_there_is_nothing(talk: Talk) -> None:
    await a_life(talk)
    last = (await talk.whole())[-1]
    path = f"/v1/sessions/{talk.id}/stream"
    answer = await talk.world.client.get(path, headers={"Last-Event-ID": last.id})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_what_was_not_kept_is_told(talk: Talk) -> None:
    await talk.spawn()
    await talk.begin()
    await talk.say("one\n")
    async with talk.attach() as coming:
        first = (await until(coming, "output"))[-1]
        await talk.say("two\n")
        await anext(coming)
    await talk.say("three\n")
    await talk.end()
    await talk.accepted("session.cancel", session_id=talk.id)
    sequence = int(first.id.split("-")[1])
    tower = await connect(talk.world.broker.tower_url, name="test")
    await js_api(tower, f"STREAM.MSG.DELETE.TOWER_OUTPUT_{NODE}", {"seq": sequence})
    await tower.close()
    names = [one.event for one in await talk.whole() if one.event in ("output", "truncated")]
    assert names[:2] == ["truncated", "output"]


async def test_surfaces_beside_each_other_are_told_the_same(talk: Talk) -> None:
    await talk.spawn()
    async with talk.attach() as one, talk.attach(surface="b") as other:
        await talk.take_turn("one\n")
        assert await until(one, "completed") == await until(other, "completed")


async def test_a_surface_that_attaches_again_takes_its_own_place(talk: Talk) -> None:
    await talk.spawn()
    async with talk.attach(surface="page") as before:
        first = [await anext(before) for _ in range(2)]
        async with talk.attach(last_id=first[-1].id, surface="page") as after:
            (replaced,) = [one async for one in before]
            assert replaced.is_like("replaced")
            assert replaced.id.endswith("-end"), "whoever was replaced does not come back"
            await talk.take_turn("one\n")
            assert [one.event for one in await until(after, "completed")] == NAMES[2:6]


class TestQuestions:
    async def test_inputs_and_approvals_are_asked_and_answered(self, talk: Talk) -> None:
        await talk.spawn()
        await talk.begin()
        async with talk.attach() as coming:
            await until(coming, "turn_started")
            for number, kind in ((1, "input"), (2, "approval")):
                promise_id = f"{asked_in(talk.id)}turn:1:{kind}:{number}"
                data = {"kind": kind, "prompt": "Merge it?"}
                await talk.world.follow_up(PromiseCreate(id=promise_id, timeout=60, data=data))
                asked = await anext(coming)
                assert asked.is_like(f"{kind}_requested", promise_id=promise_id, data=data)
                assert asked.data["deadline"] is not None
                await talk.accepted("promise.resolve", id=promise_id, value="yes")
                answered = await anext(coming)
                assert answered.is_like("answered", promise_id=promise_id, state="resolved")
                assert "yes" not in str(answered.data), "the answer is nobody else's"

    async def test_not_those_of_another_session(self, talk: Talk) -> None:
        await talk.spawn()
        async with talk.attach() as coming:
            await until(coming, "instructed")
            await talk.world.follow_up(PromiseCreate(id=f"{asked_in(talk.id + 'x')}turn:1:input:1"))
            await talk.begin()
            assert (await anext(coming)).event == "turn_started"


class TestBundleReloaded:
    async def test_notify_tells_and_goes_on(self, talk: Talk) -> None:
        await talk.spawn()
        async with talk.attach() as coming:
            await until(coming, "instructed")
            await talk.goes_stale()
            digests = {"from_digest": BUNDLE.digest, "to_digest": OTHER_DIGEST}
            assert (await anext(coming)).is_like("bundle_reloaded", **digests)
            await talk.begin()
            assert (await anext(coming)).event == "turn_started"

    async def test_ignore_does_nothing(self, talk: Talk) -> None:
        await talk.spawn()
        async with talk.attach(bundle_reloaded="ignore") as coming:
            await until(coming, "instructed")
            await talk.goes_stale()
            await talk.begin()
            assert (await anext(coming)).event == "turn_started"

    async def test_restart_lets_it_finish_and_tells_what_to_spawn(self, talk: Talk) -> None:
        await talk.spawn()
        await talk.begin()
        async with talk.attach(bundle_reloaded="restart") as coming:
            await until(coming, "turn_started")
            await talk.goes_stale()
            await talk.say("one\n")
            await talk.end()
            rest = [one async for one in coming]
        assert [one.event for one in rest] == ["output", "turn_completed", "completed", "restart"]
        assert rest[-1].data == {
            "from_digest": BUNDLE.digest,
            "to_digest": OTHER_DIGEST,
            "spawn": {"bundle": BUNDLE.uri, "session_name": "reviewer"},
        }
        again = Talk(talk.world)
        await again.accepted("session.spawn", session_id=again.id, instruction="Go on.", **rest[-1].data["spawn"])

    async def test_one_that_fails_does_not_stop_the_others(self, talk: Talk) -> None:
        await talk.spawn()
        async with talk.attach(bundle_reloaded="notify") as good:
            async with talk.attach(bundle_reloaded="restart") as bad:
                await anext(bad)
            await talk.goes_stale()
            assert (await until(good, "bundle_reloaded"))[-1].event == "bundle_reloaded"


async def test_keep_alives_carry_the_place(talk: Talk) -> None:
    await talk.spawn()
    client = await talk.world.serve(keep_alive_s=0.05)
    async with client.stream("GET", f"/v1/sessions/{talk.id}/stream", headers=BEARER) as response:
        async with asyncio.timeout(20):
            lines = response.aiter_lines()
            while await anext(lines) != ": keep-alive":
                pass
            place = (await anext(lines)).removeprefix("id: ")
    await talk.take_turn("one\n")
    async with talk.attach(last_id=place) as coming:
        assert [one.event for one in await until(coming, "completed")] == NAMES[2:6]


@pytest.mark.parametrize("last_id", ["x", "1", "1-2", "1-2-x", "1-2-3-no", f"{2**63}-0-0", "-1-0-0", "900000-0-0"])
async def test_a_wrong_place_is_refused(talk: Talk, last_id: str) -> None:
    await talk.spawn()
    path = f"/v1/sessions/{talk.id}/stream"
    get = talk.world.client.get
    for answer in (
        await get(path, headers={"Last-Event-ID": last_id}),
        await get(path, params={"last_event_id": last_id}),
    ):
        assert answer.status_code == 422, last_id
        assert answer.json()["error"]["details"]["field"] == "Last-Event-ID"


async def test_a_session_that_there_is_not(shared_world: World) -> None:
    error = await shared_world.error("/v1/sessions/no-such/stream", 404)
    assert (error["code"], error["details"]) == ("session_not_found", {"session_id": "no-such"})
    assert (await shared_world.error("/v1/sessions/no-such/stream?bundle_reloaded=no", 422))["code"]
