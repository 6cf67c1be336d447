"""`python -m tests.bench`: everything, or the parts that are named."""

import argparse
import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

import structlog
import uvloop
from rich.console import Console

from tests.bench import background, doors, durable, executing, memory, peer, reading, spawning, starting, terminals
from tests.bench.report import Check, Options, Part, show, show_checks

WIDTH = 120
"""Of tables that go to a file."""

PARTS: dict[str, tuple[str, Callable[[Options], Awaitable[Part]]]] = {
    "doors": ("commands a second through both doors", doors.measure),
    "reading": ("state into memory and read models from the log", reading.measure),
    "starting": ("start with a past", starting.measure),
    "terminals": ("panes on tmux, deaths through HTTP", terminals.measure),
    "executing": ("code in workers, without a broker", executing.measure),
    "durable": ("executions from request to durable end", durable.measure),
    "spawning": ("bundles, and sessions spawned from them", spawning.measure),
    "background": ("background sessions and timers at rest, and how soon a run follows", background.measure),
    "memory": ("memory of a layout", memory.measure),
    "peer": ("the nearest peer", peer.measure),
}


def main() -> None:
    arguments = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    names = list(PARTS) if arguments.only is None else arguments.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise SystemExit(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    options = _options(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    checks: list[Check] = []
    console.print(f"{os.cpu_count()} processors, load before the start {os.getloadavg()[0]:.1f}", style="dim")
    for name in names:
        what, measure = PARTS[name]
        console.rule(f"{name}: {what}", align="left")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            part = runner.run(_awaited(measure, options))
        show(console, part)
        checks += part.checks
    show_checks(console, checks)
    console.print(f"load at the end {os.getloadavg()[0]:.1f}", style="dim")


async def _awaited(measure: Callable[[Options], Awaitable[Part]], options: Options) -> Part:
    return await measure(options)


def _arguments() -> argparse.Namespace:
    parts = "".join(f"\n  {name:10}{what}" for name, (what, _) in PARTS.items())
    parser = argparse.ArgumentParser(
        "python -m tests.bench",
        description=f"{__doc__}\n\nparts:{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="PART,…", help="these parts only")
    parser.add_argument("--quick", action="store_true", help="one short round each, smaller logs")
    parser.add_argument("--clients", metavar="N,…", help="numbers of clients at the doors (1,64,256)")
    parser.add_argument("--seconds", type=float, help="of one measurement (3)")
    parser.add_argument("--rounds", type=int, help="of which the best counts (3)")
    parser.add_argument("--subjects", type=int, help="of the filled log of the doors (200000); 0: only the empty one")
    parser.add_argument("--events", type=int, help="of the log that is replayed, projected and started on (100000)")
    parser.add_argument("--million", action="store_true", help="start with 1,000,000 events, too (some minutes)")
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> Options:
    base = Options(run_s=1.5, rounds=1, subjects=20_000, events=20_000) if arguments.quick else Options()
    given = {
        "clients": tuple(map(int, arguments.clients.split(","))) if arguments.clients else None,
        "run_s": arguments.seconds,
        "rounds": arguments.rounds,
        "subjects": arguments.subjects,
        "events": arguments.events,
        "million": arguments.million,
    }
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    return Options(**(fields | {name: value for name, value in given.items() if value is not None}))


if __name__ == "__main__":
    main()
