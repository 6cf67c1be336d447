"""Background sessions: what 200 of them with 1,000 timers cost while nothing happens, and how soon a run follows."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from adapters.nats.client import CommandClient
from adapters.nats.connection import connect, js_api
from adapters.nats.subjects import timers_stream
from adapters.nats.wire import WireClient
from adapters.system import SystemIds
from tests.bench import machine
from tests.bench.executing import percentile
from tests.bench.report import Check, Options, Part, ms, table
from tests.bench.tower import NODE, Tower
from tests.waiting import eventually

SESSIONS: Final = 200
TIMERS_EACH: Final = 5
WITHIN_S: Final = 60.0
SETTLE_S: Final = 3.0
IDLE_S: Final = 15.0
EMITS: Final = 60

PARENT: Final = {"bundle": {"name": "parent"}, "runtime": {"kind": "echo"}}


async def measure(options: Options) -> Part:
    part = Part()
    with machine.temporary_home() as home:
        _settings(home)
        tower = Tower(home)
        try:
            tower.wait_caught_up()
            client = await connect(tower.operator_url, name="bench")
            try:
                commands = CommandClient(client, NODE, ids=SystemIds())
                await _idle(part, tower, client, commands, min(IDLE_S, options.run_s * 5))
                await _soon(part, client, commands)
            finally:
                await client.close()
        finally:
            tower.stop()
    return part


def _settings(home: Path) -> None:
    """With the bundle of the runs."""
    (home / "echo.yaml").write_text("bundle: {name: echo}\nruntime: {kind: echo}\n")
    settings = home / "config" / "agenttower" / "agenttower.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"bundles: ['{home}/echo.yaml']\n")


async def _idle(part: Part, tower: Tower, client: WireClient, commands: CommandClient, seconds: float) -> None:
    running, all_run = 0, asyncio.Event()

    async def count(_message: Any) -> None:
        nonlocal running
        running += 1
        if running == SESSIONS:
            all_run.set()

    await client.subscribe(f"tower.evt.{NODE}.background.*.running", cb=count)
    timer = {"type": "timer", "config": {"interval_seconds": 3600}}
    listens = {"type": "session_event", "config": {"event_names": ["never:told"]}}
    declared = [
        {"name": f"bg{number}", "bundle": "echo", "triggers": [listens, *([timer] * TIMERS_EACH)]}
        for number in range(SESSIONS)
    ]
    began = time.perf_counter()
    # As many as fit into one command.
    for first in range(0, SESSIONS, 100):
        bundle = {**PARENT, "background_sessions": declared[first : first + 100]}
        await _accepted(commands, "session", "spawn", {"bundle": bundle, "instruction": "hello", "background": True})
    async with asyncio.timeout(WITHIN_S):
        await all_run.wait()
    begun_s = time.perf_counter() - began
    await _all_scheduled(tower)
    scheduled_s = time.perf_counter() - began
    await asyncio.sleep(SETTLE_S)
    pids = {"the tower": tower.pid, "its broker": tower.broker_pid}
    before = {name: machine.cpu_s(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    used = {name: (machine.cpu_s(pid) - before[name]) / seconds for name, pid in pids.items()}
    shown = table(f"{SESSIONS} background sessions, {SESSIONS * TIMERS_EACH} timers, nothing happens", "", "of a core")
    for name, share in used.items():
        shown.add_row(name, f"{share * 100:.1f}%")
    part.tables.append(shown)
    part.notes.append(f"all watched after {begun_s:.1f} s, all timers at the broker after {scheduled_s:.1f} s")
    whole = sum(used.values())
    what = f"{SESSIONS * TIMERS_EACH} timers and {SESSIONS} background sessions at rest"
    part.checks.append(Check(what, "under 5% of a core", f"{whole * 100:.1f}%", whole < 0.05))


async def _all_scheduled(tower: Tower) -> None:
    """Until the broker holds a schedule of each timer."""
    client = await connect(tower.tower_url, name="bench-tower")
    try:

        async def all_held() -> bool:
            request = {"subjects_filter": f"tower.timer.{NODE}.tick.>"}
            info = await js_api(client, f"STREAM.INFO.{timers_stream(NODE)}", request)
            return len(info["state"].get("subjects") or {}) >= SESSIONS * TIMERS_EACH

        await eventually(all_held, "the broker holds a schedule of each timer", timeout_s=WITHIN_S)
    finally:
        await client.close()


async def _soon(part: Part, client: WireClient, commands: CommandClient) -> None:
    """From the time of an event to that of the first turn of the run that it triggers, one at a time."""
    started: asyncio.Queue[float] = asyncio.Queue()

    async def take(_message: Any) -> None:
        started.put_nowait(time.perf_counter())

    one = {"name": "soon", "bundle": "echo", "instruction": "go"}
    one["triggers"] = [{"type": "session_event", "config": {"event_names": ["bench:go"]}}]  # pyright: ignore[reportArgumentType]
    bundle = {**PARENT, "background_sessions": [one]}
    await _accepted(commands, "session", "spawn", {"bundle": bundle, "instruction": "hello", "background": True})
    ended: asyncio.Queue[None] = asyncio.Queue()

    async def end(_message: Any) -> None:
        ended.put_nowait(None)

    await client.subscribe(f"tower.evt.{NODE}.session.*.turn_started", cb=take)
    await client.subscribe(f"tower.evt.{NODE}.background.*.run_ended", cb=end)
    took: list[float] = []
    for number in range(EMITS):
        while not started.empty():
            started.get_nowait()
        await _accepted(commands, "session", "emit", {"name": "bench:go", "data": {"n": number}})
        committed = time.perf_counter()
        async with asyncio.timeout(WITHIN_S):
            took.append(max(0.0, await started.get() - committed))
            await ended.get()
    p50_ms, p99_ms = percentile(took, 0.5) * 1000, percentile(took, 0.99) * 1000
    shown = table("From an event's commit to the start of its run", "", "p50 ms", "p99 ms")
    shown.add_row("an echo, one at a time", ms(p50_ms), ms(p99_ms))
    part.tables.append(shown)
    part.checks.append(Check("from an event to the start of its run", "p50 50 ms", f"p50 {ms(p50_ms)} ms", p50_ms < 50))


async def _accepted(commands: CommandClient, noun: str, verb: str, data: dict[str, Any]) -> None:
    outcome = await commands.ask(noun, verb, data, timeout_s=WITHIN_S)
    assert outcome["status"] == "accepted", outcome
