"""Executions through a tower, and its nearest peer: from the request to a durable end, `1+1` each, in warm sessions."""

from typing import Final

from tests.bench import machine
from tests.bench.client import Figures, Spec
from tests.bench.doors import run
from tests.bench.peers import figures_of
from tests.bench.report import Check, Options, Part, ms, rate, table
from tests.bench.tower import NODE, running

SESSIONS: Final = (1, 8, 64)
PEER_RUNS: Final = 600


async def measure(options: Options) -> Part:
    part = Part()
    ours: dict[int, Figures] = {}
    with running() as tower:
        watched = {"tower": tower.pid, "broker": tower.broker_pid}
        setting = machine.sync_setting(tower.home)
        for sessions in SESSIONS:
            spec = Spec(
                kind="execution",
                url=tower.operator_url,
                node=NODE,
                clients=sessions,
                run_s=options.run_s,
                watched=watched,
            )
            ours[sessions] = max((run(spec) for _ in range(options.rounds)), key=lambda each: each.rate)
        fence = run(Spec(kind="request", url=tower.operator_url, node=NODE, clients=1, run_s=options.run_s))
    with machine.temporary_home() as folder:
        peer = figures_of("durable_workflows", str(PEER_RUNS), str(folder))
    shown = table("Durable executions", "what", "sessions", "/s", "p50 ms", "p99 ms", "tower µs", "broker µs", "others")
    for sessions, found in ours.items():
        shown.add_row(
            "agenttower, another process",
            str(sessions),
            rate(found.rate),
            ms(found.p50_ms),
            ms(found.p99_ms),
            *(f"{found.cores[name] / found.rate * 1e6:.0f}" for name in ("tower", "broker")),
            f"{found.cores['others']:.1f}",
        )
    for sessions, theirs in ({} if peer is None else peer["rates"]).items():
        alone = (ms(peer["p50_ms"]), ms(peer["p99_ms"])) if peer is not None and sessions == "1" else ("", "")
        shown.add_row("DBOS on SQLite, in the caller's process", sessions, rate(theirs), *alone, "", "", "")
    part.tables.append(shown)
    part.notes.append(f"broker: sync_interval {setting}; each execution is three events, each synced before it counts")
    part.notes.append(f"one refused command alone, an event and its answer: p50 {ms(fence.p50_ms)} ms")
    if peer is None:
        part.notes.append("the library dbos is not installed: pip install '.[bench]'")
    alone, many = ours[1], ours[64]
    part.checks.append(Check("durable execution alone", "p50 5 ms", f"p50 {ms(alone.p50_ms)} ms", alone.p50_ms < 5))
    part.checks.append(Check("durable executions, 64 sessions", "1,000/s", f"{rate(many.rate)}/s", many.rate >= 1000))
    return part
