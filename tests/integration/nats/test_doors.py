"""Both doors and the ping, feeding a real inbox from a real broker."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import js_api
from adapters.nats.doors import DurableDoor, PingDoor, Pong, RequestDoor, ask_ping
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.streams import ensure_streams
from adapters.nats.wire import NoAnswer, NoResponders, WireClient, header_block
from handlers.inbox import Asked, Inbox
from tests.integration.conftest import NODE, Connected
from tests.waiting import eventually

CONTAINER = "a" * 64
STREAM = f"TOWER_COMMANDS_{NODE}"
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


async def taken(inbox: Inbox, count: int) -> list[Asked]:
    """The next `count` commands of the inbox."""
    found: list[Asked] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += [item for item in await inbox.take(count - len(found)) if isinstance(item, Asked)]
    return found


async def queue(client: WireClient, *payloads: bytes, origin: str = "host", reply_to: str = "") -> int:
    """Publish at the durable door; the last sequence."""
    sequence = 0
    block = header_block({"Tower-Reply-To": reply_to} if reply_to else {})
    for payload in payloads:
        reply = await client.ask(f"tower.cmd.{NODE}.{origin}.layout.create", payload, block=block)
        sequence = msgspec.json.decode(reply.payload)["seq"]
    return sequence


def numbers(start: int, end: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, end + 1)]


class TestRequestDoor:
    @pytest.fixture
    async def outcomes(self, broker: EmbeddedBroker, connected: Connected) -> InboxOutcomes:
        return InboxOutcomes(await connected(broker.answers_url), NODE)

    @pytest.fixture
    async def operator(self, broker: EmbeddedBroker, connected: Connected) -> WireClient:
        return await connected(broker.operator_url)

    @asynccontextmanager
    async def open_door(
        self, client: WireClient, outcomes: InboxOutcomes, capacity: int = 1000
    ) -> AsyncIterator[tuple[Inbox, RequestDoor]]:
        inbox = Inbox(capacity)
        door = RequestDoor(client, NODE, inbox, outcomes)
        await door.open()
        try:
            yield inbox, door
        finally:
            await door.close()

    async def test_what_is_asked_comes_into_the_inbox(
        self, tower_nats: WireClient, outcomes: InboxOutcomes, operator: WireClient
    ) -> None:
        async with self.open_door(tower_nats, outcomes) as (inbox, _):
            await operator.publish("tower.req.local.host.layout.create", b"{1}", reply="_INBOX.me.1")
            await operator.publish("tower.req.local.host.pane.remove", b"{2}")
            first, second = await taken(inbox, 2)
        assert (first.payload, first.origin, first.noun, first.verb) == (b"{1}", "host", "layout", "create")
        # The broker's, in the place of the operator's.
        assert (first.reply_to or "").startswith("_R_.")
        assert (first.durable_sequence, first.queued_at) == (None, None)
        assert (second.payload, second.noun, second.verb, second.reply_to) == (b"{2}", "pane", "remove", None)

    async def test_a_closed_door_has_no_responder(
        self, tower_nats: WireClient, outcomes: InboxOutcomes, operator: WireClient
    ) -> None:
        subject = "tower.req.local.host.layout.create"
        with pytest.raises(NoResponders):
            await operator.ask(subject, b"{}")
        async with self.open_door(tower_nats, outcomes):
            with pytest.raises(NoAnswer):
                await operator.ask(subject, b"{}", timeout_s=0.1)
        with pytest.raises(NoResponders):
            await operator.ask(subject, b"{}")

    async def test_what_was_sent_before_the_close_is_taken(
        self, tower_nats: WireClient, outcomes: InboxOutcomes, operator: WireClient
    ) -> None:
        async with self.open_door(tower_nats, outcomes) as (inbox, _):
            for payload in numbers(1, 200):
                await operator.publish("tower.req.local.host.layout.create", payload)
            await operator.flush()
        assert [asked.payload for asked in await taken(inbox, 200)] == numbers(1, 200)

    async def test_a_full_inbox_is_answered_tower_busy(
        self, tower_nats: WireClient, outcomes: InboxOutcomes, operator: WireClient
    ) -> None:
        async with self.open_door(tower_nats, outcomes, capacity=2) as (inbox, _):
            for payload in numbers(1, 2):
                await operator.publish("tower.req.local.host.layout.create", payload)
            payload = msgspec.json.encode({"id": ID, "data": {}})
            reply = await operator.ask("tower.req.local.host.layout.create", payload)
            outcome = msgspec.json.decode(reply.payload)
            assert outcome["command_id"] == ID
            assert outcome["status"] == "rejected"
            assert outcome["error"]["code"] == "tower_busy"
            assert outcome["error"]["details"] == {"queued": 2}
            assert len(inbox) == 2
        # Nothing was decided, nothing is kept.
        assert (await js_api(tower_nats, f"STREAM.INFO.TOWER_OUTCOMES_{NODE}"))["state"]["messages"] == 0

    async def test_a_command_over_the_limit_is_refused(
        self, tower_nats: WireClient, outcomes: InboxOutcomes, operator: WireClient
    ) -> None:
        async with self.open_door(tower_nats, outcomes) as (inbox, _):
            reply = await operator.ask("tower.req.local.host.layout.create", b" " * (1024 * 1024 + 1))
            error = msgspec.json.decode(reply.payload)["error"]
            assert (error["code"], error["details"]["field"]) == ("validation_failed", "payload")
            assert len(inbox) == 0

    @pytest.mark.parametrize(
        "subject", ["tower.req.local.tower.a.b", "tower.req.local.policy.a.b", "tower.req.local.host.a"]
    )
    async def test_nobody_else_has_an_origin(
        self, tower_nats: WireClient, outcomes: InboxOutcomes, subject: str
    ) -> None:
        async with self.open_door(tower_nats, outcomes) as (inbox, _):
            await tower_nats.publish(f"tower.req.{subject}", b"{}")
            await tower_nats.flush()
            assert len(inbox) == 0

    async def test_it_is_open_again_after_a_broker_crash(
        self, tower_nats: WireClient, outcomes: InboxOutcomes, operator: WireClient, broker: EmbeddedBroker
    ) -> None:
        async with self.open_door(tower_nats, outcomes) as (inbox, _):
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            await eventually(lambda: not tower_nats.is_connected and not operator.is_connected, "the lost connections")
            await eventually(lambda: tower_nats.is_connected and operator.is_connected, "the reconnects")
            await tower_nats.flush()
            await operator.publish("tower.req.local.host.layout.create", b"{}")
            assert (await taken(inbox, 1))[0].payload == b"{}"


class TestDurableDoor:
    @pytest.fixture
    async def open_door(self, tower_nats: WireClient) -> AsyncIterator[Callable[..., tuple[Inbox, DurableDoor]]]:
        doors: list[DurableDoor] = []

        def make(after: int = 0, capacity: int = 10_000) -> tuple[Inbox, DurableDoor]:
            inbox = Inbox(capacity)
            door = DurableDoor(tower_nats, NODE, inbox)
            door.open(after)
            doors.append(door)
            return inbox, door

        yield make
        for door in doors:
            await door.close()

    async def test_what_was_queued_before_and_what_comes(self, tower_nats: WireClient, open_door: Any) -> None:
        before = datetime.now(UTC)
        await queue(tower_nats, b"{1}", reply_to="_INBOX.me.1")
        await queue(tower_nats, b"{2}", origin=CONTAINER)
        inbox, _ = open_door()
        first, second = await taken(inbox, 2)
        assert (first.payload, first.origin, first.noun, first.verb) == (b"{1}", "host", "layout", "create")
        assert (first.reply_to, first.durable_sequence) == ("_INBOX.me.1", 1)
        assert first.queued_at is not None
        assert before - timedelta(seconds=1) <= first.queued_at <= datetime.now(UTC) + timedelta(seconds=1)
        assert (second.origin, second.reply_to, second.durable_sequence) == (CONTAINER, None, 2)
        await queue(tower_nats, b"{3}")
        assert (await taken(inbox, 1))[0].payload == b"{3}"

    async def test_a_sender_cannot_name_a_reply_of_the_broker(self, tower_nats: WireClient, open_door: Any) -> None:
        await queue(tower_nats, b"{}", origin=CONTAINER, reply_to="_R_.x.y")
        inbox, _ = open_door()
        assert (await taken(inbox, 1))[0].reply_to is None

    async def test_it_reads_on_from_a_sequence(self, tower_nats: WireClient, open_door: Any) -> None:
        await queue(tower_nats, *numbers(1, 5))
        inbox, _ = open_door(after=3)
        assert [asked.payload for asked in await taken(inbox, 2)] == numbers(4, 5)

    async def test_a_full_inbox_stops_the_pull_and_loses_nothing(self, tower_nats: WireClient, open_door: Any) -> None:
        inbox, _ = open_door(capacity=3)
        await queue(tower_nats, *numbers(1, 50))
        await eventually(lambda: len(inbox) == 3, "the full inbox")
        seen = [asked.payload for asked in await taken(inbox, 50)]
        assert seen == numbers(1, 50)

    async def test_it_goes_on_after_a_purge(self, tower_nats: WireClient, open_door: Any) -> None:
        await queue(tower_nats, *numbers(1, 10))
        inbox, door = open_door()
        assert len(await taken(inbox, 10)) == 10
        await door.purge(8)
        state = (await js_api(tower_nats, f"STREAM.INFO.{STREAM}"))["state"]
        assert (state["first_seq"], state["messages"]) == (9, 2)
        await door.purge(10)
        assert (await js_api(tower_nats, f"STREAM.INFO.{STREAM}"))["state"]["messages"] == 0
        await queue(tower_nats, b"11")
        (asked,) = await taken(inbox, 1)
        assert (asked.payload, asked.durable_sequence) == (b"11", 11)

    async def test_it_starts_at_the_first_after_a_purge(self, tower_nats: WireClient, open_door: Any) -> None:
        await queue(tower_nats, *numbers(1, 10))
        await js_api(tower_nats, f"STREAM.PURGE.{STREAM}", {"seq": 7})
        inbox, _ = open_door(after=2)
        assert [asked.durable_sequence for asked in await taken(inbox, 4)] == [7, 8, 9, 10]

    async def test_a_hole_in_the_stream_is_looked_at_twice_and_passed(
        self, tower_nats: WireClient, open_door: Any
    ) -> None:
        await queue(tower_nats, *numbers(1, 10))
        await js_api(tower_nats, f"STREAM.MSG.DELETE.{STREAM}", {"seq": 5})
        inbox, _ = open_door()
        assert [asked.durable_sequence for asked in await taken(inbox, 9)] == [1, 2, 3, 4, 6, 7, 8, 9, 10]

    async def test_a_lost_delivery_is_read_again(self, tower_nats: WireClient, open_door: Any) -> None:
        inbox, _ = open_door()
        await queue(tower_nats, b"1")
        await taken(inbox, 1)
        (name,) = (await js_api(tower_nats, f"CONSUMER.NAMES.{STREAM}"))["consumers"]
        thief = await tower_nats.subscribe("_INBOX.thief")
        pull = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{name}"
        await tower_nats.publish(pull, b'{"batch":1,"expires":20000000000}', reply="_INBOX.thief")
        last = 1
        while not thief.pending_msgs:
            last = await queue(tower_nats, b"%d" % (last + 1))
        last = await queue(tower_nats, b"%d" % (last + 1))
        assert [asked.payload for asked in await taken(inbox, last - 1)] == numbers(2, last)

    async def test_a_stream_made_anew_is_read_from_its_start(self, tower_nats: WireClient, open_door: Any) -> None:
        await queue(tower_nats, *numbers(1, 3))
        inbox, _ = open_door(after=500)
        assert [asked.durable_sequence for asked in await taken(inbox, 3)] == [1, 2, 3]

    async def test_a_stream_made_anew_while_it_is_open(self, tower_nats: WireClient, open_door: Any) -> None:
        inbox, _ = open_door()
        await queue(tower_nats, *numbers(1, 3))
        await taken(inbox, 3)
        await js_api(tower_nats, f"STREAM.DELETE.{STREAM}")
        await ensure_streams(tower_nats, NODE)
        await queue(tower_nats, b"new")
        (asked,) = await taken(inbox, 1)
        assert (asked.payload, asked.durable_sequence) == (b"new", 1)

    async def test_broker_crashes_lose_and_repeat_nothing(
        self, tower_nats: WireClient, open_door: Any, broker: EmbeddedBroker
    ) -> None:
        inbox, _ = open_door()
        for round_number in range(3):
            start = 20 * round_number
            await queue(tower_nats, *numbers(start + 1, start + 20))
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            await eventually(lambda: not tower_nats.is_connected, "the lost connection")
            await eventually(lambda: tower_nats.is_connected, "the reconnect")
        await queue(tower_nats, b"61")
        assert [asked.payload for asked in await taken(inbox, 61)] == numbers(1, 61)

    async def test_nobody_else_has_an_origin(self, tower_nats: WireClient, open_door: Any) -> None:
        inbox, _ = open_door()
        await queue(tower_nats, b"forged", origin="tower")
        await queue(tower_nats, b"true")
        assert (await taken(inbox, 1))[0].payload == b"true"


class TestPing:
    async def test_who_runs_the_node(
        self, broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient
    ) -> None:
        other = await connected(broker.tower_url)
        assert await ask_ping(other, NODE) is None
        pong = Pong(pid=4711, host="here", node=NODE, started_at=datetime(2026, 1, 2, tzinfo=UTC))
        door = PingDoor(tower_nats, await connected(broker.answers_url), pong)
        await door.open()
        assert await ask_ping(other, NODE) == pong
        assert await ask_ping(other, "another") is None
        await door.close()
        assert await ask_ping(other, NODE) is None

    async def test_a_tower_that_does_not_answer_in_time(self, tower_nats: WireClient) -> None:
        await tower_nats.subscribe(f"tower.ctl.{NODE}.ping")
        assert await ask_ping(tower_nats, NODE, timeout_s=0.1) is None

    async def test_the_pong_goes_to_inboxes_only(
        self, broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient
    ) -> None:
        pong = Pong(pid=1, host="here", node=NODE, started_at=datetime(2026, 1, 2, tzinfo=UTC))
        door = PingDoor(tower_nats, await connected(broker.answers_url), pong)
        await door.open()
        await tower_nats.publish(f"tower.ctl.{NODE}.ping", b"", reply="tower.evt.local.a.b.c")
        assert await ask_ping(tower_nats, NODE) == pong
        assert (await js_api(tower_nats, f"STREAM.INFO.TOWER_EVENTS_{NODE}"))["state"]["messages"] == 0
        await door.close()
