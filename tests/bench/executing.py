"""Code in a worker, in the caller's own process: latency, starts, output, cancels, beside a bare worker of the standard
library, which is the floor."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from struct import Struct
from typing import Final

from adapters.executing.local import LocalEngine
from adapters.executing.output import Chunk
from adapters.executing.pool import Pool
from adapters.executing.process import WorkerSettings
from adapters.executing.sources import Source
from tests.bench.peers import figures_of
from tests.bench.report import Check, Options, Part, ms, rate, table
from tests.waiting import eventually

MB: Final = 1_000_000
OUTPUT_BYTES: Final = 100 * MB
SESSIONS: Final = (1, 8, 64)
LINES: Final = "line = 'x' * 79\nfor _ in range({count}): print(line)"
WRITES: Final = "import os\nblock = b'x' * 65_536\nfor _ in range({count}): os.write(1, block)"

CANCELS: Final = {
    "a loop": "while True: pass",
    "a sleep": "import time\ntime.sleep(1000)",
    "an await": "import asyncio\nawait asyncio.sleep(1000)",
    "a C loop": "sum(range(10 ** 15))",
}

BARE: Final = """
import json, os, socket, struct, sys
peer = socket.socket(fileno=int(sys.argv[1]))
names = {}
while True:
    head = peer.recv(4, socket.MSG_WAITALL)
    if not head: break
    frame = json.loads(peer.recv(struct.unpack('>I', head)[0], socket.MSG_WAITALL))
    data = json.dumps({'id': frame['id'], 'value': eval(frame['code'], names)}).encode()
    peer.sendall(struct.pack('>I', len(data)) + data)
"""
HEADER: Final = Struct(">I")


async def measure(options: Options) -> Part:
    part = Part()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = WorkerSettings(working_dir=folder)
        await _latency(part, options, settings)
        await _starts(part, options, settings)
        await _output(part, options, settings)
        await _cancels(part, options, settings)
        await _sessions(part, options, settings)
    _peer(part, options)
    part.notes.append("local: no broker, no log; the engine in this process, the code in its worker")
    return part


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


# --- a bare worker -------------------------------------------------------------------------------------------------


class Bare:
    """A socketpair, frames of JSON, `eval`: nothing else."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", BARE, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        ours.setblocking(False)
        self._socket = ours

    async def execute(self, code: str) -> object:
        loop = asyncio.get_running_loop()
        data = json.dumps({"id": "1", "code": code}).encode()
        await loop.sock_sendall(self._socket, HEADER.pack(len(data)) + data)
        (length,) = HEADER.unpack(await loop.sock_recv(self._socket, HEADER.size))
        return json.loads(await loop.sock_recv(self._socket, length))["value"]

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@contextlib.asynccontextmanager
async def _engine(settings: WorkerSettings, workers: Source | None = None) -> AsyncIterator[LocalEngine]:
    async with LocalEngine(settings, workers=workers) as engine:
        yield engine


# --- measurements --------------------------------------------------------------------------------------------------


async def _latency(part: Part, options: Options, settings: WorkerSettings) -> None:
    shown = table("1 + 1 in a warm worker", "", "p50 ms", "p99 ms", "a second")

    async def row(name: str, once: Callable[[], Awaitable[object]]) -> float:
        best: list[float] = []
        for _ in range(options.rounds):
            took: list[float] = []
            until = time.perf_counter() + options.run_s
            while time.perf_counter() < until:
                took.append(await _timed(once))
            if not best or percentile(took, 0.5) < percentile(best, 0.5):
                best = took
        p50 = percentile(best, 0.5)
        shown.add_row(name, ms(p50 * 1000), ms(percentile(best, 0.99) * 1000), rate(len(best) / sum(best)))
        return p50

    bare = Bare()
    try:
        await row("a bare worker of the standard library", lambda: bare.execute("1 + 1"))
    finally:
        bare.close()
    async with _engine(settings) as engine:
        await engine.execute("1")
        p50 = await row("this engine, local", lambda: engine.execute("1 + 1"))
    part.tables.append(shown)
    part.checks.append(Check("1 + 1, local, p50", "0.6 ms", f"{ms(p50 * 1000)} ms", p50 < 0.0006))


async def _starts(part: Part, options: Options, settings: WorkerSettings) -> None:
    shown = table("From nothing to the first result", "", "p50 ms", "best ms")
    times = 10 * options.rounds

    async def bare() -> None:
        worker = Bare()
        try:
            await worker.execute("1 + 1")
        finally:
            worker.close()

    async def cold() -> float:
        async with _engine(settings) as engine:
            return await _timed(lambda: engine.execute("1 + 1"))

    async def pooled(pool: Pool) -> float:
        await eventually(lambda: pool.counts.idle >= 2, "workers that wait")
        async with _engine(settings, pool) as engine:
            return await _timed(lambda: engine.execute("1 + 1"))

    found = {"a bare worker": [await _timed(bare) for _ in range(times)]}
    found["this engine, cold"] = [await cold() for _ in range(times)]
    async with Pool(settings) as pool:
        found["this engine, from the pool"] = [await pooled(pool) for _ in range(times)]
    for name, took in found.items():
        shown.add_row(name, ms(percentile(took, 0.5) * 1000), ms(min(took) * 1000))
    part.tables.append(shown)
    for name, target_ms in (("this engine, cold", 60), ("this engine, from the pool", 2)):
        p50_ms = percentile(found[name], 0.5) * 1000
        part.checks.append(Check(f"first result, {name}", f"{target_ms} ms", f"{ms(p50_ms)} ms", p50_ms < target_ms))


