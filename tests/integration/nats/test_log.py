"""The event log on a real nats-server: fence, atomic batches, fast reads, an endless follow."""

import asyncio
import os
import signal

import pytest
from msgspec import structs

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import ApiError, js_api
from adapters.nats.log import MAX_BATCH, JetStreamLog, UnknownStore, log_error
from adapters.nats.streams import ensure_stream, stream_settings
from adapters.nats.wire import NoAnswer, WireClient, publication
from domain.envelope import Stored
from handlers.ports import Entry, LogError, LogFull, LogUnavailable, WrongLastPosition
from tests.integration.conftest import NODE, Connected
from tests.waiting import eventually

STREAM = f"TOWER_EVENTS_{NODE}"


def entry(number: int, size: int = 10) -> Entry:
    return Entry(
        f"tower.evt.{NODE}.pane.p{number}.created", b"%d:" % number + b"x" * size, {"Tower-Chain": f"chain-{number}"}
    )


def entries(count: int, start: int = 1, size: int = 10) -> list[Entry]:
    """Joined, each with the one before it."""
    return [structs.replace(entry(number, size), joined=number > start) for number in range(start, start + count)]


async def everything(log: JetStreamLog, after: int = 0, until: int | None = None) -> list[Stored]:
    return [stored async for batch in log.read(after, until) for stored in batch]


async def raw_headers(client: WireClient, position: int) -> bytes:
    reply = await client.ask(f"$JS.API.DIRECT.GET.{STREAM}", b'{"seq":%d}' % position)
    return reply.header


class Filling(UnknownStore):
    """A disk of which is known, append by append, what it lacks."""

    def __init__(self, shortages: list[str | None]) -> None:
        self._shortages = shortages

    def shortage(self) -> str | None:
        return self._shortages.pop(0)


class TestAppend:
    async def test_one_entry_is_a_plain_publish(self, event_log: JetStreamLog, tower_nats: WireClient) -> None:
        assert await event_log.append([entry(1)], expected_last=0) == 1
        assert await event_log.get(1) == Stored(1, entry(1).subject, entry(1).payload, {"Tower-Chain": "chain-1"})
        assert b"Nats-Batch" not in await raw_headers(tower_nats, 1)

    async def test_a_batch_stands_together_and_keeps_its_headers(self, event_log: JetStreamLog) -> None:
        await event_log.append([entry(1)], expected_last=0)
        assert await event_log.append(entries(3, start=2), expected_last=1) == 4
        assert await everything(event_log) == [
            Stored(number, entry(number).subject, entry(number).payload, {"Tower-Chain": f"chain-{number}"})
            for number in (1, 2, 3, 4)
        ]

    async def test_headers_of_the_last_entry_of_a_batch_survive_the_commit(self, event_log: JetStreamLog) -> None:
        last = Entry("tower.evt.local.pane.p2.created", b"2", {"Tower-Chain": "c2", "Tower-Commands-At": "17"})
        await event_log.append([entry(1), last], expected_last=0)
        stored = await event_log.get(2)
        assert stored is not None
        assert stored.headers == {"Tower-Chain": "c2", "Tower-Commands-At": "17"}
        assert (await everything(event_log))[1] == stored

    @pytest.mark.parametrize("count", [1, 2, 5])
    async def test_the_fence_refuses_all_of_an_append(self, event_log: JetStreamLog, count: int) -> None:
        await event_log.append(entries(3), expected_last=0)
        with pytest.raises(WrongLastPosition) as refused:
            await event_log.append(entries(count), expected_last=2)
        cause = refused.value.__cause__
        assert isinstance(cause, ApiError)
        assert cause.err_code == 10071
        assert await event_log.last_position() == 3

    async def test_the_fence_holds_at_the_start_of_a_log(self, event_log: JetStreamLog) -> None:
        await event_log.append(entries(2), expected_last=0)
        with pytest.raises(WrongLastPosition):
            await event_log.append(entries(2), expected_last=0)

    async def test_of_two_writers_with_one_expectation_one_wins(
        self, event_log: JetStreamLog, broker: EmbeddedBroker, connected: Connected
    ) -> None:
        other = JetStreamLog(await connected(broker.tower_url), NODE)
        expected = 0
        for _ in range(20):
            results = await asyncio.gather(
                event_log.append(entries(3), expected_last=expected),
                other.append(entries(3), expected_last=expected),
                return_exceptions=True,
            )
            assert sorted(type(result).__name__ for result in results) == ["WrongLastPosition", "int"]
            expected += 3
            assert await event_log.last_position() == expected

    async def test_two_appends_of_one_log_are_not_in_flight_together(self, event_log: JetStreamLog) -> None:
        results = await asyncio.gather(
            *(event_log.append(entries(2), expected_last=2 * number) for number in range(10))
        )
        assert results == [2 * number + 2 for number in range(10)]

    async def test_a_batch_of_the_most_entries(self, event_log: JetStreamLog) -> None:
        assert await event_log.append(entries(MAX_BATCH), expected_last=0) == MAX_BATCH
        assert [stored.position for stored in await everything(event_log)] == list(range(1, MAX_BATCH + 1))

    async def test_more_or_none_is_a_mistake(self, event_log: JetStreamLog) -> None:
        for count in (0, MAX_BATCH + 1):
            with pytest.raises(ValueError, match="an append holds 1 to 1000 entries"):
                await event_log.append(entries(count), expected_last=0)

    async def test_headers_of_the_broker_cannot_be_appended(self, event_log: JetStreamLog) -> None:
        forged = Entry("tower.evt.local.pane.p1.created", b"", {"Nats-Expected-Last-Sequence": "7"})
        with pytest.raises(ValueError, match="Nats-"):
            await event_log.append([forged], expected_last=0)
        broken = Entry("tower.evt.local.pane.p1.created", b"", {"Tower-Chain": "a\r\nNats-Rollup: all"})
        with pytest.raises(ValueError, match="cannot be sent"):
            await event_log.append([broken], expected_last=0)

    async def test_payloads_larger_than_one_read_arrive_whole(self, event_log: JetStreamLog) -> None:
        large = [entry(1, 1_500_000), entry(2), entry(3, 700_000)]
        await event_log.append(large, expected_last=0)
        assert [stored.payload for stored in await everything(event_log)] == [each.payload for each in large]


