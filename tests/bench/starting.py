"""How long a start takes, from the process to its readiness, with and without a snapshot."""

from pathlib import Path

from tests.bench import history, machine
from tests.bench.report import Check, Options, Part, ms, table
from tests.bench.tower import NODE, Tower

MILLION = 1_000_000
TARGET_S = 3.0
TIMEOUT_S = 900.0


async def measure(options: Options) -> Part:
    part = Part()
    shown = table("Start of a tower", "log", "snapshot", "ready after s", "processor s")
    with machine.temporary_home() as home:
        shown.add_row("empty", "none", *map(ms, _start(home)))
    sizes = [options.events, *([MILLION] if options.million else [])]
    for size in sizes:
        with machine.temporary_home() as home:
            past = await history.fill(home, NODE, events=size)
            log = f"{past.events:,} events"
            shown.add_row(log, "none", *map(ms, _start(home)))
            reached = min(_start(home) for _ in range(options.rounds))
            shown.add_row(log, "written at the last stop", *map(ms, reached))
            what = f"start with {past.events:,} events and a snapshot"
            part.checks.append(Check(what, f"{TARGET_S:g} s", f"{ms(reached[0])} s", reached[0] < TARGET_S))
    part.tables.append(shown)
    part.notes.append("the whole process: Python, broker, streams, state, recovery, read models, HTTP")
    if not options.million:
        part.notes.append(f"--million starts with {MILLION:,} events, too")
    return part


def _start(home: Path) -> tuple[float, float]:
    """Seconds to readiness, and of processor time until then. The read models catch up and the stop is clean, so that
    the next start finds a snapshot."""
    tower = Tower(home, start_timeout_s=TIMEOUT_S)
    try:
        tower.wait_caught_up()
        return tower.ready_s, tower.ready_cpu_s
    finally:
        tower.stop()
