"""Schedules held by a real broker: once, repeated, replaced, cancelled, missed while it was down."""

import asyncio
import base64
import os
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import ApiError, js_api
from adapters.nats.timers import BrokerTimers, TimerError
from adapters.nats.wire import WireClient
from handlers.ports import Due
from tests.integration.conftest import NODE
from tests.waiting import eventually

STREAM = f"TOWER_TIMERS_{NODE}"


async def headers_on(client: WireClient, subject: str) -> str:
    """The header block of the last message on `subject`."""
    answer = await js_api(client, f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})
    return base64.b64decode(answer["message"]["hdrs"]).decode()


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
def timers(tower_nats: WireClient) -> BrokerTimers:
    return BrokerTimers(tower_nats, NODE)


@pytest.fixture
async def due(timers: BrokerTimers) -> AsyncIterator[AsyncGenerator[Due]]:
    async with aclosing(timers.due()) as fired:
        yield fired


async def take(fired: AsyncGenerator[Due]) -> Due:
    return await asyncio.wait_for(anext(fired), 30)


async def test_once_at_its_time(timers: BrokerTimers, due: AsyncGenerator[Due]) -> None:
    when = soon(1.2)
    await timers.at("promise.p1", when, b"payload")
    assert await take(due) == Due("promise.p1", b"payload")
    assert datetime.now(UTC) >= when


async def test_a_time_that_has_passed_fires_at_once(timers: BrokerTimers, due: AsyncGenerator[Due]) -> None:
    await timers.at("late", soon(-3600), b"")
    assert (await take(due)).name == "late"


async def test_in_the_order_of_their_times(timers: BrokerTimers, due: AsyncGenerator[Due]) -> None:
    await timers.at("second", soon(2.2), b"2")
    await timers.at("first", soon(0.7), b"1")
    assert [(await take(due)).name for _ in range(2)] == ["first", "second"]


async def test_every_interval(timers: BrokerTimers, due: AsyncGenerator[Due]) -> None:
    await timers.every("sweep", 1, b"tick")
    assert [await take(due) for _ in range(2)] == [Due("sweep", b"tick")] * 2
    await timers.cancel("sweep")
    with pytest.raises(ValueError, match="at least 1 s"):
        await timers.every("sweep", 0, b"")


async def test_by_cron(timers: BrokerTimers, due: AsyncGenerator[Due], tower_nats: WireClient) -> None:
    await timers.cron("often", "* * * * * *", b"c")
    assert await take(due) == Due("often", b"c")
    await timers.cancel("often")
    await timers.cron("daily", "30 4 * * *", b"", time_zone="Europe/Berlin")
    headers = await headers_on(tower_nats, "tower.timer.local.daily")
    assert "Nats-Schedule: 0 30 4 * * *\r\n" in headers
    assert "Nats-Schedule-Time-Zone: Europe/Berlin\r\n" in headers


async def test_scheduling_again_replaces(timers: BrokerTimers, due: AsyncGenerator[Due]) -> None:
    await timers.at("t", soon(1), b"old")
    await timers.at("t", soon(2), b"new")
    await timers.at("end", soon(3), b"")
    assert [await take(due) for _ in range(2)] == [Due("t", b"new"), Due("end", b"")]


async def test_a_cancelled_one_does_not_fire(timers: BrokerTimers, due: AsyncGenerator[Due]) -> None:
    await timers.at("gone", soon(1), b"")
    await timers.at("end", soon(2), b"")
    await timers.cancel("gone")
    await timers.cancel("never-there")
    assert (await take(due)).name == "end"


async def test_what_fell_due_while_the_broker_was_down(
    timers: BrokerTimers, due: AsyncGenerator[Due], broker: EmbeddedBroker
) -> None:
    await timers.at("missed", soon(1), b"m")
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGSTOP)
    fell_due = time.monotonic() + 1.2
    await eventually(lambda: time.monotonic() > fell_due)
    os.kill(broker.pid, signal.SIGKILL)
    assert await take(due) == Due("missed", b"m")


async def test_asking_for_the_next_one_acknowledges(timers: BrokerTimers, tower_nats: WireClient) -> None:
    await timers.at("a", soon(-1), b"")
    async with aclosing(timers.due()) as fired:
        assert (await take(fired)).name == "a"
        await timers.at("b", soon(0), b"")
        assert (await take(fired)).name == "b"

    async def one_is_acknowledged() -> bool:
        return (await js_api(tower_nats, f"CONSUMER.INFO.{STREAM}.due"))["num_ack_pending"] == 1

    await eventually(one_is_acknowledged, "one acknowledgement")


async def test_reading_survives_a_broker_crash(
    timers: BrokerTimers, due: AsyncGenerator[Due], broker: EmbeddedBroker, tower_nats: WireClient
) -> None:
    waiting = asyncio.create_task(take(due))
    await eventually(lambda: _waits(tower_nats), "the reader")
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    await eventually(lambda: not tower_nats.is_connected, "the lost connection")
    with pytest.raises(TimerError):
        await timers.at("x", soon(0), b"")
    await eventually(lambda: tower_nats.is_connected, "the reconnect")
    await timers.at("x", soon(0), b"")
    assert (await waiting).name == "x"


async def _waits(client: WireClient) -> bool:
    try:
        return (await js_api(client, f"CONSUMER.INFO.{STREAM}.due"))["num_waiting"] == 1
    except ApiError:
        return False


async def test_names_are_subject_tokens(timers: BrokerTimers) -> None:
    for name in ("", "a..b", "a.*", "a b", "a.>", "."):
        with pytest.raises(ValueError, match="must be 1 to 128 characters"):
            await timers.at(name, soon(0), b"")


async def test_due_messages_do_not_stay_for_ever(
    timers: BrokerTimers, due: AsyncGenerator[Due], tower_nats: WireClient
) -> None:
    await timers.at("a", soon(0), b"")
    await take(due)
    assert "Nats-TTL: 86400s" in await headers_on(tower_nats, "tower.due.local.a")
