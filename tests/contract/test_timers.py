"""The `Timers` port: the same cases on the simulator's board and on a real nats-server."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, cast

import pytest

from adapters.nats import timers as broker_timers
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import connect
from adapters.nats.streams import ensure_streams
from adapters.nats.timers import BrokerTimers
from adapters.nats.wire import WireClient
from handlers.ports import Due, TimerError, Timers
from tests.simulation.timers import Board, SimulatedTimers
from tests.simulation.wire import calm_wire
from tests.waiting import eventually

NODE = "local"


class Rig(Protocol):
    timers: Timers

    async def down(self) -> None:
        """No schedule fires from now on."""
        ...

    async def up(self) -> None: ...

    async def at_unanswered(self, name: str, when: datetime, payload: bytes) -> None:
        """`at`, taken by the broker, whose answer does not come. Raises what the port raises."""
        ...


class SimulatedRig:
    def __init__(self) -> None:
        self._board = Board(now)
        self._wire = calm_wire()
        self.timers: Timers = SimulatedTimers(self._board, self._wire)

    async def down(self) -> None:
        self._board.stop()

    async def up(self) -> None:
        self._board.restart()

    async def at_unanswered(self, name: str, when: datetime, payload: bytes) -> None:
        with self._wire.faults.scripted("timers.at", "after"):
            await self.timers.at(name, when, payload)


class RealRig:
    def __init__(self, broker: EmbeddedBroker, client: WireClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self._broker = broker
        self._client = client
        self._monkeypatch = monkeypatch
        self.timers: Timers = BrokerTimers(client, NODE)

    async def down(self) -> None:
        assert self._broker.pid is not None
        os.kill(self._broker.pid, signal.SIGSTOP)

    async def up(self) -> None:
        """It was not only asleep: it starts anew."""
        assert self._broker.pid is not None
        os.kill(self._broker.pid, signal.SIGKILL)
        await eventually(lambda: not self._client.is_connected, "the lost connection")
        await self._broker.wait_ready()
        await eventually(lambda: self._client.is_connected, "the reconnect")

    async def at_unanswered(self, name: str, when: datetime, payload: bytes) -> None:
        assert self._broker.pid is not None
        os.kill(self._broker.pid, signal.SIGSTOP)
        try:
            with self._monkeypatch.context() as impatient:
                impatient.setattr(broker_timers, "TIMEOUT_S", 0.2)
                await self.timers.at(name, when, payload)
        finally:
            os.kill(self._broker.pid, signal.SIGCONT)


@pytest.fixture(params=["simulated", "nats-server"])
async def rig(request: pytest.FixtureRequest, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    if request.param == "simulated":
        yield SimulatedRig()
        return
    monkeypatch.setattr(broker_timers, "ACK_WAIT_S", 1)
    async with EmbeddedBroker(short_tmp, NODE) as broker:
        client = await connect(broker.tower_url, name="contract")
        await ensure_streams(client, NODE)
        yield RealRig(broker, client, monkeypatch)
        await client.close()


def now() -> datetime:
    return datetime.now(UTC)


def soon(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


async def until(when: datetime) -> None:
    await eventually(lambda: now() >= when)


def reading(timers: Timers) -> aclosing[AsyncGenerator[Due]]:
    return aclosing(cast(AsyncGenerator[Due], timers.due()))


async def take(fired: AsyncGenerator[Due], count: int = 1) -> list[Due]:
    async with asyncio.timeout(30):
        return [await anext(fired) for _ in range(count)]


async def test_once_and_not_before_its_time(rig: Rig) -> None:
    when = soon(1)
    await rig.timers.at("promise.p1", when, b"payload")
    await rig.timers.at("end", soon(2.5), b"")
    async with reading(rig.timers) as fired:
        assert await take(fired) == [Due("promise.p1", b"payload")]
        assert now() >= when
        assert await take(fired) == [Due("end", b"")]


async def test_a_time_that_has_passed_fires_at_once(rig: Rig) -> None:
    await rig.timers.at("late", soon(-3600), b"l")
    async with reading(rig.timers) as fired:
        assert await take(fired) == [Due("late", b"l")]


async def test_every_interval_until_cancelled(rig: Rig) -> None:
    await rig.timers.every("sweep", 1, b"tick")
    async with reading(rig.timers) as fired:
        assert await take(fired, 2) == [Due("sweep", b"tick")] * 2
        await rig.timers.cancel("sweep")
        await rig.timers.at("end", soon(2), b"")
        fired_after: list[Due] = []
        while Due("end", b"") not in fired_after:
            fired_after += await take(fired)
        # One tick may have been on its way.
        assert len(fired_after) <= 2


async def test_an_interval_has_at_least_a_second(rig: Rig) -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        await rig.timers.every("sweep", 0, b"")


async def test_scheduling_a_name_again_replaces(rig: Rig) -> None:
    await rig.timers.at("t", soon(1), b"old")
    await rig.timers.at("t", soon(1.5), b"new")
    await rig.timers.at("end", soon(3), b"")
    async with reading(rig.timers) as fired:
        assert await take(fired, 2) == [Due("t", b"new"), Due("end", b"")]


async def test_a_cancelled_one_does_not_fire(rig: Rig) -> None:
    await rig.timers.at("gone", soon(1), b"")
    await rig.timers.cancel("gone")
    await rig.timers.cancel("never-there")
    await rig.timers.at("end", soon(2), b"")
    async with reading(rig.timers) as fired:
        assert await take(fired) == [Due("end", b"")]


async def test_what_fired_before_it_was_cancelled_is_read(rig: Rig) -> None:
    await rig.timers.at("fired", soon(-1), b"f")
    async with reading(rig.timers) as fired:
        assert await take(fired) == [Due("fired", b"f")]
    await rig.timers.cancel("fired")
    async with reading(rig.timers) as fired:
        assert await take(fired) == [Due("fired", b"f")]


async def test_it_is_acknowledged_when_the_next_is_asked_for(rig: Rig) -> None:
    await rig.timers.at("a", soon(-1), b"")
    async with reading(rig.timers) as fired:
        assert await take(fired) == [Due("a", b"")]
        await rig.timers.at("b", soon(-1), b"")
        assert await take(fired) == [Due("b", b"")]
    async with reading(rig.timers) as fired:
        assert await take(fired) == [Due("b", b"")]


async def test_what_fell_due_while_the_broker_was_down_fires_when_it_is_back(rig: Rig) -> None:
    when = soon(1.5)
    await rig.timers.at("missed", when, b"m")
    await rig.down()
    await until(when + timedelta(seconds=0.5))
    await rig.up()
    async with reading(rig.timers) as fired:
        assert await take(fired) == [Due("missed", b"m")]


async def test_one_without_an_answer_may_be_there_and_is_not_doubled_by_another_try(rig: Rig) -> None:
    with pytest.raises(TimerError):
        await rig.at_unanswered("t", soon(2), b"1")
    await rig.timers.at("t", soon(2), b"1")
    await rig.timers.at("end", soon(3.5), b"")
    async with reading(rig.timers) as fired:
        assert await take(fired, 2) == [Due("t", b"1"), Due("end", b"")]


@pytest.mark.parametrize("name", ["", "a..b", "a.*", "a b", "a.>", "."])
async def test_names_are_subject_tokens(rig: Rig, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 128 characters"):
        await rig.timers.at(name, soon(0), b"")