async def _output(part: Part, options: Options, settings: WorkerSettings) -> None:
    shown = table(f"{OUTPUT_BYTES // MB} MB of output", "", "MB/s", "grows the parent by MB")
    for name, code, size, target in (("80-byte lines", LINES, 80, 25), ("64 KiB writes", WRITES, 65_536, 500)):
        best, grown = 0.0, 0
        for _ in range(options.rounds):
            count = 0

            async def take(chunk: Chunk) -> None:
                nonlocal count
                count += len(chunk.text)

            engine = LocalEngine(settings, on_output=take)
            async with engine:
                await engine.execute("1")
                before = _resident_bytes()
                wanted = OUTPUT_BYTES // size
                took_s = await _timed(lambda: engine.execute(code.format(count=wanted)))  # noqa: B023
                grown = max(grown, _resident_bytes() - before)
                if count != wanted * size:
                    raise RuntimeError(f"{wanted * size - count} bytes are lost")
            best = max(best, count / took_s / MB)
        shown.add_row(name, rate(best), f"{grown / MB:.1f}")
        part.checks.append(Check(f"output in {name}", f"{target} MB/s", f"{rate(best)} MB/s", best >= target))
    part.tables.append(shown)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def _cancels(part: Part, options: Options, settings: WorkerSettings) -> None:
    shown = table("Cancel, until its end is told", "of", "p50 ms", "most ms")
    started = Path(settings.working_dir) / "started"
    for name, code in CANCELS.items():
        took: list[float] = []
        async with _engine(settings) as engine:
            for _ in range(3 * options.rounds):
                await engine.execute("import os")
                running = asyncio.create_task(engine.execute(f"os.mkdir('started')\n{code}", execution_id="long"))
                await eventually(started.exists, "the start")
                started.rmdir()
                # Into the code itself, past the line that said so.
                await asyncio.sleep(0.01)
                began = time.perf_counter()
                await engine.cancel("long")
                await running
                took.append(time.perf_counter() - began)
        shown.add_row(name, ms(percentile(took, 0.5) * 1000), ms(max(took) * 1000))
        target_ms = 100 if name != "a C loop" else 1_000
        p50_ms = percentile(took, 0.5) * 1000
        part.checks.append(Check(f"cancel of {name}", f"{target_ms} ms", f"{ms(p50_ms)} ms", p50_ms < target_ms))
    part.tables.append(shown)
    part.notes.append("a C loop ignores the interrupt: after the grace of 500 ms its worker is killed")


async def _sessions(part: Part, options: Options, settings: WorkerSettings) -> None:
    shown = table("Sessions beside each other, 1 + 1 each", "sessions", "executions/s")

    async def busy(engine: LocalEngine, until: float) -> int:
        count = 0
        while time.perf_counter() < until:
            await engine.execute("1 + 1")
            count += 1
        return count

    for sessions in SESSIONS:
        async with contextlib.AsyncExitStack() as stack:
            engines = [await stack.enter_async_context(_engine(settings)) for _ in range(sessions)]
            await asyncio.gather(*(engine.execute("1") for engine in engines))
            began = time.perf_counter()
            counts = await asyncio.gather(*(busy(engine, began + options.run_s) for engine in engines))
            shown.add_row(str(sessions), rate(sum(counts) / (time.perf_counter() - began)))
    part.tables.append(shown)


def _peer(part: Part, options: Options) -> None:
    found = figures_of("jupyter", str(100 * options.rounds), str(OUTPUT_BYTES // MB))
    if found is None:
        part.notes.append("ipykernel and jupyter_client are not installed: pip install '.[bench]'")
        return
    shown = table("The same of ipykernel, through jupyter_client", "", "")

    def row(name: str, value: float | None, unit: str) -> None:
        shown.add_row(name, "never" if value is None else f"{ms(value)} {unit}")

    row("1 + 1, p50", found["p50_ms"], "ms")
    row("1 + 1, p99", found["p99_ms"], "ms")
    row("from nothing to the first result", found["cold_ms"], "ms")
    for name in ("loop", "sleep", "await"):
        row(f"an interrupt ends a cell that is in {name}", found[f"cancel_{name}_ms"], "ms")
    row("80-byte lines", found.get("lines_mb_s"), "MB/s")
    row("64 KiB writes", found.get("blocks_mb_s"), "MB/s")
    for sessions, each in found["rates"].items():
        row(f"{sessions} sessions, executions/s", each, "")
    part.tables.append(shown)