class TestFailedAppends:
    @pytest.mark.parametrize("count", [1, 3])
    async def test_a_full_log_refuses(self, broker: EmbeddedBroker, connected: Connected, count: int) -> None:
        client = await connected(broker.tower_url)
        _, events, *_ = stream_settings(NODE, events_max_bytes=20_000)
        assert await ensure_stream(client, events) == []
        log = JetStreamLog(client, NODE)
        last = 0
        with pytest.raises(LogFull) as full:  # noqa: PT012  until it is full
            while last < 1000:
                last = await log.append(entries(count, size=500), expected_last=last)
        cause = full.value.__cause__
        assert isinstance(cause, ApiError)
        assert cause.err_code == 10077
        assert await log.last_position() == last > 0
        with pytest.raises(LogFull):
            await log.append(entries(count, size=500), expected_last=last)

    async def test_a_full_disk_refuses_before_the_broker_fails(self, tower_nats: WireClient) -> None:
        log = JetStreamLog(tower_nats, NODE, store=Filling([None, "only 3 KiB are free", None]))
        await log.append(entries(2), expected_last=0)
        with pytest.raises(LogFull, match="only 3 KiB are free"):
            await log.append(entries(2), expected_last=2)
        assert await log.append(entries(2), expected_last=2) == 4

    async def test_without_a_broker_nothing_is_known_at_once(
        self, event_log: JetStreamLog, broker: EmbeddedBroker
    ) -> None:
        await event_log.append([entry(1)], expected_last=0)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            appending = asyncio.create_task(event_log.append(entries(5), expected_last=1))
            await asyncio.wait({appending}, timeout=0.1)
            assert not appending.done()
        finally:
            os.kill(broker.pid, signal.SIGKILL)
        with pytest.raises(LogUnavailable):
            await asyncio.wait_for(appending, 5)
        with pytest.raises(LogUnavailable):
            await asyncio.wait_for(event_log.append(entries(1), expected_last=1), 5)

    async def test_what_was_given_up_is_not_sent_after_the_reconnect(
        self, event_log: JetStreamLog, broker: EmbeddedBroker, tower_nats: WireClient
    ) -> None:
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        await eventually(lambda: not tower_nats.is_connected, "the lost connection")
        with pytest.raises(LogUnavailable):
            await event_log.append([entry(1)], expected_last=0)
        await broker.wait_ready()
        await eventually(lambda: tower_nats.is_connected, "the reconnect")
        assert await event_log.last_position() == 0
        assert await event_log.append([entry(2)], expected_last=0) == 1

    async def test_a_late_answer_is_a_lost_answer(self, broker: EmbeddedBroker, tower_nats: WireClient) -> None:
        log = JetStreamLog(tower_nats, NODE, append_timeout_s=0.2)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            with pytest.raises(LogUnavailable, match=r"within 0\.2 s"):
                await log.append(entries(2), expected_last=0)
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        # It had arrived: the tail tells, and the fence keeps it from being recorded twice.
        await eventually(log.last_position, "the append that had no answer")
        with pytest.raises(WrongLastPosition):
            await log.append(entries(2), expected_last=0)
        assert await log.last_position() == 2

    async def test_half_a_batch_leaves_nothing(self, event_log: JetStreamLog, tower_nats: WireClient) -> None:
        half = b"NATS/1.0\r\nNats-Batch-Id: b1\r\nNats-Batch-Sequence: 1\r\nNats-Expected-Last-Sequence: 0\r\n\r\n"
        await tower_nats.send(publication(entry(1).subject, b"x", block=half))
        await tower_nats.flush()
        assert await event_log.last_position() == 0
        assert await event_log.append(entries(2), expected_last=0) == 2

    @pytest.mark.parametrize(
        ("code", "err_code", "meaning"),
        [
            (400, 10071, WrongLastPosition),
            (400, 10164, WrongLastPosition),
            (400, 10077, LogFull),
            (503, 10023, LogFull),
            (500, 10047, LogFull),
            (400, 10176, LogFull),
            (503, 10008, LogUnavailable),
            (400, 10199, LogError),
            (400, 10201, LogError),
        ],
    )
    def test_codes(self, code: int, err_code: int, meaning: type[LogError]) -> None:
        assert type(log_error(ApiError(code, err_code, "why"))) is meaning


