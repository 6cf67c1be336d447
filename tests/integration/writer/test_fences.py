"""Two writers on one node, a log that is full, a broker that goes away, snapshots that cannot be used."""

import asyncio
import os
import signal

import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import js_api
from adapters.nats.streams import ensure_streams
from adapters.nats.wire import WireClient
from handlers.writer import SteppedDown
from tests.integration.conftest import NODE, Connected
from tests.integration.writer.conftest import CountedLog, Node, layout


class TestTwoWriters:
    async def test_the_one_that_was_overtaken_steps_down_and_records_nothing(self, node: Node):
        first = await node.running()
        second = await node.running(place="b")
        first.ask("layout.create", layout("late"))
        with pytest.raises(SteppedDown, match="claimed by another tower: pid 1 on test"):
            await first.writer.step()
        assert (await second.outcome("layout.create", layout("one")))["status"] == "accepted"
        events = await second.log_events()
        assert [each.envelope.type for each in events].count("agenttower.layout.created.v1") == 1

    async def test_of_two_that_start_together_one_stays_out(self, node: Node):
        seats = [await node.writer(place=place) for place in "ab"]
        for seat in seats:
            await seat.writer.recover()
        claims = await asyncio.gather(*(seat.writer.claim(1, "test") for seat in seats), return_exceptions=True)
        assert [type(each) for each in claims if each is not None] == [SteppedDown]

    async def test_what_the_overtaken_one_was_asked_is_not_answered_by_it(self, node: Node):
        first = await node.running()
        await node.running(place="b")
        first.ask("layout.create", layout("late"))
        with pytest.raises(SteppedDown):
            await first.writer.step()
        assert first.outcomes.sent == []


async def limit_log(client: WireClient, max_bytes: int) -> None:
    name = f"TOWER_EVENTS_{NODE}"
    info = await js_api(client, f"STREAM.INFO.{name}")
    await js_api(client, f"STREAM.UPDATE.{name}", {**info["config"], "max_bytes": max_bytes})


class TestAFullLog:
    async def test_commands_are_refused_queued_ones_wait_and_all_goes_on_with_room(
        self, node: Node, tower_nats: WireClient
    ):
        seat = await node.running()
        info = await js_api(tower_nats, f"STREAM.INFO.TOWER_EVENTS_{NODE}")
        await limit_log(tower_nats, info["state"]["bytes"] + 100)
        queued = seat.ask("layout.create", layout("queued"), durable_sequence=1)
        asked = seat.ask("layout.create", layout("asked"))
        await seat.writer.step()
        assert [(each["command_id"], each["error"]["code"]) for each in seat.outcomes.sent] == [(asked, "tower_busy")]
        await limit_log(tower_nats, -1)
        (outcome,) = await seat.outcomes_of(queued)
        assert outcome["status"] == "accepted"
        again = await seat.outcome("layout.create", layout("asked"), command_id=asked)
        assert (again["status"], again["replay"]) == ("accepted", False)


class TestALostBroker:
    async def test_commands_taken_while_it_is_away_are_decided_once_when_it_is_back(
        self, node: Node, broker: EmbeddedBroker
    ):
        class Quick(CountedLog):
            def __init__(self, client: WireClient, node_: str) -> None:
                super().__init__(client, node_, append_timeout_s=0.5)

        seat = await node.running(Quick)
        ids = [seat.ask("layout.create", layout(f"s{n}")) for n in range(3)]
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        outcomes = await seat.outcomes_of(*ids)
        assert [outcome["status"] for outcome in outcomes] == ["accepted"] * 3
        types = [each.envelope.type for each in await seat.log_events()]
        assert types.count("agenttower.layout.created.v1") == 3


class TestSnapshots:
    async def test_a_start_replays_only_what_came_after(self, node: Node):
        before = await node.running()
        await before.outcome("layout.create", layout("one"))
        await before.writer.close()
        await before.outcome("layout.create", layout("two"))
        after = await node.writer()
        await after.writer.recover()
        assert after.writer.ledger == before.writer.ledger
        fresh = await node.writer(place="nothing-there")
        await fresh.writer.recover()
        assert fresh.writer.ledger == before.writer.ledger

    @pytest.mark.parametrize("damage", ["cut", "emptied", "other digest", "ahead of the log"])
    async def test_one_that_cannot_be_used_is_ignored(
        self, node: Node, damage: str, short_tmp, connected: Connected, broker: EmbeddedBroker
    ):
        before = await node.running()
        await before.outcome("layout.create", layout("one"))
        await before.writer.close()
        path = short_tmp / "a" / "state" / "snapshot"
        content = path.read_bytes()
        expected = before.writer.ledger
        match damage:
            case "cut":
                path.write_bytes(content[: len(content) // 2])
            case "emptied":
                path.write_bytes(b"")
            case "other digest":
                digest = before.writer._digest.encode()
                path.write_bytes(content.replace(digest, digest[::-1]))
            case _:
                tower = await connected(broker.tower_url)
                await js_api(tower, f"STREAM.DELETE.TOWER_EVENTS_{NODE}")
                await ensure_streams(tower, NODE)
        after = await node.writer()
        await after.writer.recover()
        if damage == "ahead of the log":
            assert after.writer.ledger.position == 0
        else:
            assert after.writer.ledger == expected
