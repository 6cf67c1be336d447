"""GET /v1/session-events/stream: what sessions tell, by name and source, live or from a position, at any pace."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from domain.sessions.commands import SessionRecordTurnEnded, SessionRecordTurnStarted
from tests.integration.http.test_stream import Listener, Told
from tests.integration.http.world import World
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/session-events/stream"


@asynccontextmanager
async def subscribed(client: httpx.AsyncClient, last_id: int | None = None, **params: Any) -> AsyncIterator[Listener]:
    headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
    async with client.stream("GET", PATH, params=params, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        listener = Listener(response)
        assert (await listener.block()).comment.startswith("events after")
        yield listener


async def emit(world: World, name: str, data: Any = None, session_id: str | None = None) -> int:
    """The position of the event."""
    answer = await world.post("session.emit", {"name": name, "data": data, "session_id": session_id})
    assert answer.status_code == 200, answer.text
    return answer.json()["position"]


async def spawn(world: World, session_id: str) -> None:
    answer = await world.post("session.spawn", {"bundle": "b", "instruction": "Look.", "session_id": session_id})
    assert answer.status_code == 200, answer.text


def names(told: list[Told]) -> list[str]:
    return [each.event for each in told]


async def test_what_is_emitted_after_it_is_told_once_by_its_names(world: World) -> None:
    await emit(world, "work:before")
    async with subscribed(world.client, name=["work:completed", "work:*", "tests:done"]) as listener:
        emitted = ("work:completed", "other:thing", "work:failed", "tests:started", "tests:done")
        at = [await emit(world, name, {"of": name}) for name in emitted][-1]
        told = await listener.events(3)
    assert names(told) == ["work:completed", "work:failed", "tests:done"]
    last = told[-1]
    assert last.id == last.data["position"] == at
    assert (last.data["data"], last.data["source_session_id"]) == ({"of": "tests:done"}, "tower:operator")


async def test_only_of_the_sources_that_are_named(world: World) -> None:
    for session_id in ("a", "b", "c"):
        await spawn(world, session_id)
    async with subscribed(world.client, name="work:*", source=["a", "c"]) as listener:
        for session_id in ("a", "b", "c"):
            await emit(world, "work:done", session_id, session_id)
        told = await listener.events(2)
    assert [each.data["source_session_id"] for each in told] == ["a", "c"]


async def test_the_life_of_sessions_has_names_too(world: World) -> None:
    async with subscribed(world.client, name="session:*") as listener:
        done = SessionRecordTurnEnded(session_id="done", turn=1, state="completed", output="said")
        failed = SessionRecordTurnEnded(session_id="failed", turn=1, state="failed", output="said")
        for end in (done, failed):
            await spawn(world, end.session_id)
            await world.follow_up(SessionRecordTurnStarted(session_id=end.session_id, turn=1))
            await world.follow_up(end)
        await world.post("session.cancel", {"session_id": "done"})
        told = await listener.events(3)
    assert names(told) == ["session:completed", "session:error", "session:end"]
    named = {"session_name": "reviewer", "bundle_name": "reviewer", "output": "said"}
    assert told[0].data["data"] == {"session_id": "done", **named, "turn_count": 1, "success": True}
    error = {"error": "no reason was given", "error_type": "internal"}
    assert told[1].data["data"] == {"session_id": "failed", **named, "turn_count": 0, "success": False, **error}
    assert told[2].data["data"] == {"session_id": "done", "status": "cancelled"}


async def test_it_is_taken_up_anywhere_with_nothing_twice_and_nothing_left_out(world: World) -> None:
    places = [await emit(world, "work:done", number) for number in range(5)]
    for taken, after in enumerate([places[0] - 1, *places[:-1]]):
        async with subscribed(world.client, last_id=after, name="work:done") as listener:
            told = await listener.events(5 - taken)
        assert [each.id for each in told] == places[taken:]
    async with subscribed(world.client, after_position=places[2]) as listener:
        assert [each.id for each in await listener.events(2)] == places[3:]


async def test_keep_alives_move_the_place_past_what_was_not_wanted(world: World) -> None:
    client = await world.serve(keep_alive_s=0.05)
    async with subscribed(client, name="nobody:emits") as listener:
        at = await emit(world, "work:done")
        async with asyncio.timeout(20):
            while (await listener.block()).id != at:
                pass


async def test_a_slow_one_is_shown_with_its_lag_and_holds_back_nobody(world: World) -> None:
    start = await world.log.last_position()
    port = world.client.base_url.port
    sleeper = socket.create_connection(("127.0.0.1", port))
    sleeper.sendall(f"GET {PATH}?name=work:* HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())

    async def shown() -> list[dict[str, Any]]:
        return (await world.get("/v1/session-events/subscriptions"))["items"]

    async def open_now() -> bool:
        return bool(await shown())

    await eventually(open_now, "the subscription")
    async with subscribed(world.client, name="work:*") as listener:
        # More than the buffers of a connection hold.
        at = [await emit(world, "work:done", "x" * 250_000 + str(number)) for number in range(60)][-1]
        assert len(await listener.events(60)) == 60
        slow, quick = await shown()
    assert (slow["names"], slow["sources"]) == (["work:*"], [])
    assert (quick["position"], quick["lag"]) == (at, 0)
    assert start <= slow["position"] < at and slow["lag"] == at - slow["position"] > 0
    seen = await asyncio.to_thread(_read_until, sleeper, b"id: %d\n" % at)
    sleeper.close()
    assert seen.count(b"event: work:done") == 60

    async def none_left() -> bool:
        return not await shown()

    await eventually(none_left, "the end of both")


def _read_until(sock: socket.socket, mark: bytes) -> bytes:
    sock.settimeout(30)
    raw = b""
    while mark not in raw:
        block = sock.recv(1 << 20)
        assert block, "the stream ended"
        raw += block
    return raw


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("name=work", "name"),
        ("name=work:*&name=*:done", "name"),
        ("after_position=1000000", "after_position"),
        ("after_position=1&after_position=2", "after_position"),
        ("colour=red", "colour"),
    ],
)
async def test_what_can_never_be_told_is_refused(shared_world: World, query: str, field: str) -> None:
    error = await shared_world.error(f"{PATH}?{query}", 422)
    assert (error["code"], error["details"]["field"]) == ("validation_failed", field)
