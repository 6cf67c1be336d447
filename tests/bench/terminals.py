"""What a person waits for: panes on a real tmux after a command, and the news of a death through HTTP."""

import asyncio
import os
import signal
import statistics
import time
from typing import Any

import httpx

from adapters.nats.client import CommandClient
from adapters.nats.connection import connect
from adapters.nats.log import JetStreamLog
from adapters.system import SystemIds
from domain.envelope import decode
from domain.layouts.events import PaneSpawned
from tests.bench.report import Check, Options, Part, ms, table
from tests.bench.tower import NODE, Tower, running, wait_until

TEMPLATE = "1m+2s"
PANES = 3
SPAWNED_MS = 100
DEATH_MS = 1000
TIMEOUT_S = 30.0


async def measure(options: Options) -> Part:
    layouts = 4 if options.rounds == 1 else 12
    os.environ["SHELL"] = "/bin/sh"  # a person's shell may take its time
    with running() as tower:
        spawned = await _spawned_ms(tower, layouts)
        deaths = _deaths_ms(tower, layouts)
    part = Part()
    shown = table(f"On a real tmux, {layouts} times", "what", "median ms", "slowest ms", "at most")
    for what, times, target in (
        (f"{TEMPLATE}: accepted to {PANES} panes spawned", spawned[1:], SPAWNED_MS),
        ("pane killed to its new state in HTTP", deaths, DEATH_MS),
    ):
        median = statistics.median(times)
        shown.add_row(what, ms(median), ms(max(times)), str(target))
        part.checks.append(Check(what, f"{target} ms", f"{ms(median)} ms", median < target))
    part.tables.append(shown)
    part.notes.append(f"the first layout, which starts the tmux server, took {ms(spawned[0])} ms")
    return part


async def _spawned_ms(tower: Tower, layouts: int) -> list[float]:
    """From the outcome of each `layout.create` to the event of its last pane, both as a client sees them."""
    client = await connect(tower.operator_url, name="bench")
    commands = CommandClient(client, NODE, ids=SystemIds())
    log = JetStreamLog(client, NODE)
    seen: asyncio.Queue[float] = asyncio.Queue()

    async def watch() -> None:
        async for batch in log.follow(await log.last_position()):
            for stored in batch:
                if isinstance(decode(stored).event, PaneSpawned):
                    seen.put_nowait(time.perf_counter())

    times: list[float] = []
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        for number in range(layouts):
            data = {"container_id": "host", "template_name": TEMPLATE, "tmux_session_name": f"bench-{number}"}
            outcome = await commands.ask("layout", "create", data)
            accepted = time.perf_counter()
            assert outcome["status"] == "accepted", outcome
            async with asyncio.timeout(TIMEOUT_S):
                spawned = [await seen.get() for _ in range(PANES)]
            times.append((spawned[-1] - accepted) * 1000)
        watching.cancel()
    await client.close()
    return times


def _deaths_ms(tower: Tower, count: int) -> list[float]:
    with tower.client() as http:
        wait_until(lambda: len(_panes(http, "ready")) >= PANES, TIMEOUT_S)
        wait_until(lambda: not _panes(http, "creating"), TIMEOUT_S)
        times: list[float] = []
        for pane in _panes(http, "ready")[:count]:
            os.kill(pane["pid"], signal.SIGKILL)
            killed = time.perf_counter()
            address = f"/v1/panes/{pane['id']}"
            wait_until(lambda: http.get(address).json()["state"] == "degraded", TIMEOUT_S)  # noqa: B023 (used at once)
            times.append((time.perf_counter() - killed) * 1000)
    return times


def _panes(http: httpx.Client, state: str) -> list[dict[str, Any]]:
    return http.get("/v1/panes", params={"state": state, "limit": 200}).json()["items"]
