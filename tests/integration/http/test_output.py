"""GET /v1/executions/{id}/output: all that is printed, as it comes, until the end; resumed anywhere; as text.
GET /v1/executions/{id}/value: the value, also a large one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from adapters.files.blobs import FileBlobs
from adapters.nats.connection import connect, js_api
from domain.executions.commands import ExecutionRecordCompleted, ExecutionRecordStarted
from handlers.execution_ports import between_executions
from tests.integration.http.world import NODE, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Told(NamedTuple):
    id: int | None
    event: str
    data: dict[str, Any]


async def start(world: World, execution_id: str) -> None:
    answer = await world.post("execution.request", {"id": execution_id, "session_id": execution_id, "code": "1"})
    assert answer.status_code == 200, answer.text
    started = await world.follow_up(ExecutionRecordStarted(execution_id=execution_id, attempt=1))
    assert started["status"] == "accepted", started


async def finish(world: World, execution_id: str) -> None:
    written = await world.output.finish(execution_id, 1)
    ended = ExecutionRecordCompleted(execution_id=execution_id, attempt=1, output_position=written.position, repr="1")
    assert (await world.follow_up(ended))["status"] == "accepted"


def path(execution_id: str) -> str:
    return f"/v1/executions/{execution_id}/output"


@asynccontextmanager
async def listening(world: World, execution_id: str, last_id: str = "", **params: Any) -> AsyncIterator[httpx.Response]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with world.client.stream("GET", path(execution_id), params=params, headers=headers) as response:
        assert response.status_code == 200
        yield response


async def told(response: httpx.Response) -> AsyncIterator[Told]:
    """Events, comments left out."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(20):
        async for line in response.aiter_lines():
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
            elif "event" in fields:
                yield Told(int(fields["id"]) if "id" in fields else None, fields["event"], json.loads(fields["data"]))
                fields = {}


async def whole(world: World, execution_id: str, last_id: str = "", **params: Any) -> list[Told]:
    async with listening(world, execution_id, last_id, **params) as response:
        return [one async for one in told(response)]


async def test_what_is_printed_comes_until_the_execution_has_ended(world: World) -> None:
    await start(world, "e1")
    await world.output.write("e1", 1, "stdout", "before\n")
    async with listening(world, "e1") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        coming = told(response)
        first = await anext(coming)
        assert (first.event, first.data) == ("stdout", {"text": "before\n", "attempt": 1, "offset": 0})
        await world.output.write("e1", 1, "stderr", "ü\n")
        assert (await anext(coming)).data["text"] == "ü\n"
        await world.output.write("e1", 1, "stdout", "last\n")
        await finish(world, "e1")
        rest = [one async for one in coming]
    assert [(one.event, one.data) for one in rest] == [
        ("stdout", {"text": "last\n", "attempt": 1, "offset": 10}),
        ("end", {"state": "completed"}),
    ]
    again = await whole(world, "e1")
    assert [one.event for one in again] == ["stdout", "stderr", "stdout", "end"]
    assert await whole(world, "e1", last_id=str(again[0].id)) == again[1:]
    assert await whole(world, "e1", last_id=str(again[2].id)) == again[3:]
    assert await whole(world, "e1", stream="stderr") == [again[1], again[3]]


async def test_text_is_all_by_now_or_until_the_end(world: World) -> None:
    await start(world, "e1")
    await world.output.write("e1", 1, "stdout", "one\n")
    async with listening(world, "e1", format="text", follow=True) as response:
        lines = response.aiter_text()
        assert await anext(lines) == "one\n"
        now = await world.client.get(path("e1"), params={"format": "text"})
        assert (now.text, now.headers["content-type"]) == ("one\n", "text/plain; charset=utf-8")
        await world.output.write("e1", 1, "stderr", "two\n")
        await finish(world, "e1")
        assert "".join([text async for text in lines]) == "two\n"
    for params, text in (({}, "one\ntwo\n"), ({"stream": "stdout"}, "one\n")):
        assert (await world.client.get(path("e1"), params={"format": "text", **params})).text == text


async def test_what_was_not_kept_is_told(world: World) -> None:
    await start(world, "e1")
    for number in range(3):
        await world.output.write("e1", 1, "stderr" if number == 1 else "stdout", f"part {number}\n")
    await finish(world, "e1")
    pieces = await whole(world, "e1")
    tower = await connect(world.broker.tower_url, name="test")
    await js_api(tower, f"STREAM.MSG.DELETE.TOWER_OUTPUT_{NODE}", {"seq": pieces[1].id})
    await tower.close()
    assert await whole(world, "e1") == [pieces[0], Told(None, "truncated", {"bytes": 7}), *pieces[2:]]
    assert await whole(world, "e1", last_id=str(pieces[0].id)) == pieces[2:]
    text = (await world.client.get(path("e1"), params={"format": "text"})).text
    assert text == "part 0\n[7 bytes were not kept]\npart 2\n"


async def test_output_between_executions_has_no_end(world: World) -> None:
    session = between_executions("s1")
    await world.output.write(session, 0, "stdout", "late\n")
    async with listening(world, session) as response:
        coming = told(response)
        assert (await anext(coming)).data["text"] == "late\n"
        await world.output.write(session, 0, "stdout", "later\n")
        assert (await anext(coming)).data["text"] == "later\n"


async def test_an_execution_without_output_and_one_that_is_not_there(world: World) -> None:
    await start(world, "e1")
    await finish(world, "e1")
    assert await whole(world, "e1") == [Told(None, "end", {"state": "completed"})]
    for unknown in ("nobody", "session:", "session:a.b", "session:%2A"):
        assert (await world.error(path(unknown), 404))["code"] == "execution_not_found"
    for wrong in ({"format": "html"}, {"stream": "stdin"}):
        assert (await world.client.get(path("e1"), params=wrong)).status_code == 422
    refused = await world.client.get(path("e1"), headers={"Last-Event-ID": "x"})
    assert refused.json()["error"]["details"]["field"] == "Last-Event-ID"


async def test_keep_alives_hold_the_connection(world: World) -> None:
    await start(world, "e1")
    client = await world.serve(keep_alive_s=0.05)
    async with client.stream("GET", path("e1")) as response, asyncio.timeout(20):
        lines = response.aiter_lines()
        while await anext(lines) != ": keep-alive":
            pass


async def test_a_value_is_given_whole_wherever_it_stands(world: World) -> None:
    large = msgspec.json.encode(["x" * 300_000])
    digest = await FileBlobs(world.home / "blobs").put(large)
    ends: dict[str, dict[str, Any]] = {
        "small": {"value": {"answer": None}},
        "null": {"value": None},
        "large": {"value_digest": digest, "value_bytes": len(large)},
        "gone": {"value_digest": "0" * 64, "value_bytes": 7},
        "none": {},
    }
    position = 0
    for execution_id, fields in ends.items():
        await start(world, execution_id)
        ended = ExecutionRecordCompleted(execution_id=execution_id, attempt=1, repr="…", **fields)
        position = (await world.follow_up(ended))["position"]

    def value(execution_id: str) -> str:
        return f"/v1/executions/{execution_id}/value?after={position}"

    assert await world.get(value("small")) == {"answer": None}
    assert await world.get(value("null")) is None
    answer = await world.client.get(value("large"))
    assert (answer.content, answer.headers["content-type"]) == (large, "application/json")
    for execution_id in ("none", "gone"):
        assert (await world.error(value(execution_id), 404))["code"] == "execution_value_not_found"
    assert (await world.error(value("nobody"), 404))["code"] == "execution_not_found"
