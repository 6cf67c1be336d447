"""The tower killed at seeded random moments while events trigger runs, and their ends trigger others: no recorded
firing is lost, none runs twice without another attempt."""

import asyncio
import random
import signal
from contextlib import suppress

import pytest

from tests.faults.book import Book, Driver, driving
from tests.faults.bustle import Bustle
from tests.faults.check import check
from tests.faults.child import Child, Died
from tests.faults.rounds import rounds
from tests.faults.roused import all_consumed, emit, lead, listening, worker_of

pytestmark = pytest.mark.needs("tmux")

EVENTS = 12
HANDS = 4
HOMES, ROUNDS = 3, 10
"""30 rounds."""


async def declared(child: Child, book: Book) -> None:
    """Three that trigger each other, of all shapes; they go on from round to round."""
    await child.start()
    worker = worker_of(child)
    async with driving(child, book) as driver:
        await lead(
            driver,
            listening("many", worker, "work:*", pool_size=3, on_complete_emit="many:done"),
            listening("one", worker, "many:done", on_complete_emit="one:done"),
            listening("latest", worker, "one:done", coalesce="latest"),
        )
    await child.kill()


async def emits(driver: Driver, rng: random.Random, over: asyncio.Event) -> None:
    left = iter(range(EVENTS))

    async def hand() -> None:
        for number in left:
            await emit(driver, f"work:n{number}", door=rng.choice(("request", "durable")))

    try:
        await asyncio.gather(*(hand() for _ in range(HANDS)))
        await all_consumed(driver)
    except Died:
        pass
    finally:
        over.set()


async def one_round(child: Child, book: Book, rng: random.Random) -> None:
    await child.start()
    async with driving(child, book) as driver:
        bustle = Bustle(driver, rng)
        emitting = asyncio.create_task(emits(driver, rng, bustle.over))
        await bustle.until(rng.randrange(1, 150))
        child.signal(signal.SIGKILL)
        with suppress(Died):
            await emitting
    await child.kill()
    await child.nothing_left()
    await child.start()
    async with driving(child, book) as driver:
        await check(driver)
    await child.kill()
    await child.nothing_left()


async def many(seed: int, count: int) -> None:
    rng, book = random.Random(f"background {seed}"), Book()
    async with Child() as child:
        await declared(child, book)
        await rounds(child, lambda: one_round(child, book, rng), seed, count)


async def test_a_round() -> None:
    await many(seed=0, count=1)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, HOMES + 1))
async def test_many_rounds(seed: int) -> None:
    await many(seed, ROUNDS)
