"""Bundles and sessions: a bundle read from files beside one that is prepared, spawns, and reloads."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg

from adapters.bundles.preparing import BundleFiles
from adapters.nats.client import CommandClient
from adapters.nats.connection import connect
from adapters.nats.wire import WireClient
from adapters.system import SystemClock, SystemIds
from tests.bench import machine
from tests.bench.client import Call, Figures, Spec, measured
from tests.bench.doors import run
from tests.bench.executing import percentile
from tests.bench.report import Check, Options, Part, ms, rate, table
from tests.bench.tower import NODE, Tower

EXAMPLES: Final = Path(__file__).parents[2] / "examples" / "bundles"
TIMES: Final = 40
"""Spawns and preparations that are each measured alone."""

WITHIN_S: Final = 30.0
DEBOUNCE_S: Final = 0.2
"""Which the tower waits for more changes before it reads what was written."""


async def measure(options: Options) -> Part:
    part = Part()
    with machine.temporary_home() as home:
        bundle = _bundles(home)
        prepared = await _preparations(home, bundle)
        tower = Tower(home)
        try:
            tower.wait_caught_up()
            async with _client(tower) as client:
                told = Told()
                await client.subscribe(f"tower.evt.{NODE}.>", cb=told.take)
                commands = CommandClient(client, NODE, ids=SystemIds())
                first = [await _spawn(commands, told, each) for each in _copies(home)]
                spec = Spec(kind="request", url="", node=NODE, clients=1, run_s=options.run_s)
                call: Call = partial(_spawn, commands, told, "reviewer")
                runs = [await measured(spec, call) for _ in range(options.rounds)]
                warm = min(runs, key=lambda each: each.p50_ms)
                outcome = [await _accepted(commands, told, "reviewer") for _ in range(TIMES)]
                fence = run(Spec(kind="request", url=tower.operator_url, node=NODE, clients=1, run_s=options.run_s))
                reloads = [await _reload(told, bundle, number) for number in range(TIMES // 2)]
        finally:
            tower.stop()
    _show(part, prepared, first, outcome, warm, reloads)
    part.notes.append(f"one refused command alone, an event and its answer: p50 {ms(fence.p50_ms)} ms")
    return part


# --- the bundles ---------------------------------------------------------------------------------------------------


def _bundles(home: Path) -> Path:
    """The examples, of which the tower prepares one at its start."""
    shutil.copytree(EXAMPLES, home / "bundles")
    settings = home / "config" / "agenttower" / "agenttower.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"bundles: ['{home}/bundles/reviewer']\n")
    return home / "bundles" / "reviewer" / "bundle.md"


def _copies(home: Path) -> list[str]:
    """The same bundle at places that the tower does not know yet."""
    found: list[str] = []
    for number in range(TIMES):
        shutil.copytree(EXAMPLES, home / f"copy{number}")
        found.append(str(home / f"copy{number}" / "reviewer"))
    return found


async def _preparations(home: Path, bundle: Path) -> list[float]:
    """In this process, each time from the files."""
    took: list[float] = []
    for _ in range(TIMES):
        files = BundleFiles(home, SystemClock())
        began = time.perf_counter()
        await files.prepare(str(bundle))
        took.append(time.perf_counter() - began)
    return took


# --- through a tower -----------------------------------------------------------------------------------------------


class Told:
    """Waits for events of the tower, by the last two words of their subjects."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], asyncio.Future[float]] = {}

    async def take(self, message: Msg) -> None:
        *_, aggregate, event = message.subject.split(".")
        for key in ((aggregate, event), ("*", event)):
            waiting = self._waiting.pop(key, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(time.perf_counter())

    def event(self, aggregate: str, event: str) -> "asyncio.Future[float]":
        """When it came. `aggregate`: an id, or `*`."""
        future = self._waiting[aggregate, event] = asyncio.get_running_loop().create_future()
        return future


@contextlib.asynccontextmanager
async def _client(tower: Tower) -> AsyncIterator[WireClient]:
    client = await connect(tower.operator_url, name="bench")
    try:
        yield client
    finally:
        await client.close()


async def _spawn(commands: CommandClient, told: Told, bundle: str) -> float:
    """Seconds from the request to what its echo has said."""
    session_id = SystemIds().uuid7()
    end = told.event(session_id, "completed")
    began = time.perf_counter()
    await _ask(commands, bundle, session_id)
    async with asyncio.timeout(WITHIN_S):
        return await end - began


async def _accepted(commands: CommandClient, told: Told, bundle: str) -> float:
    """Seconds from the request to its outcome; what it says is waited for, so that nothing else runs meanwhile."""
    session_id = SystemIds().uuid7()
    end = told.event(session_id, "completed")
    began = time.perf_counter()
    await _ask(commands, bundle, session_id)
    took = time.perf_counter() - began
    async with asyncio.timeout(WITHIN_S):
        await end
    return took


async def _ask(commands: CommandClient, bundle: str, session_id: str) -> None:
    data: dict[str, Any] = {"bundle": bundle, "instruction": "hello", "session_id": session_id, "background": True}
    outcome = await commands.ask("session", "spawn", data)
    assert outcome["status"] == "accepted", msgspec.json.encode(outcome)


async def _reload(told: Told, bundle: Path, number: int) -> float:
    """Seconds from the end of a write to `bundle.reloaded`."""
    event = told.event("*", "reloaded")
    _write(bundle, number)
    began = time.perf_counter()
    async with asyncio.timeout(WITHIN_S):
        return await event - began


def _write(bundle: Path, number: int) -> None:
    bundle.write_text(f"{bundle.read_text()}\nNumber {number}.\n")


def _show(
    part: Part, prepared: list[float], first: list[float], outcome: list[float], warm: Figures, reloads: list[float]
) -> None:
    shown = table("Bundles and sessions of an echo", "", "p50 ms", "p99 ms", "/s")

    def row(name: str, took: list[float]) -> float:
        p50_ms = percentile(took, 0.5) * 1000
        shown.add_row(name, ms(p50_ms), ms(percentile(took, 0.99) * 1000), "")
        return p50_ms

    row("prepare the bundle reviewer from its files", prepared)
    row("spawn from a bundle that nobody has used, until it has answered", first)
    shown.add_row("spawn from a prepared one, until it has answered", ms(warm.p50_ms), ms(warm.p99_ms), rate(warm.rate))
    row("spawn from a prepared one, until it is accepted", outcome)
    reloaded_ms = row("from a write to bundle.reloaded", reloads)
    part.tables.append(shown)
    part.notes.append(f"a reload waits {DEBOUNCE_S * 1000:.0f} ms for further writes")
    part.notes.append("an answered spawn is five events in three appends, each synced before it counts")
    part.checks.append(
        Check("spawn of a prepared echo", "p50 20 ms", f"p50 {ms(warm.p50_ms)} ms", warm.p50_ms < 20),
    )
    slowest_ms = max(reloads) * 1000
    reached = f"p50 {ms(reloaded_ms)} ms, most {ms(slowest_ms)} ms"
    part.checks.append(Check("from a write to bundle.reloaded", "500 ms", reached, slowest_ms < 500))