class TestRead:
    async def test_an_empty_log(self, event_log: JetStreamLog) -> None:
        assert await event_log.last_position() == 0
        assert await everything(event_log) == []
        assert await event_log.get(1) is None
        assert await event_log.get(0) is None

    async def test_from_and_until(self, event_log: JetStreamLog) -> None:
        await event_log.append(entries(1000), expected_last=0)
        await event_log.append(entries(500, start=1001), expected_last=1000)

        async def positions(after: int, until: int | None = None) -> list[int]:
            return [stored.position for stored in await everything(event_log, after, until)]

        assert await positions(0) == list(range(1, 1501))
        assert await positions(1499) == [1500]
        assert await positions(1500) == []
        assert await positions(10, 12) == [11, 12]
        assert await positions(0, 1) == [1]
        assert await positions(1400, 9999) == list(range(1401, 1501))
        assert await positions(20, 20) == []

    async def test_batches_are_at_most_500(self, event_log: JetStreamLog) -> None:
        await event_log.append(entries(1000), expected_last=0)
        await event_log.append(entries(700), expected_last=1000)
        sizes = [len(batch) async for batch in event_log.read(0)]
        assert sum(sizes) == 1700
        assert max(sizes) == 500

    async def test_it_ends_at_what_was_the_end(self, event_log: JetStreamLog) -> None:
        await event_log.append(entries(600), expected_last=0)
        seen: list[int] = []
        async for batch in event_log.read(0):
            if not seen:
                await event_log.append(entries(10), expected_last=600)
            seen += [stored.position for stored in batch]
        assert seen == list(range(1, 601))

    async def test_after_a_purge_it_starts_at_the_first_that_is_left(
        self, event_log: JetStreamLog, tower_nats: WireClient
    ) -> None:
        await event_log.append(entries(10), expected_last=0)
        await js_api(tower_nats, f"STREAM.PURGE.{STREAM}", {"seq": 8})
        assert [stored.position for stored in await everything(event_log)] == [8, 9, 10]
        assert await event_log.first_position() == 8
        await js_api(tower_nats, f"STREAM.PURGE.{STREAM}")
        assert await everything(event_log) == []
        assert await event_log.last_position() == 10
        assert await event_log.append([entry(11)], expected_last=10) == 11

    async def test_the_operator_and_the_observer_read_too(
        self, event_log: JetStreamLog, broker: EmbeddedBroker, connected: Connected
    ) -> None:
        await event_log.append(entries(20), expected_last=0)
        for url in (broker.operator_url, broker.observer_url):
            log = JetStreamLog(await connected(url), NODE)
            assert len(await everything(log)) == 20
            assert await log.get(3) == await event_log.get(3)

    async def test_no_consumer_is_left_behind(self, event_log: JetStreamLog, tower_nats: WireClient) -> None:
        await event_log.append(entries(5), expected_last=0)
        await everything(event_log)

        async def none_left() -> bool:
            return (await js_api(tower_nats, f"STREAM.INFO.{STREAM}"))["state"]["consumer_count"] == 0

        await eventually(none_left, "the consumer's end")

    async def test_a_read_goes_on_over_a_broker_restart(self, event_log: JetStreamLog, broker: EmbeddedBroker) -> None:
        last = 0
        for _ in range(5):
            last = await event_log.append([entry(number, 2000) for number in range(1000)], expected_last=last)
        seen: list[int] = []
        async for batch in event_log.read(0):
            if not seen:
                assert broker.pid is not None
                os.kill(broker.pid, signal.SIGKILL)
            seen += [stored.position for stored in batch]
        assert seen == list(range(1, last + 1))


async def test_asking_without_a_connection_fails_at_once(broker: EmbeddedBroker, tower_nats: WireClient) -> None:
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    await eventually(lambda: not tower_nats.is_connected, "the lost connection")
    with pytest.raises(NoAnswer):
        await asyncio.wait_for(tower_nats.ask("$JS.API.INFO", timeout_s=30), 1)
