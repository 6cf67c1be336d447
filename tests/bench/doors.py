"""Both doors under load from another process, on an empty log and on one with a long past.

The command is `pane.remove` of an unknown pane: decided, refused, recorded as an event with fsync, answered.
"""

import subprocess
import sys

import msgspec
import nats
from nats.js.api import StorageType, StreamConfig

from tests.bench import history, machine
from tests.bench.client import RAW_STREAM, RAW_SUBJECT, Figures, Kind, Spec
from tests.bench.report import Check, Options, Part, ms, rate, table
from tests.bench.tower import NODE, Tower, running

DOORS: tuple[Kind, ...] = ("request", "durable")
RAW: dict[Kind, Kind] = {"request": "raw-request", "durable": "raw-publish"}
COUNTED_S = 1.0

Results = dict[tuple[str, int], Figures]


class Measured(msgspec.Struct, frozen=True):
    """Figures by (kind, clients), and syncs to disk a command by the same where they could be counted."""

    figures: Results
    syncs: dict[tuple[str, int], float]
    setting: str


async def measure(options: Options) -> Part:
    part = Part()
    with running() as tower:
        empty = await _measure(tower, options)
    _show(part, "empty log", empty, options)
    filled_too: Measured | None = None
    if options.subjects:
        with machine.temporary_home() as filled:
            past = await history.fill(filled, NODE, subjects=options.subjects)
            with running(filled) as tower:
                filled_too = await _measure(tower, options)
        _show(part, f"log of {past.events:,} events, {past.subjects:,} subjects", filled_too, options)
    part.notes += _notes(empty, options)
    part.checks += _checks(empty, filled_too, options)
    return part


async def _measure(tower: Tower, options: Options) -> Measured:
    figures: Results = {}
    await _make_raw_stream(tower)
    watched = {"tower": tower.pid, "broker": tower.broker_pid}
    with _Echo(tower):
        for clients in options.clients:
            kinds: list[Kind] = [*DOORS, *RAW.values()]
            if clients == 1:
                kinds.append("raw-fenced")
            for _ in range(options.rounds):
                for kind in kinds:
                    found = run(_spec(tower, kind, clients, options.run_s, watched))
                    tower.wait_caught_up()
                    best = figures.get((kind, clients))
                    if best is None or found.rate > best.rate:
                        figures[kind, clients] = found
    syncs = {
        (door, clients): count
        for door in DOORS
        for clients in options.clients
        if (count := _syncs(tower, door, clients)) is not None
    }
    return Measured(figures, syncs, machine.sync_setting(tower.home))


def run(spec: Spec) -> Figures:
    """One load in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.client", msgspec.json.encode(spec).decode()]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=spec.warm_s + spec.run_s + 120)
    return msgspec.json.decode(done.stdout, type=Figures)


def _spec(tower: Tower, kind: Kind, clients: int, run_s: float, watched: dict[str, int]) -> Spec:
    url = tower.tower_url if kind.startswith("raw") else tower.operator_url
    return Spec(kind=kind, url=url, node=NODE, clients=clients, run_s=run_s, watched=watched)


def _syncs(tower: Tower, door: Kind, clients: int) -> float | None:
    """Syncs to disk a command. Counted apart from the timed runs: tracing slows the broker down."""
    syncs = machine.Syncs(tower.broker_pid)
    try:
        if not syncs.start():
            return None
        done = run(msgspec.structs.replace(_spec(tower, door, clients, COUNTED_S, {}), warm_s=0.0))
        return syncs.stop() / max(1, done.count)
    finally:
        syncs.close()
        tower.wait_caught_up()


async def _make_raw_stream(tower: Tower) -> None:
    client = await nats.connect(tower.tower_url)
    config = StreamConfig(name=RAW_STREAM, subjects=[RAW_SUBJECT], storage=StorageType.FILE)
    await client.jetstream().add_stream(config)
    await client.close()


class _Echo:
    """A plain nats-py responder in its own process: the other end of the raw requests."""

    def __init__(self, tower: Tower) -> None:
        spec = Spec(kind="echo", url=tower.tower_url, node=NODE, clients=0)
        argv = [sys.executable, "-m", "tests.bench.client", msgspec.json.encode(spec).decode()]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_exc: object) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def _show(part: Part, log: str, measured: Measured, options: Options) -> None:
    columns = ("clients", "/s", "p50 ms", "p99 ms", "raw /s", "of raw", "syncs", "tower µs", "broker µs", "client µs")
    shown = table(f"Doors, {log}", "door", *columns, "others")
    for door in DOORS:
        for clients in options.clients:
            ours, raw = measured.figures[door, clients], measured.figures[RAW[door], clients]
            syncs = measured.syncs.get((door, clients))
            shown.add_row(
                door,
                str(clients),
                rate(ours.rate),
                ms(ours.p50_ms),
                ms(ours.p99_ms),
                rate(raw.rate),
                f"{ours.rate / raw.rate:.2f}",
                "?" if syncs is None else f"{syncs:.2f}",
                *(f"{ours.cores[name] / ours.rate * 1e6:.0f}" for name in ("tower", "broker", "client")),
                f"{ours.cores['others']:.1f}",
            )
    part.tables.append(shown)


def _notes(measured: Measured, options: Options) -> list[str]:
    runs = f"best of {options.rounds} runs of {options.run_s:g} s, clients in another process"
    raw = "stock nats-py on the same broker; request door: request and reply, durable door: publish and acknowledgement"
    syncs = "calls of fsync a command; an atomic batch takes 4 of them in the broker, 3 of these in memory"
    notes = [
        f"broker: sync_interval {measured.setting}; {runs}",
        f"raw: {raw}",
        f"syncs: {syncs}",
        "µs: processor time a command; others: cores busy with other work",
    ]
    fenced = measured.figures.get(("raw-fenced", 1))
    if fenced is not None:
        notes.append(
            f"raw nats-py, fenced publish with acknowledgement, one at a time: {rate(fenced.rate)}/s, "
            f"p50 {ms(fenced.p50_ms)} ms"
        )
    if not measured.syncs:
        notes.append("syncs to disk could not be counted: strace is missing or may not trace")
    return notes


def _checks(empty: Measured, filled: Measured | None, options: Options) -> list[Check]:
    checks: list[Check] = []

    def check(door: str, clients: int, least: float, p99_ms: float | None) -> None:
        found = empty.figures.get((door, clients))
        if found is None:
            return
        target = f"{rate(least)}/s" + (f", p99 {p99_ms:g} ms" if p99_ms else "")
        met = found.rate >= least and (p99_ms is None or found.p99_ms < p99_ms)
        reached = f"{rate(found.rate)}/s, p99 {ms(found.p99_ms)} ms"
        checks.append(Check(f"{door} door, {clients} clients", target, reached, met))

    check("request", 64, 4000, 40)
    check("request", 256, 7000, None)
    check("durable", 64, 2000, 100)
    for door in DOORS:
        if (alone := empty.figures.get((door, 1))) is not None:
            reached = f"p50 {ms(alone.p50_ms)} ms"
            checks.append(Check(f"{door} door, one command alone", "p50 2 ms", reached, alone.p50_ms < 2))
    if filled is not None:
        ratios = {key: filled.figures[key].rate / empty.figures[key].rate for key in empty.figures if key[0] in DOORS}
        for (door, clients), ratio in ratios.items():
            what = f"{door} door, {clients} clients, {options.subjects:,} subjects"
            checks.append(Check(what, "80% of empty", f"{ratio * 100:.0f}%", ratio >= 0.8))
    return checks
