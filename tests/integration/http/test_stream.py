"""GET /v1/events/stream: from where it starts, that nothing is left out or told twice, slow clients, the end."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from adapters.http.app import create_app
from adapters.http.server import HttpServer, bind
from domain.layouts.commands import PaneFail
from handlers.ports import Entry
from tests.integration.http.world import World
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/events/stream"


class Told(NamedTuple):
    """One server-sent event, or one comment (`event` is empty then)."""

    id: int | None
    event: str
    data: dict[str, Any]
    comment: str


class Listener:
    """A client of an open stream. Every wait has a deadline."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def block(self, timeout_s: float = 20.0) -> Told:
        """The next event or comment."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(timeout_s):
            async for line in self._lines:
                if line == "":
                    break
                name, _, value = line.partition(":")
                fields[name] = value.strip()
            else:
                raise EOFError("the stream ended")
        data = json.loads(fields["data"]) if "data" in fields else {}
        told_id = int(fields["id"]) if "id" in fields else None
        return Told(told_id, fields.get("event", ""), data, fields.get("", ""))

    async def events(self, count: int) -> list[Told]:
        """The next `count` events, comments left out."""
        found: list[Told] = []
        while len(found) < count:
            told = await self.block()
            if told.event:
                found.append(told)
        return found


@asynccontextmanager
async def listening(client: httpx.AsyncClient, last_id: str | None = None, **params: Any) -> AsyncIterator[Listener]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with client.stream("GET", PATH, params=params or None, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        listener = Listener(response)
        opening = await listener.block()
        assert opening.comment.startswith("events after")
        yield listener


async def test_events_come_as_they_are_recorded(world: World) -> None:
    start = await world.log.last_position()
    async with listening(world.client) as listener:
        outcome = await world.create_layout()
        told = await listener.events(outcome["position"] - start)
    assert [one.id for one in told] == list(range(start + 1, outcome["position"] + 1))
    assert told[0].event == "agenttower.layout.created.v1"
    page = await world.get("/v1/events", after_position=start, after=outcome["position"])
    assert [one.data for one in told] == page["items"]
    assert [one.event for one in told] == [item["type"] for item in page["items"]]


async def test_a_stream_can_be_resumed_anywhere(world: World) -> None:
    """Taken up after any event, by header or by parameter, it goes on with the next one; the header weighs more."""
    end = (await world.create_layout())["position"]
    for after in (0, 1, end // 2, end - 1):
        async with listening(world.client, after_position=after) as listener:
            assert [one.id for one in await listener.events(end - after)] == list(range(after + 1, end + 1))
        async with listening(world.client, last_id=str(after), after_position=end) as listener:
            assert [one.id for one in await listener.events(end - after)] == list(range(after + 1, end + 1))


async def test_filters_are_those_of_the_audit_query(world: World) -> None:
    made = await world.create_layout()
    layout, end = made["result"], made["position"]
    pane_id = layout["panes"][1]["pane_id"]
    failed = await world.follow_up(PaneFail(pane_id=pane_id, stage="pane_create", reason="test"))
    filters: list[dict[str, str]] = [
        {"kind": "layout"},
        {"id": pane_id},
        {"type": "pane.state_changed"},
        {"type": "agenttower.pane.created.v1", "id": pane_id},
        {"actor": "tower"},
        {"correlation_id": made["command_id"]},
        {"since": "2020-01-01T00:00:00Z", "kind": "pane"},
    ]
    assert failed["position"] > end
    for wanted in filters:
        page = await world.get("/v1/events", after=failed["position"], after_position=0, **wanted)
        assert page["items"], wanted
        async with listening(world.client, after_position=0, **wanted) as listener:
            told = await listener.events(len(page["items"]))
        assert [one.data for one in told] == page["items"], wanted


async def test_since_reads_the_past(world: World) -> None:
    await world.create_layout()
    async with listening(world.client, since="2020-01-01T00:00:00Z", type="layout.created") as listener:
        (told,) = await listener.events(1)
    assert told.event == "agenttower.layout.created.v1"


async def test_keep_alives_carry_the_place_to_resume_from(world: World) -> None:
    """A client that asked for nothing of what happened still resumes after it."""
    client = await world.serve(keep_alive_s=0.05)
    async with listening(client, id="nobody") as listener:
        outcome = await world.create_layout()
        async with asyncio.timeout(20):
            while (told := await listener.block()).id != outcome["position"]:
                assert told.event == ""
                assert told.comment == "keep-alive"


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "9" * 30])
async def test_a_wrong_last_event_id_is_refused(shared_world: World, last_id: str) -> None:
    answer = await shared_world.client.get(PATH, headers={"Last-Event-ID": last_id})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["field"] == "Last-Event-ID"


async def test_a_place_beyond_the_log_is_refused(shared_world: World) -> None:
    answer = await shared_world.client.get(PATH, params={"after_position": 1_000_000})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["field"] == "after_position"


async def test_an_entry_that_cannot_be_read_is_told_and_passed(world: World) -> None:
    world.writing.cancel()
    end = await world.log.last_position()
    good = await world.log.get(end)
    assert good is not None
    poison = Entry("tower.evt.local.pane.x.poisoned", b"{}", good.headers)
    await world.log.append([poison, Entry(good.subject, good.payload, good.headers)], expected_last=end)
    async with listening(world.client, after_position=end) as listener:
        bad, after = await listener.events(2)
    assert (bad.id, bad.event) == (end + 1, "undecodable")
    assert bad.data["position"] == end + 1
    assert "not an event envelope" in bad.data["reason"]
    assert (after.id, after.event) == (end + 2, "agenttower.node.claimed.v1")


async def test_an_entry_that_the_tower_did_not_write_is_named_and_its_payload_kept_back(world: World) -> None:
    world.writing.cancel()
    end = await world.log.last_position()
    good = await world.log.get(end)
    assert good is not None
    forged = Entry(good.subject, good.payload, {})
    await world.log.append([forged, Entry(good.subject, good.payload, good.headers)], expected_last=end)
    async with listening(world.client, after_position=end) as listener:
        bad, after = await listener.events(2)
    assert (bad.id, bad.event) == (end + 1, "foreign")
    assert bad.data == {
        "position": end + 1,
        "subject": good.subject,
        "reason": "it carries no Tower-Chain header: the tower did not write it",
    }
    assert (after.id, after.event) == (end + 2, "agenttower.node.claimed.v1")


async def fill(world: World, entries: int) -> int:
    """Append copies of the log's last event, large; the position of the last."""
    world.writing.cancel()
    end = await world.log.last_position()
    stored = await world.log.get(end)
    assert stored is not None
    payload = json.loads(stored.payload)
    payload["data"]["host"] = "x" * 4000
    copy = Entry(stored.subject, json.dumps(payload).encode(), stored.headers)
    for _ in range(entries // 500):
        end = await world.log.append([copy] * 500, expected_last=end)
    return end


async def test_a_client_that_does_not_read_holds_back_nobody_and_is_not_cut_off(world: World) -> None:
    """Far more than the buffers of a connection hold is recorded while one client sleeps; another one gets all of it,
    and so does the sleeper when it wakes up."""
    port = world.client.base_url.port
    sleeper = socket.create_connection(("127.0.0.1", port))
    sleeper.sendall(f"GET {PATH}?after_position=0 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    end = await fill(world, 4000)
    async with listening(world.client, after_position=0) as listener:
        assert [one.id for one in await listener.events(end)] == list(range(1, end + 1))
    assert (await world.client.get("/healthz")).status_code == 200
    seen = await asyncio.to_thread(_read_until, sleeper, b"id: %d\n" % end)
    sleeper.close()
    assert [int(found) for found in re.findall(rb"\nid: (\d+)\nevent: ", seen)] == list(range(1, end + 1))


def _read_until(sock: socket.socket, mark: bytes) -> bytes:
    sock.settimeout(30)
    raw = b""
    # The last event's line may be cut by the end of a chunk of the transfer encoding, but ends up in one piece here:
    # a chunk holds whole events.
    while mark not in raw[-200_000:]:
        part = sock.recv(1 << 20)
        assert part, "the connection was closed"
        raw += part
    return raw


async def test_streams_that_are_left_are_given_up(world: World) -> None:
    client = await world.serve(max_streams=1)
    async with listening(client):
        refused = await client.get(PATH)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "tower_busy"

    async def free() -> bool:
        async with client.stream("GET", PATH) as response:
            return response.status_code == 200

    await eventually(free, "the first stream's place is free")


async def test_a_stop_ends_streams_at_once_and_lets_requests_end(world: World) -> None:
    server = HttpServer(create_app(world.services), bind("127.0.0.1", 0))
    await server.start()
    async with httpx.AsyncClient(base_url=server.url) as client, listening(client) as listener:
        async with asyncio.timeout(3):
            await server.stop()
        with pytest.raises(EOFError):
            await listener.block()
    with pytest.raises(httpx.ConnectError):
        await httpx.AsyncClient(base_url=server.url).get("/healthz")


def blocked(server: HttpServer) -> bool:
    connections = server._server.server_state.connections
    return any(isinstance(each, H11Protocol) and each.flow.write_paused for each in connections)


async def test_a_client_that_does_not_read_does_not_hold_up_the_stop(world: World) -> None:
    server = HttpServer(create_app(world.services), bind("127.0.0.1", 0))
    await server.start()
    port = int(server.url.rpartition(":")[2])
    end = await fill(world, 6000)
    sleeper = socket.create_connection(("127.0.0.1", port))
    sleeper.sendall(f"GET {PATH}?after_position=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert await asyncio.to_thread(sleeper.recv, 12) == b"HTTP/1.1 200"
    assert end > 6000
    await eventually(lambda: blocked(server), "the client's buffers are full")
    async with asyncio.timeout(4):
        await server.stop()
    sleeper.close()
