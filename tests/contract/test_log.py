"""The `EventLog` port: the same cases on the simulator's log and on a real nats-server."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
from msgspec import structs

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import ApiError, connect, js_api
from adapters.nats.log import JetStreamLog, log_error
from adapters.nats.streams import ensure_streams
from adapters.nats.wire import WireClient
from domain.envelope import Stored
from handlers.ports import Entry, EventLog, LogFull, LogUnavailable, WrongLastPosition
from projections.ports import Source
from tests.simulation.log import SimulatedLog, Stream
from tests.simulation.wire import calm_wire
from tests.waiting import eventually

NODE = "local"


class Log(EventLog, Source, Protocol):
    """The port of the writer and that of the projections, on one object."""


class Rig(Protocol):
    """A log, and what may happen to it."""

    log: Log

    async def another(self) -> Log:
        """The same log, as another writer has it."""
        ...

    async def fill(self, *, full: bool) -> None: ...

    async def append_unanswered(self, entries: Sequence[Entry], expected_last: int) -> None:
        """An append that is recorded, and whose answer does not come. Raises what the port raises."""
        ...

    async def append_unheard(self, entries: Sequence[Entry], expected_last: int) -> None:
        """An append that does not reach the log, which is there again afterwards. Raises what the port raises."""
        ...


class SimulatedRig:
    def __init__(self) -> None:
        self._stream = Stream()
        self._wire = calm_wire()
        self.log: Log = SimulatedLog(self._stream, self._wire)

    async def another(self) -> Log:
        return SimulatedLog(self._stream, calm_wire())

    async def fill(self, *, full: bool) -> None:
        self._stream.full = full

    async def append_unanswered(self, entries: Sequence[Entry], expected_last: int) -> None:
        with self._wire.faults.scripted("log.append", "after"):
            await self.log.append(entries, expected_last=expected_last)

    async def append_unheard(self, entries: Sequence[Entry], expected_last: int) -> None:
        with self._wire.faults.scripted("log.append", "before"):
            await self.log.append(entries, expected_last=expected_last)


class RealRig:
    """The answer is lost by stopping the broker until the append has timed out."""

    def __init__(self, broker: EmbeddedBroker, client: WireClient) -> None:
        self._broker = broker
        self._client = client
        self._others: list[WireClient] = []
        self.log: Log = JetStreamLog(client, NODE, store=broker)

    async def another(self) -> Log:
        self._others.append(await connect(self._broker.tower_url, name="other"))
        return JetStreamLog(self._others[-1], NODE, store=self._broker)

    async def fill(self, *, full: bool, room: int = 0) -> None:
        """`room` for so many more of what stands there."""
        name = f"TOWER_EVENTS_{NODE}"
        info = await js_api(self._client, f"STREAM.INFO.{name}")
        each = info["state"]["bytes"] // info["state"]["messages"]
        limit = info["state"]["bytes"] + room * each + 40 if full else -1
        await js_api(self._client, f"STREAM.UPDATE.{name}", {**info["config"], "max_bytes": limit})

    async def append_unanswered(self, entries: Sequence[Entry], expected_last: int) -> None:
        impatient = JetStreamLog(self._client, NODE, append_timeout_s=0.2)
        assert self._broker.pid is not None
        os.kill(self._broker.pid, signal.SIGSTOP)
        try:
            await impatient.append(entries, expected_last=expected_last)
        finally:
            os.kill(self._broker.pid, signal.SIGCONT)
            await eventually(lambda: self._reaches(expected_last + len(entries)), "the append without an answer")

    async def append_unheard(self, entries: Sequence[Entry], expected_last: int) -> None:
        assert self._broker.pid is not None
        os.kill(self._broker.pid, signal.SIGKILL)
        await eventually(lambda: not self._client.is_connected, "the lost connection")
        try:
            await self.log.append(entries, expected_last=expected_last)
        finally:
            await self._broker.wait_ready()
            await eventually(lambda: self._client.is_connected, "the reconnect")

    async def _reaches(self, position: int) -> bool:
        return await self.log.last_position() == position

    async def close(self) -> None:
        for client in self._others:
            await client.close()


@asynccontextmanager
async def real_rig(folder: Path, *, stage_in_memory: bool = True) -> AsyncIterator[RealRig]:
    async with EmbeddedBroker(folder, NODE, stage_in_memory=stage_in_memory) as broker:
        client = await connect(broker.tower_url, name="contract")
        await ensure_streams(client, NODE)
        real = RealRig(broker, client)
        yield real
        await real.close()
        await client.close()


@pytest.fixture(params=["simulated", "nats-server"])
async def rig(request: pytest.FixtureRequest, short_tmp: Path) -> AsyncIterator[Rig]:
    if request.param == "simulated":
        yield SimulatedRig()
        return
    async with real_rig(short_tmp) as real:
        yield real


def entries(count: int, start: int = 1) -> list[Entry]:
    return [
        Entry(f"tower.evt.{NODE}.pane.p{number}.created", b"%d" % number, {"Tower-Chain": f"c{number}"})
        for number in range(start, start + count)
    ]


def joined(count: int, start: int = 1) -> list[Entry]:
    """Each with the one before it."""
    first, *others = entries(count, start)
    return [first, *(structs.replace(entry, joined=True) for entry in others)]


async def everything(log: EventLog, after: int = 0, until: int | None = None) -> list[Stored]:
    return [stored async for batch in log.read(after, until) for stored in batch]


def stored(count: int) -> list[Stored]:
    return [
        Stored(position, entry.subject, entry.payload, entry.headers)
        for position, entry in enumerate(entries(count), 1)
    ]


class TestAppend:
    @pytest.mark.parametrize("count", [1, 2, 200, 1000])
    async def test_stands_as_it_was_given(self, rig: Rig, count: int) -> None:
        assert await rig.log.append(entries(count), expected_last=0) == count
        assert await rig.log.last_position() == count
        assert await everything(rig.log) == stored(count)

    async def test_goes_on_behind_the_last(self, rig: Rig) -> None:
        assert await rig.log.append(entries(3), expected_last=0) == 3
        assert await rig.log.append(entries(1, start=4), expected_last=3) == 4
        assert await rig.log.append(entries(2, start=5), expected_last=4) == 6
        assert await everything(rig.log) == stored(6)

    async def test_every_header_of_every_entry_is_kept(self, rig: Rig) -> None:
        first, last = entries(2)
        last = Entry(last.subject, last.payload, {**last.headers, "Tower-Commands-At": "17"})
        await rig.log.append([first, last], expected_last=0)
        assert [each.headers for each in await everything(rig.log)] == [first.headers, last.headers]

    @pytest.mark.parametrize("count", [0, 1001])
    async def test_holds_1_to_1000_entries(self, rig: Rig, count: int) -> None:
        with pytest.raises(ValueError, match="1 to 1000"):
            await rig.log.append(entries(count), expected_last=0)
        assert await rig.log.last_position() == 0

    async def test_carries_no_headers_of_the_broker(self, rig: Rig) -> None:
        with pytest.raises(ValueError, match="Nats-"):
            await rig.log.append(
                [Entry("tower.evt.local.pane.p.created", b"", {"Nats-Rollup": "all"})], expected_last=0
            )


class TestTheFence:
    @pytest.mark.parametrize("expected_last", [0, 2, 4])
    @pytest.mark.parametrize("count", [1, 5])
    async def test_refuses_all_of_an_append(self, rig: Rig, count: int, expected_last: int) -> None:
        await rig.log.append(entries(3), expected_last=0)
        with pytest.raises(WrongLastPosition):
            await rig.log.append(joined(count, start=4), expected_last=expected_last)
        assert await everything(rig.log) == stored(3)

    async def test_of_two_writers_with_one_expectation_one_wins(self, rig: Rig) -> None:
        other = await rig.another()
        for expected in (0, 2, 4):
            results = await asyncio.gather(
                rig.log.append(joined(2), expected_last=expected),
                other.append(joined(2), expected_last=expected),
                return_exceptions=True,
            )
            assert sorted(type(result).__name__ for result in results) == ["WrongLastPosition", "int"]
            assert await other.last_position() == expected + 2

    @pytest.mark.parametrize("err_code", [10071, 10164])
    def test_both_codes_of_the_broker_mean_it(self, err_code: int) -> None:
        """One server gives the first for batches and single entries alike; clusters know the second."""
        assert type(log_error(ApiError(400, err_code, "wrong last sequence: 3"))) is WrongLastPosition


class TestAnAppendWithoutAnAnswer:
    @pytest.mark.parametrize("count", [1, 5])
    async def test_may_be_recorded_and_then_is_refused_a_second_time(self, rig: Rig, count: int) -> None:
        with pytest.raises(LogUnavailable):
            await rig.append_unanswered(joined(count), 0)
        assert await everything(rig.log) == stored(count)
        with pytest.raises(WrongLastPosition):
            await rig.log.append(joined(count), expected_last=0)
        assert await rig.log.last_position() == count

    @pytest.mark.parametrize("count", [1, 5])
    async def test_may_not_be_recorded_and_then_is_taken_the_second_time(self, rig: Rig, count: int) -> None:
        await rig.log.append(entries(2), expected_last=0)
        with pytest.raises(LogUnavailable):
            await rig.append_unheard(entries(count, start=3), 2)
        assert await rig.log.last_position() == 2
        assert await rig.log.append(entries(count, start=3), expected_last=2) == 2 + count
        assert await everything(rig.log) == stored(2 + count)


class TestAFullLog:
    @pytest.mark.parametrize("count", [1, 5])
    async def test_refuses_forgets_nothing_and_goes_on_with_room(self, rig: Rig, count: int) -> None:
        await rig.log.append(entries(3), expected_last=0)
        await rig.fill(full=True)
        with pytest.raises(LogFull):
            await rig.log.append(joined(count, start=4), expected_last=3)
        assert await everything(rig.log) == stored(3)
        await rig.fill(full=False)
        assert await rig.log.append(joined(count, start=4), expected_last=3) == 3 + count


class TestAFewThatAreNotJoined:
    """Where batches are staged on the disk each goes by itself: what became of them, only the next append tells."""

    @pytest.fixture
    async def rig(self, short_tmp: Path) -> AsyncIterator[RealRig]:
        async with real_rig(short_tmp, stage_in_memory=False) as real:
            yield real

    @pytest.mark.parametrize("behind", [0, 1, 2, 4])
    async def test_are_refused_behind_another_writers(self, rig: RealRig, behind: int) -> None:
        """However many the other has put in their places."""
        await rig.log.append(entries(3), expected_last=0)
        with pytest.raises(LogUnavailable):
            await rig.log.append(entries(5, start=4), expected_last=behind)
        with pytest.raises(WrongLastPosition):
            await rig.log.append(entries(5, start=4), expected_last=behind)
        assert await everything(rig.log) == stored(3)
        assert await rig.log.append(entries(5, start=4), expected_last=3) == 8

    async def test_are_recorded_up_to_the_first_that_is_refused(self, rig: RealRig) -> None:
        await rig.log.append(entries(3), expected_last=0)
        await rig.fill(full=True, room=1)
        with pytest.raises(LogUnavailable):
            await rig.log.append(entries(3, start=4), expected_last=3)
        assert await everything(rig.log) == stored(4)
        with pytest.raises(LogFull):
            await rig.log.append(entries(2, start=5), expected_last=4)
        assert await everything(rig.log) == stored(4)
        await rig.fill(full=False)
        assert await rig.log.append(entries(2, start=5), expected_last=4) == 6


class TestRead:
    async def test_an_empty_log(self, rig: Rig) -> None:
        assert await rig.log.last_position() == 0
        assert await everything(rig.log) == []
        assert [await rig.log.get(position) for position in (-1, 0, 1)] == [None] * 3

    async def test_from_and_until(self, rig: Rig) -> None:
        await rig.log.append(entries(1000), expected_last=0)
        await rig.log.append(entries(200, start=1001), expected_last=1000)

        async def positions(after: int, until: int | None = None) -> list[int]:
            return [each.position for each in await everything(rig.log, after, until)]

        assert await positions(0) == list(range(1, 1201))
        assert await positions(1199) == [1200]
        assert await positions(1200) == []
        assert await positions(1300) == []
        assert await positions(10, 12) == [11, 12]
        assert await positions(1100, 9999) == list(range(1101, 1201))
        assert await positions(20, 20) == []

    async def test_batches_of_at_most_500_none_of_them_empty(self, rig: Rig) -> None:
        await rig.log.append(entries(1000), expected_last=0)
        await rig.log.append(entries(100, start=1001), expected_last=1000)
        sizes = [len(batch) async for batch in rig.log.read(0)]
        assert sum(sizes) == 1100
        assert 0 < min(sizes) <= max(sizes) <= 500

    async def test_it_ends_at_what_was_the_end(self, rig: Rig) -> None:
        await rig.log.append(entries(600), expected_last=0)
        seen: list[Stored] = []
        async for batch in rig.log.read(0):
            if not seen:
                await rig.log.append(entries(10, start=601), expected_last=600)
            seen += batch
        assert seen == stored(600)

    async def test_one_entry(self, rig: Rig) -> None:
        await rig.log.append(entries(3), expected_last=0)
        assert [await rig.log.get(position) for position in (1, 3)] == [stored(3)[0], stored(3)[2]]
        assert await rig.log.get(4) is None


class TestFollow:
    async def test_what_is_there_and_what_comes(self, rig: Rig) -> None:
        await rig.log.append(entries(5), expected_last=0)
        seen: list[Stored] = []
        async with asyncio.timeout(30), aclosing(rig.log.follow(2)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                seen += batch
                if len(seen) == 3:
                    await rig.log.append(entries(4, start=6), expected_last=5)
                if len(seen) == 7:
                    break
        assert seen == stored(9)[2:]
