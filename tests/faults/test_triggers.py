"""The tower killed at seeded random moments while files change and timers tick: each file is told once, each tick
once, and what was written while no tower ran is found."""

import random
import signal
from collections import Counter

import pytest

from domain.background.events import TriggerFired
from domain.executions.events import SessionEmitted
from tests.faults.book import Book, Driver, driving
from tests.faults.check import check
from tests.faults.child import Child, Died
from tests.faults.watched import configure, named, put, settings_of, watching
from tests.waiting import eventually

pytestmark = pytest.mark.needs("tmux")

HOMES, ROUNDS = 3, 10
"""30 rounds."""

FILES = 6


async def one_round(child: Child, book: Book, rng: random.Random, number: int) -> list[str]:
    """The names of what was written in it."""
    await child.start()
    names = [f"r{number}-{count}" for count in range(FILES)]
    async with driving(child, book) as driver:
        begun = await driver.position()
        for count, name in enumerate(names):
            put(child, f"watched/{name}")
            if rng.random() < 0.5:
                # Not always one burst.
                await moved(driver, begun + count)
        put(child, f"issues/i{number}.yaml", f"title: issue {number}")
        await moved(driver, begun + rng.randrange(1, 60))
        child.signal(signal.SIGKILL)
    await child.kill()
    await child.nothing_left()
    put(child, f"watched/down{number}")
    return [*names, f"down{number}"]


async def moved(driver: Driver, position: int) -> None:
    """Until the log has come so far; ticks move it on by themselves."""

    async def look() -> bool:
        return await driver.position() >= position

    await driver.or_died(eventually(look, "the log goes on", timeout_s=60))


async def many(seed: int, count: int) -> None:
    rng, book = random.Random(f"triggers {seed}"), Book()
    async with Child() as child:
        configure(child)
        written: list[str] = []
        await child.start()
        async with driving(child, book) as driver:
            await watching(driver)
        await child.kill()
        for number in range(count):
            try:
                written += await one_round(child, book, rng, number)
            except Died as died:
                raise AssertionError(f"seed {seed}, round {number}: {died}") from died
        await child.start()
        async with driving(child, book) as driver:

            async def all_told() -> bool:
                log = list(await driver.recorded())
                issues = [each for each in log if isinstance(each.event, SessionEmitted)]
                return set(written) <= set(named(log)) and len(issues) >= count

            await driver.or_died(eventually(all_told, f"all files are told, seed {seed}", timeout_s=60))
        await child.kill()
        # Without them in the settings they are withdrawn, and the log comes to rest.
        settings_of(child).unlink()
        await child.start()
        async with driving(child, book) as driver:
            await check(driver)
            log = list(await driver.recorded())
        assert Counter(named(log)) == Counter(written)
        ticks = [each.event for each in log if isinstance(each.event, TriggerFired) and each.event.type == "timer"]
        assert [tick.data["tick"] for tick in ticks] == list(range(1, len(ticks) + 1))
        dues = [tick.timestamp for tick in ticks]
        assert dues == sorted(set(dues))
        emitted = [each.event.data["issue_id"] for each in log if isinstance(each.event, SessionEmitted)]
        assert sorted(emitted) == sorted(f"i{number}" for number in range(count))
        assert await child.stop() == 0
        await child.nothing_left()


async def test_two_rounds() -> None:
    await many(seed=0, count=2)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, HOMES + 1))
async def test_many_rounds(seed: int) -> None:
    await many(seed, ROUNDS)
