"""Workers, towers and brokers killed at seeded random moments while executions run: each that was accepted reaches one
end, none runs twice unless that is safe, and nobody is left behind."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from domain.executions.events import ExecutionEnd, ExecutionRequested
from tests.faults.book import Book, Driver, driving
from tests.faults.child import Child, Died
from tests.faults.rounds import rounds
from tests.waiting import eventually

pytestmark = pytest.mark.needs("tmux")

EXECUTIONS = 12
SETTLES_S = 120.0
HOMES, ROUNDS = 5, 10
"""50 rounds of each fault."""

CODES = (
    "1 + 1",
    "print('x' * 100_000)",
    "import time; time.sleep(0.2)",
    "import asyncio; await asyncio.sleep(0.1)",
    "1 / 0",
    "import subprocess; subprocess.run(['sleep', '0.1'])",
)

Fault = Callable[[Child, random.Random, asyncio.Event], Coroutine[Any, Any, None]]


def workers_of(child: Child) -> list[int]:
    """Processes that run the worker of this home."""
    return [pid for pid in child.processes("python") if b"adapters/worker" in _words(pid)]


def _words(pid: int) -> bytes:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
    return b""


async def worker_killed(child: Child, rng: random.Random, over: asyncio.Event) -> None:
    while not over.is_set():
        await _pause(rng, over)
        if pids := workers_of(child):
            with suppress(ProcessLookupError):
                os.kill(rng.choice(pids), signal.SIGKILL)


async def tower_killed(child: Child, rng: random.Random, over: asyncio.Event) -> None:
    await _pause(rng, over)
    child.signal(signal.SIGKILL)


async def broker_killed(child: Child, rng: random.Random, over: asyncio.Event) -> None:
    await _pause(rng, over)
    child.kill_broker()


async def _pause(rng: random.Random, over: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(rng.uniform(0.05, 0.6)):
            await over.wait()


FAULTS: tuple[Fault, ...] = (worker_killed, tower_killed, broker_killed)


async def ask_for_some(driver: Driver, rng: random.Random, marks: str) -> None:
    """Each notes in a file that it has begun."""
    for _ in range(EXECUTIONS):
        execution_id = f"e{len(driver.book.sent)}"
        code = f"open({marks!r}, 'a').write('{execution_id}\\n')\n{rng.choice(CODES)}"
        data: dict[str, Any] = {"id": execution_id, "code": code}
        if rng.random() < 0.6:
            data["session_id"] = rng.choice(("one", "two", "three"))
        if rng.random() < 0.4:
            data["retry"] = {"safe": True, "max_attempts": 5, "backoff_s": 0.05}
        await driver.ask("execution", "request", data, door=rng.choice(("request", "durable")))


async def all_ended(driver: Driver) -> None:
    async def look() -> bool:
        return not (await driver.state()).executions.open

    await eventually(look, "every execution has its end", timeout_s=SETTLES_S)


async def one_round(fault: Fault, child: Child, book: Book, rng: random.Random) -> None:
    marks, over = str(child.home / "marks"), asyncio.Event()
    await child.start()
    async with driving(child, book) as driver:
        acting = asyncio.create_task(fault(child, rng, over))
        with suppress(Died):
            await ask_for_some(driver, rng, marks)
        over.set()
        await acting
    if not child.alive or fault is tower_killed:
        await child.kill()
        await child.nothing_left()
        await child.start()
    async with driving(child, book) as driver:
        await driver.settle_book()
        await all_ended(driver)
        wrong = book.compare(await driver.recorded()) + await wrong_of(driver, marks)
        assert not wrong, "\n".join(wrong)
    await child.kill()
    await child.nothing_left()
    await eventually(lambda: not workers_of(child), "no worker is left", timeout_s=30)


async def wrong_of(driver: Driver, marks: str) -> list[str]:
    """What does not hold of the executions in the log, and of what really ran."""
    events = [record.event for record in await driver.recorded()]
    requested = {each.execution_id: each for each in events if isinstance(each, ExecutionRequested)}
    ends = Counter(each.execution_id for each in events if isinstance(each, ExecutionEnd))
    wrong = [f"{each} has {ends[each]} ends" for each in requested if ends[each] != 1]
    begun = Counter(await asyncio.to_thread(_read, marks))
    again = {each: times for each, times in begun.items() if times > 1 and not requested[each].retry.safe}
    return wrong + [f"{each} ran {times} times" for each, times in again.items()]


def _read(marks: str) -> list[str]:
    with suppress(FileNotFoundError), open(marks) as file:
        return file.read().split()
    return []


async def many(fault: Fault, seed: int, count: int) -> None:
    rng, book = random.Random(f"{fault.__name__} {seed}"), Book()
    async with Child() as child:
        await rounds(child, lambda: one_round(fault, child, book, rng), seed, count)


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_round(fault: Fault) -> None:
    await many(fault, seed=0, count=1)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, HOMES + 1))
@pytest.mark.parametrize("fault", FAULTS)
async def test_many_rounds(fault: Fault, seed: int) -> None:
    await many(fault, seed, ROUNDS)
