"""Signals that meet frames. The kernel stops a worker meanwhile, so that both wait for it when it goes on."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.executing.outcomes import Outcome, State
from adapters.executing.output import Chunk
from adapters.executing.process import WorkerSettings
from adapters.executing.sources import Starter
from adapters.executing.worker import Asked, Conduct, Worker
from tests.waiting import eventually

WITH_LOOP, WITHOUT = "import asyncio\nawait asyncio.sleep(0)", "pass"
ROUNDS = 10


class Beside:
    """A worker and what it told; `stopped` while it stands still."""

    def __init__(self) -> None:
        self.worker: Worker
        self.asks: asyncio.Queue[Asked] = asyncio.Queue()
        self.ends: asyncio.Queue[Outcome] = asyncio.Queue()

    async def output(self, chunk: Chunk) -> None: ...

    async def asked(self, asked: Asked) -> None:
        self.asks.put_nowait(asked)

    async def ended(self, outcome: Outcome) -> None:
        self.ends.put_nowait(outcome)

    async def value(self, code: str) -> object:
        """Of a cell that begins now and must complete at once."""
        self.worker.execute("cell", code)
        return (await self.end()).value

    async def end(self) -> Outcome:
        async with asyncio.timeout(2):
            return await self.ends.get()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        os.kill(self.worker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.worker.pid, signal.SIGCONT)

    def interrupt(self) -> None:
        os.kill(self.worker.pid, signal.SIGINT)

    @property
    def is_waiting(self) -> bool:
        """For whatever."""
        return Path(f"/proc/{self.worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    async def waits(self) -> None:
        await eventually(lambda: self.is_waiting, "it waits")


@pytest.fixture
async def beside(tmp_path: Path) -> AsyncIterator[Beside]:
    beside = Beside()
    async with Starter() as workers:
        beside.worker = await workers.take(WorkerSettings(working_dir=str(tmp_path)), beside, Conduct())
        yield beside


@pytest.mark.parametrize("begin", [WITH_LOOP, WITHOUT], ids=["loop", "no loop"])
async def test_an_interrupt_that_comes_with_the_next_cell(beside: Beside, begin: str) -> None:
    await beside.value(begin)
    for number in range(ROUNDS):
        await beside.waits()
        with beside.stopped():
            beside.interrupt()
            beside.worker.execute("next", f"{number} + 1")
        assert (await beside.end()).value == number + 1


@pytest.mark.parametrize("begin", [WITH_LOOP, WITHOUT], ids=["loop", "no loop"])
async def test_an_interrupt_that_comes_with_an_answer(beside: Beside, begin: str) -> None:
    await beside.value(begin)
    beside.worker.execute("asks", "[input('?') for _ in range(10)]")
    for number in range(ROUNDS):
        asked = await beside.asks.get()
        await beside.waits()
        with beside.stopped():
            beside.interrupt()
            beside.worker.answer(asked, "ok", value=str(number))
    assert (await beside.end()).value == [str(number) for number in range(ROUNDS)]


@pytest.mark.parametrize("begin", [WITH_LOOP, WITHOUT], ids=["loop", "no loop"])
@pytest.mark.parametrize("code", ["while True: pass", "import asyncio\nawait asyncio.sleep(100)", "input('?')"])
async def test_a_cancel_that_comes_with_its_cell(beside: Beside, begin: str, code: str) -> None:
    await beside.value(begin)
    await beside.waits()
    with beside.stopped():
        beside.worker.execute("late", code)
        beside.worker.cancel("late")
    outcome = await beside.end()
    assert (outcome.state, outcome.worker_restarted) == (State.CANCELLED, False)
    assert await beside.value("1 + 1") == 2


@pytest.mark.parametrize("begin", [WITH_LOOP, WITHOUT], ids=["loop", "no loop"])
async def test_a_thread_that_asks_and_cells_each_get_their_own(beside: Beside, begin: str) -> None:
    code = "import threading\nanswers = []\nthreading.Thread(target=lambda: answers.append(input('?'))).start()"
    await beside.value(begin)
    await beside.value(code)
    asked = await beside.asks.get()
    for number in range(ROUNDS):
        await beside.waits()
        with beside.stopped():
            beside.worker.execute("next", f"{number} + 1")
        assert (await beside.end()).value == number + 1
    beside.worker.execute("takes", "import asyncio\nwhile not answers:\n    await asyncio.sleep(0.01)\nanswers")
    beside.worker.answer(asked, "ok", value="mine")
    assert (await beside.end()).value == ["mine"]


async def test_a_cancel_leaves_no_half_frame_behind(beside: Beside, tmp_path: Path) -> None:
    beside.worker.execute("writes", "open('begun', 'w').close()\ntower.write_file('text', 'a' * 2_000_000)")
    # Nothing is read here meanwhile: it has to wait in the middle of its frame.
    while not (tmp_path / "begun").exists() or not beside.is_waiting:
        os.sched_yield()
    beside.worker.cancel("writes")
    outcome = await beside.end()
    assert (outcome.state, outcome.worker_restarted) == (State.CANCELLED, False)
    assert await beside.value("1 + 1") == 2
