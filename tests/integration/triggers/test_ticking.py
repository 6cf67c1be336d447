"""Timers by a real broker's schedules: each tick once, over restarts, with room or without."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.nats.timers import BrokerTimers
from adapters.nats.wire import WireClient
from domain.background import events as e
from domain.background.commands import BackgroundStop
from domain.background.state import Background
from domain.tower import Tower
from tests.integration.conftest import NODE
from tests.integration.triggers.node import Node, node
from tests.waiting import eventually


@pytest.fixture
def timers(tower_nats: WireClient) -> BrokerTimers:
    return BrokerTimers(tower_nats, NODE)


def timer(name: str = "one", pool: int = 100, **config: Any) -> dict[str, Any]:
    return {"name": name, "pool_size": pool, "triggers": [{"type": "timer", "config": config}]}


def ticks(made: Node) -> list[int]:
    return [each.data["tick"] for each in made.of(e.TriggerFired)]


async def test_every_second_from_one_without_drift(tmp_path: Path, timers: BrokerTimers) -> None:
    async with node(tmp_path, timers=timers) as made:
        made.declare(timer(interval_seconds=1))
        there = await made.running()
        await made.fired(3)
        fired = made.of(e.TriggerFired)[:3]
        assert there.since is not None
        assert [each.timestamp for each in fired] == [there.since + timedelta(seconds=n) for n in (1, 2, 3)]
        assert [each.data for each in fired] == [
            {"interval": 1, "due": each.timestamp.isoformat(), "tick": n} for n, each in enumerate(fired, 1)
        ]
        assert fired[0].source == "every 1 s"
        made.ask(BackgroundStop(name="one"))
        count = len(ticks(made))
        assert made.ticking.waiting == 0
        await eventually(lambda: made.clock.now() > fired[-1].timestamp + timedelta(seconds=2))
        assert len(ticks(made)) == count


async def test_immediate_ticks_once_at_the_start(tmp_path: Path, timers: BrokerTimers) -> None:
    async with node(tmp_path, timers=timers) as made:
        made.declare(timer(interval_seconds=3600, immediate=True))
        fired = await made.fired()
        assert (fired.timestamp, fired.data["tick"]) == (made.one().since, 1)
        state = made.state
    async with node(tmp_path, timers=timers, state=state) as again:
        await eventually(lambda: again.ticking.waiting == 1)
        assert again.one().ticks[0] == 1
        assert again.of(e.TriggerFired) == []


async def test_by_cron_with_seconds(tmp_path: Path, timers: BrokerTimers) -> None:
    async with node(tmp_path, timers=timers) as made:
        made.declare(timer(cron="*/2 * * * * *", timezone="Asia/Tokyo"))
        await made.fired(2)
        fired = made.of(e.TriggerFired)[:2]
        assert [each.timestamp.second % 2 for each in fired] == [0, 0]
        assert fired[1].timestamp - fired[0].timestamp == timedelta(seconds=2)
        assert fired[0].data["cron"] == "*/2 * * * * *"


async def test_they_go_on_over_restarts_and_no_tick_comes_twice(tmp_path: Path, timers: BrokerTimers) -> None:
    state, numbers, dues = Tower(), list[int](), list[Any]()
    for round_ in range(4):
        async with node(tmp_path, timers=timers, state=state) as made:
            if round_ == 0:
                made.declare(timer(interval_seconds=1))
            # A moment after a tick, or in the middle of the next one.
            await made.fired(1 + round_ % 2)
            state = made.state
            numbers += ticks(made)
            dues += [each.timestamp for each in made.of(e.TriggerFired)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert dues == sorted(set(dues))


async def test_two_that_find_it_due_record_it_once(tmp_path: Path, timers: BrokerTimers) -> None:
    """As when the schedule fires and the process times it too: the tick is known by when it is due."""
    async with node(tmp_path, timers=timers) as made:
        made.declare(timer(interval_seconds=1))
        await made.fired()
        name = next(iter(made.ticking._due))
        for _ in range(5):
            made.ticking._fire(name)
            await timers.at(name, made.clock.now(), b"{}")
        await made.fired(3)
        dues = [each.timestamp for each in made.of(e.TriggerFired)]
        assert len(set(dues)) == len(dues)


def long_ago(there: Background, seconds: float) -> Background:
    assert there.since is not None
    return replace(there, since=there.since - timedelta(seconds=seconds))


@pytest.mark.parametrize(("missed", "made_up"), [("skip", 0), ("run_once", 1)])
async def test_what_was_missed_while_the_tower_was_away(
    tmp_path: Path, timers: BrokerTimers, missed: str, made_up: int
) -> None:
    async with node(tmp_path, timers=timers) as made:
        made.declare(timer(interval_seconds=100, missed=missed))
        await made.running()
    known = made.state.backgrounds.known
    there = long_ago(made.one(), 350)
    backgrounds = replace(made.state.backgrounds, known=known.set(there.background_id, there))
    async with node(tmp_path, timers=timers, state=replace(made.state, backgrounds=backgrounds)) as again:
        if made_up:
            fired = await again.fired()
            assert there.since is not None
            assert fired.timestamp == there.since + timedelta(seconds=300)
        await eventually(lambda: again.ticking.waiting == 1)
        (due,) = again.ticking._due.values()
        assert there.since is not None
        assert due == there.since + timedelta(seconds=400)
        assert len(again.of(e.TriggerFired)) == made_up


async def test_without_room_a_tick_waits_and_the_next_ones_are_one(tmp_path: Path, timers: BrokerTimers) -> None:
    async with node(tmp_path, timers=timers) as made:
        made.declare(timer(interval_seconds=1, pool=1) | {"queue_size": 1})
        await made.fired(2)
        waits_until = made.clock.now() + timedelta(seconds=2.5)
        await eventually(lambda: made.clock.now() >= waits_until)
        assert ticks(made) == [1, 2]
        made.end_run()
        await made.fired(3)
        made.end_run()
        await made.fired(4)
        assert ticks(made) == [1, 2, 3, 4]


async def test_another_interval_is_taken_at_once(tmp_path: Path, timers: BrokerTimers) -> None:
    async with node(tmp_path, timers=timers) as made:
        made.declare(timer(interval_seconds=3600))
        await made.running()
        made.declare(timer(interval_seconds=1))
        assert (await made.fired()).data["interval"] == 1
        made.declare()
        await eventually(lambda: made.ticking.waiting == 0)


async def test_a_hundred_timers_of_one_second(tmp_path: Path, timers: BrokerTimers) -> None:
    async with node(tmp_path, timers=timers) as made:
        names = [f"t{number}" for number in range(10)]
        ten = [{"type": "timer", "config": {"interval_seconds": 1}}] * 10
        made.declare(*({"name": name, "pool_size": 100, "triggers": ten} for name in names))
        await asyncio.gather(*(made.running(name) for name in names))
        await made.fired(200)
        fired = [(each.background_id, each.trigger, each.timestamp) for each in made.of(e.TriggerFired)]
        assert len(set(fired)) == len(fired)
        assert len({each[:2] for each in fired}) == 100
