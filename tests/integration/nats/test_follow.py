"""The endless follow of the event log: nothing lost, nothing twice, whatever happens to the broker."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import js_api
from adapters.nats.log import JetStreamLog
from adapters.nats.wire import WireClient
from domain.envelope import Stored
from handlers.ports import LogError
from tests.integration.conftest import NODE
from tests.integration.nats.test_log import STREAM, entries
from tests.waiting import eventually


class _Follower:
    """Collects what a follow gives, in a task."""

    def __init__(self, log: JetStreamLog, after: int) -> None:
        self.seen: list[int] = []
        self._task = asyncio.create_task(self._run(log, after))

    async def _run(self, log: JetStreamLog, after: int) -> None:
        async with aclosing(log.follow(after)) as batches:
            async for batch in batches:
                self.seen += [stored.position for stored in batch]

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
def other_log(tower_nats: WireClient) -> JetStreamLog:
    """Through this nothing is appended: what it follows comes from the broker."""
    return JetStreamLog(tower_nats, NODE)


@pytest.fixture(params=["other", "own"])
def followed(request: pytest.FixtureRequest, event_log: JetStreamLog, other_log: JetStreamLog) -> JetStreamLog:
    """The log that is followed: the one through which is appended, or another."""
    return event_log if request.param == "own" else other_log


class TestFollow:
    async def test_what_was_there_and_what_comes(self, event_log: JetStreamLog, followed: JetStreamLog) -> None:
        await event_log.append(entries(10), expected_last=0)
        follower = _Follower(followed, 4)
        await eventually(lambda: follower.seen == [5, 6, 7, 8, 9, 10], "what was there")
        await event_log.append(entries(2), expected_last=10)
        await eventually(lambda: follower.seen == [5, 6, 7, 8, 9, 10, 11, 12], "what came")
        await follower.stop()

    async def test_nothing_is_lost_or_twice_over_broker_crashes(
        self, event_log: JetStreamLog, followed: JetStreamLog, broker: EmbeddedBroker, tower_nats: WireClient
    ) -> None:
        follower = _Follower(followed, 0)
        last = 0
        for _ in range(3):
            for _ in range(10):
                last = await event_log.append(entries(7), expected_last=last)
            assert broker.pid is not None
            crashed = broker.pid
            os.kill(crashed, signal.SIGKILL)
            await eventually(lambda pid=crashed: broker.pid not in (None, pid), "the restart")
            await broker.wait_ready()
            await eventually(lambda: tower_nats.is_connected, "the reconnect")
            assert await event_log.last_position() == last
        last = await event_log.append(entries(7), expected_last=last)
        await eventually(lambda: len(follower.seen) >= last, "the tail")
        assert follower.seen == list(range(1, last + 1))
        await follower.stop()

    async def test_a_slow_reader_gets_everything_and_holds_little(
        self, event_log: JetStreamLog, followed: JetStreamLog
    ) -> None:
        sizes: list[int] = []
        last = 0
        async with aclosing(followed.follow(0)) as batches:
            last = await event_log.append(entries(1000), expected_last=0)
            seen = list[Stored]()
            while len(seen) < 6000:
                batch: Sequence[Stored] = await anext(batches)
                sizes.append(len(batch))
                seen += batch
                if last < 6000:
                    last = await event_log.append(entries(1000), expected_last=last)
        assert [stored.position for stored in seen] == list(range(1, 6001))
        assert max(sizes) <= 500

    async def test_a_gap_in_the_deliveries_makes_the_consumer_anew(
        self, event_log: JetStreamLog, other_log: JetStreamLog, tower_nats: WireClient
    ) -> None:
        await event_log.append(entries(3), expected_last=0)
        follower = _Follower(other_log, 0)
        await eventually(lambda: follower.seen == [1, 2, 3], "the first")
        names = (await js_api(tower_nats, f"CONSUMER.NAMES.{STREAM}"))["consumers"]
        # A message of the consumer goes to somebody else: to the follower it is lost.
        thief = await tower_nats.subscribe("_INBOX.thief")
        request = b'{"batch":1,"expires":5000000000}'
        await tower_nats.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{names[0]}", request, reply="_INBOX.thief")
        await tower_nats.flush()
        position = 3
        while not thief.pending_msgs:
            position = await event_log.append(entries(1), expected_last=position)
        position = await event_log.append(entries(3), expected_last=position)
        await eventually(lambda: len(follower.seen) >= position, "what was lost")
        assert follower.seen == list(range(1, position + 1))
        await follower.stop()

    async def test_a_deleted_consumer_is_made_anew(
        self, event_log: JetStreamLog, other_log: JetStreamLog, tower_nats: WireClient
    ) -> None:
        follower = _Follower(other_log, 0)
        await event_log.append(entries(3), expected_last=0)
        await eventually(lambda: len(follower.seen) == 3, "the first")
        for name in (await js_api(tower_nats, f"CONSUMER.NAMES.{STREAM}"))["consumers"]:
            await js_api(tower_nats, f"CONSUMER.DELETE.{STREAM}.{name}")
        await event_log.append(entries(3), expected_last=3)
        await eventually(lambda: follower.seen == [1, 2, 3, 4, 5, 6], "the rest")
        await follower.stop()

    async def test_a_log_that_is_gone_ends_it(
        self, event_log: JetStreamLog, followed: JetStreamLog, tower_nats: WireClient
    ) -> None:
        await event_log.append(entries(1), expected_last=0)
        async with aclosing(followed.follow(0)) as batches:
            assert len(await anext(batches)) == 1
            await js_api(tower_nats, f"STREAM.DELETE.{STREAM}")
            with pytest.raises(LogError):
                await asyncio.wait_for(anext(batches), 30)

    async def test_another_writer_is_seen(self, event_log: JetStreamLog, other_log: JetStreamLog) -> None:
        await event_log.append(entries(3), expected_last=0)
        follower = _Follower(event_log, 0)
        await event_log.append(entries(3), expected_last=3)
        await eventually(lambda: len(follower.seen) == 6, "its own")
        await other_log.append(entries(3), expected_last=6)
        await eventually(lambda: follower.seen == list(range(1, 10)), "the other's")
        await event_log.append(entries(3), expected_last=9)
        await eventually(lambda: follower.seen == list(range(1, 13)), "its own again")
        await follower.stop()

    async def test_an_append_whose_answer_was_lost_is_seen(
        self, event_log: JetStreamLog, tower_nats: WireClient
    ) -> None:
        await event_log.append(entries(3), expected_last=0)
        follower = _Follower(event_log, 0)
        await event_log.append(entries(3), expected_last=3)
        await eventually(lambda: len(follower.seen) == 6, "the first")
        appending = asyncio.create_task(event_log.append(entries(3), expected_last=6))
        await asyncio.sleep(0)
        appending.cancel()
        await asyncio.wait([appending])
        await eventually(lambda: follower.seen == list(range(1, 10)), "what was recorded all the same")
        await follower.stop()
