"""The door of the predecessor's methods: bounded, answers inboxes of the caller only, ends what it has taken."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import js_api
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.rpc_door import AT_A_TIME, WAITING, RpcDoor
from adapters.nats.wire import NoResponders, WireClient
from tests.integration.conftest import NODE, Connected
from tests.waiting import eventually

SUBJECT = f"tower.rpc.{NODE}.host.managed.layout.list"


class Calls:
    """Takes note of every call; answers when it may."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.may_answer = asyncio.Event()

    async def call(self, caller: str, method: str, body: bytes) -> dict[str, Any]:
        self.seen.append((caller, method, body))
        await self.may_answer.wait()
        return {"ok": True, "result": len(self.seen)}


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def door(
    broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient, calls: Calls
) -> AsyncIterator[RpcDoor]:
    made = RpcDoor(tower_nats, NODE, calls.call, InboxOutcomes(await connected(broker.answers_url), NODE))
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def operator(broker: EmbeddedBroker, connected: Connected) -> WireClient:
    return await connected(broker.operator_url)


async def test_a_call_comes_with_caller_and_method(door: RpcDoor, calls: Calls, operator: WireClient) -> None:
    calls.may_answer.set()
    reply = await operator.ask(f"tower.rpc.{NODE}.host.app.managed_pane_list", b"{}")
    assert msgspec.json.decode(reply.payload) == {"ok": True, "result": 1}
    assert calls.seen == [("host", "app.managed_pane_list", b"{}")]


async def test_more_calls_than_have_room_are_told_at_once(door: RpcDoor, calls: Calls, operator: WireClient) -> None:
    for _ in range(AT_A_TIME):
        await operator.publish(SUBJECT, b"{}")
    await eventually(lambda: len(calls.seen) == AT_A_TIME, "all workers are busy")
    for _ in range(WAITING):
        await operator.publish(SUBJECT, b"{}")
    reply = await operator.ask(SUBJECT, b"{}")
    answer = msgspec.json.decode(reply.payload)
    assert (answer["ok"], answer["error"]["code"]) == (False, "tower_busy")
    assert answer["error"]["details"] == {"queued": WAITING}
    assert len(calls.seen) == AT_A_TIME
    calls.may_answer.set()
    await eventually(lambda: len(calls.seen) == AT_A_TIME + WAITING, "those that waited are answered")


async def test_too_large_a_body_is_refused(door: RpcDoor, calls: Calls, operator: WireClient) -> None:
    reply = await operator.ask(f"tower.rpc.{NODE}.host.app.managed_pane_list", b" " * (1024 * 1024 + 1))
    answer = msgspec.json.decode(reply.payload)
    assert (answer["error"]["code"], answer["error"]["details"]["field"]) == ("validation_failed", "payload")
    assert answer["app_contract_version"] == "1.1"
    assert calls.seen == []


@pytest.mark.parametrize("subject", [f"tower.rpc.{NODE}.tower.managed.layout.list", f"tower.rpc.{NODE}.policy.x"])
async def test_nobody_else_has_an_origin(door: RpcDoor, calls: Calls, tower_nats: WireClient, subject: str) -> None:
    calls.may_answer.set()
    await tower_nats.publish(subject, b"{}")
    await tower_nats.ask(SUBJECT, b"{}")
    assert [caller for caller, _, _ in calls.seen] == ["host"]


async def test_an_answer_reaches_nothing_but_an_inbox(
    door: RpcDoor, calls: Calls, tower_nats: WireClient, operator: WireClient
) -> None:
    calls.may_answer.set()
    await tower_nats.publish(SUBJECT, b"{}", reply="tower.evt.local.pane.p.created")
    await operator.ask(SUBJECT, b"{}")
    assert len(calls.seen) == 2
    assert (await js_api(tower_nats, f"STREAM.INFO.TOWER_EVENTS_{NODE}"))["state"]["messages"] == 0


async def test_what_was_taken_is_answered_before_the_door_is_closed(
    door: RpcDoor, calls: Calls, operator: WireClient
) -> None:
    asking = asyncio.create_task(operator.ask(SUBJECT, b"{}"))
    await eventually(lambda: calls.seen, "the call")
    closing = asyncio.create_task(door.close())
    calls.may_answer.set()
    assert msgspec.json.decode((await asking).payload)["ok"] is True
    await closing
    with pytest.raises(NoResponders):
        await operator.ask(SUBJECT, b"{}")
