"""Parts that fail at seeded random moments of creating, removing and recreating; after each round all promises hold."""

import asyncio
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.nats.connection import js_api
from adapters.nats.disk import disk_space
from adapters.nats.subjects import events_stream
from tests.faults.book import Book, driving
from tests.faults.bustle import Bustle
from tests.faults.check import check
from tests.faults.child import NODE, Child, Died
from tests.faults.points import points
from tests.faults.rounds import rounds
from tests.faults.stories import change_stream
from tests.waiting import eventually

pytestmark = pytest.mark.needs("tmux")

COMMANDS = 16
DISK_BYTES = 192 * 1024 * 1024

Fault = Callable[[Bustle, Child, random.Random], Coroutine[Any, Any, None]]


async def tower_killed(bustle: Bustle, child: Child, rng: random.Random) -> None:
    """From outside, after so many events, wherever it is then."""
    await bustle.until(rng.randrange(1, 60))
    child.signal(signal.SIGKILL)
    await child.died.wait()


async def tower_killed_at_a_point(bustle: Bustle, child: Child, rng: random.Random) -> None:
    """By a crash point that the start chose; here nothing is left to do."""


async def broker_killed(bustle: Bustle, child: Child, rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 4)):
        await bustle.until(rng.randrange(1, 40))
        child.kill_broker()


async def tmux_killed(bustle: Bustle, child: Child, rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 3)):
        await bustle.until(rng.randrange(1, 60))
        await asyncio.to_thread(child.tmux, "kill-server")


async def database_locked(bustle: Bustle, child: Child, rng: random.Random) -> None:
    """For longer than a statement waits, half of the time."""
    with closing(sqlite3.connect(child.database, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        await bustle.until(rng.randrange(20, 200))
        if rng.random() < 0.5:
            await bustle.over.wait()
        other.execute("ROLLBACK")


async def database_gone(bustle: Bustle, child: Child, rng: random.Random) -> None:
    await bustle.until(rng.randrange(1, 60))
    for path in child.home.glob("tower.sqlite*"):
        path.unlink(missing_ok=True)


async def database_restored(bustle: Bustle, child: Child, rng: random.Random) -> None:
    """From a backup that was made before; while it runs, or between two towers."""
    backup = child.home / "backup"
    await asyncio.to_thread(_back_up, child.database, backup)
    await bustle.until(rng.randrange(20, 60))
    if rng.random() < 0.5:
        await child.kill()
    for path in child.home.glob("tower.sqlite-*"):
        path.unlink(missing_ok=True)
    backup.replace(child.database)


def _back_up(database: Path, backup: Path) -> None:
    with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(backup)) as copy:
        live.backup(copy)


async def log_full(bustle: Bustle, child: Child, rng: random.Random) -> None:
    """A quota of the stream; then there is room again."""
    wire, name = bustle.driver.wire, events_stream(NODE)
    await bustle.until(rng.randrange(1, 40))
    held = (await js_api(wire, f"STREAM.INFO.{name}"))["state"]["bytes"]
    await change_stream(wire, name, {"max_bytes": held + rng.randrange(20_000)})
    await _refused(bustle)
    await change_stream(wire, name, {"max_bytes": -1})


async def disk_full(bustle: Bustle, child: Child, rng: random.Random) -> None:
    """Another program fills the disk of the store to the last bytes; then it has room again. A quota of the stream
    where no small disk could be mounted."""
    if disk_space(child.home)[0] > DISK_BYTES:
        await log_full(bustle, child, rng)
        return
    await bustle.until(rng.randrange(1, 40))
    ballast = child.home / "ballast"
    leave = rng.choice((0, 100_000, 2_000_000))
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while disk_space(child.home)[1] > leave:
            file.write(bytes(50_000))
    await _refused(bustle)
    ballast.unlink()


async def _refused(bustle: Bustle) -> None:
    """Until commands are refused for want of room, and the tower lives."""
    driver = bustle.driver

    async def refused() -> bool:
        sent = driver.book.open("pane", "remove", {"pane_id": "nobody"})
        answer = await driver.or_died(driver.again(sent))
        sent.outcome = answer
        return answer is None

    await eventually(refused, "the tower is busy", timeout_s=60)


async def clock_stepped(bustle: Bustle, child: Child, rng: random.Random) -> None:
    """Forward by up to some hours, then back again, and back behind where it began."""
    for ahead_s in (rng.randrange(60, 4 * 3600), 0, -rng.randrange(1, 240)):
        await bustle.until(rng.randrange(1, 30))
        child.step_clock(ahead_s)


FAULTS: tuple[Fault, ...] = (
    tower_killed,
    tower_killed_at_a_point,
    broker_killed,
    tmux_killed,
    database_locked,
    database_gone,
    database_restored,
    log_full,
    disk_full,
    clock_stepped,
)
QUICK = (tower_killed, broker_killed, database_restored)
HOMES = 4
ROUNDS = 5


@contextmanager
def folder_for(fault: Fault) -> Iterator[Path | None]:
    """A small disk of its own where the fault needs one and the machine lets us mount it; else anywhere."""
    if fault is not disk_full:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="at-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        yield folder if mounted else None
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


async def one_round(fault: Fault, child: Child, book: Book, rng: random.Random) -> None:
    point = ""
    if fault is tower_killed_at_a_point:
        point = f"{rng.choice(points()).partition('#')[0]}#{rng.randrange(1, 8)}"
    try:
        await child.start(crash_at=point)
    except Died:
        if not point:
            raise
    if child.alive:
        async with driving(child, book) as driver:
            bustle = Bustle(driver, rng)
            acting = asyncio.create_task(fault(bustle, child, rng))
            try:
                await bustle.run(COMMANDS)
                await acting
            finally:
                acting.cancel()
    if not child.alive or point:
        await child.kill()
        await child.nothing_left()
        await child.start()
    async with driving(child, book) as driver:
        await check(driver)
    await child.kill()
    await child.nothing_left()


async def many(fault: Fault, seed: int, count: int) -> None:
    rng, book = random.Random(f"{fault.__name__} {seed}"), Book()
    with folder_for(fault) as folder:
        async with Child(folder, clock=fault is clock_stepped) as child:
            await rounds(child, lambda: one_round(fault, child, book, rng), seed, count)


@pytest.mark.parametrize("fault", QUICK)
async def test_one_round(fault: Fault) -> None:
    await many(fault, seed=0, count=1)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, HOMES + 1))
@pytest.mark.parametrize("fault", FAULTS)
async def test_many_rounds(fault: Fault, seed: int) -> None:
    await many(fault, seed, ROUNDS)
