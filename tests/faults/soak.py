"""`python -m tests.faults.soak --minutes 10 --seed 7`: random work on a real tmux while its parts are killed at random.

`--operations 2000` instead of a time: commands, and kills of processes, panes, tmux servers, brokers and towers.

Every turn is a handful of commands with one disturbance, after which the tower must come to rest. Read models, tmux
and the replayed log are compared every few turns and at the end. For the last third the tower itself is
left alone, so that its memory, files, threads and child processes can be seen to be flat.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from adapters.telemetry import configure_logging
from tests.faults.book import Book, Driver, driving
from tests.faults.bustle import Bustle
from tests.faults.check import at_rest, check, verified
from tests.faults.child import NODE, Child

COMMANDS = 12
SPARE = 4
"""Files, threads and processes that may come and go."""

CHECK_EVERY = 10
KILLS = ("nothing", "process", "pane", "tmux server", "broker")
TOWER_KILLS = ("tower killed", "tower stopped")
RSS_GROWS_BYTES_AN_EVENT = 8_192
"""Removed panes stay known, and allocators keep what they were given: more than this for an event is a leak."""


class Sample(msgspec.Struct, frozen=True):
    """The tower's process at rest. `rss_kb` is resident memory; `events` is the log's length."""

    pid: int
    events: int
    rss_kb: int
    files: int
    threads: int
    children: int


def sample(pid: int, events: int) -> Sample:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Sample(
        pid=pid,
        events=events,
        rss_kb=int(status["VmRSS"].split()[0]),
        files=len(os.listdir(f"/proc/{pid}/fd")),
        threads=int(status["Threads"]),
        children=len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()),
    )


class Soak:
    def __init__(self, child: Child, rng: random.Random) -> None:
        self.child = child
        self.book = Book()
        self.samples: list[Sample] = []
        self.kills: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.turns = 0
        self._rng = rng

    @property
    def operations(self) -> int:
        """Commands that were answered, and disturbances."""
        return sum(self.done.values()) + sum(count for what, count in self.kills.items() if what != "nothing")

    async def run(self, over: Callable[["Soak"], bool], kills: tuple[str, ...]) -> None:
        """Turns until it is over; the tower runs afterwards."""
        while not over(self):
            if not self.child.alive:
                await self.child.start()
            async with driving(self.child, self.book) as driver:
                alive = True
                while alive and not over(self):
                    alive = await self._turn(driver, self._rng.choice(kills))
            if not self.child.alive:
                await self.child.kill()
                await self.child.nothing_left()

    async def _turn(self, driver: Driver, kill: str) -> bool:
        """False when the tower has ended."""
        self.turns += 1
        self.kills[kill] += 1
        bustle = Bustle(driver, self._rng)
        acting = asyncio.create_task(self._disturb(bustle, kill))
        await bustle.run(COMMANDS)
        await acting
        self.done += bustle.done
        if not self.child.alive:
            return False
        if self.turns % CHECK_EVERY == 0:
            await check(driver)
        else:
            await driver.settle_book()
            await at_rest(driver)
        self.samples.append(sample(self.child.pid, await driver.position()))
        return True

    async def _disturb(self, bustle: Bustle, kill: str) -> None:
        await bustle.until(self._rng.randrange(1, 60))
        match kill:
            case "process" | "pane":
                panes = await asyncio.to_thread(self.child.panes)
                if panes:
                    await asyncio.to_thread(self.child.hit, self._rng.choice(panes), whole=kill == "pane")
            case "tmux server":
                await asyncio.to_thread(self.child.tmux, "kill-server")
            case "broker":
                self.child.kill_broker()
            case "tower killed":
                self.child.signal(signal.SIGKILL)
                await self.child.died.wait()
            case "tower stopped":
                code = await self.child.stop()
                assert code == 0, f"a clean stop ended with {code}"
            case _:
                pass


def not_flat(samples: list[Sample]) -> list[str]:
    """What grew in one process between its first samples and its last ones."""
    tenth = max(1, len(samples) // 10)
    first, last = samples[:tenth], samples[-tenth:]
    wrong: list[str] = []
    for name in ("files", "threads", "children"):
        before, after = (max(getattr(each, name) for each in some) for some in (first, last))
        if after > before + SPARE:
            wrong.append(f"{name} grew from {before} to {after}")
    grown_kb, events = last[-1].rss_kb - first[-1].rss_kb, last[-1].events - first[-1].events
    if grown_kb * 1024 > events * RSS_GROWS_BYTES_AN_EVENT:
        wrong.append(f"memory grew by {grown_kb} kB over {events} events")
    return wrong


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def soak(minutes: float, operations: int | None, seed: int) -> bool:
    say(
        f"soak of {minutes:g} min, seed {seed}"
        if operations is None
        else f"soak of {operations} operations, seed {seed}"
    )
    started = time.monotonic()

    def done(share: float) -> Callable[[Soak], bool]:
        if operations is None:
            ends = started + minutes * 60 * share
            return lambda _turns: time.monotonic() >= ends
        enough = operations * share
        return lambda turns: turns.operations >= enough

    async with Child() as child:
        turns = Soak(child, random.Random(seed))
        await turns.run(done(2 / 3), KILLS + TOWER_KILLS)
        await turns.run(done(1), KILLS)
        async with driving(child, turns.book) as driver:
            state = await check(driver)
            events = await driver.position()
        await verified(child)
        assert await child.stop() == 0
        await child.nothing_left()
        starts = child.starts
    steady = [each for each in turns.samples if each.pid == turns.samples[-1].pid]
    _report(turns, steady, events, len(state.layouts.panes), starts, time.monotonic() - started)
    wrong = not_flat(steady)
    say("NOT FLAT: " + "; ".join(wrong) if wrong else "flat: memory, files, threads, child processes")
    return not wrong


def _report(turns: Soak, steady: list[Sample], events: int, panes: int, starts: int, took_s: float) -> None:
    made = f"{turns.operations} operations, {len(turns.book.sent)} commands, {events} events, {panes} panes made"
    say(f"{turns.turns} turns in {took_s:.0f} s, {made}")
    say("disturbed: " + ", ".join(f"{what} {count}" for what, count in sorted(turns.kills.items())))
    say("answered: " + ", ".join(f"{what} {count}" for what, count in sorted(turns.done.items())))
    say(f"tower starts: {starts}; node {NODE}")
    say("read models = replayed log = tmux; every accepted command in the log once; chain verified; nothing left over")
    say(f"the last tower, {len(steady)} samples at rest, {steady[-1].events - steady[0].events} events between them:")
    say("             first  median    last     max")
    for name in ("rss_kb", "files", "threads", "children"):
        values = [getattr(each, name) for each in steady]
        middle = sorted(values)[len(values) // 2]
        say(f"  {name:<9}{values[0]:>8}{middle:>8}{values[-1]:>8}{max(values):>8}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--operations", type=int, help="instead of a time")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    configure_logging(json=True, node=NODE)
    return 0 if asyncio.run(soak(options.minutes, options.operations, options.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
