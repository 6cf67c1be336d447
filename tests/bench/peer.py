"""The nearest peer: the library `eventsourcing` on SQLite, as many commands, decided and stored one after another.

It decides in the caller's own process and thread, so it is compared with one client and with many of the tower, which
pay for a broker, a second process and an answer, and get a log that others can follow.
"""

import importlib.util
import os
import time
from importlib import import_module

from tests.bench import machine
from tests.bench.client import Spec
from tests.bench.doors import run
from tests.bench.report import Options, Part, rate, table
from tests.bench.tower import NODE, running

COMMANDS = 3000
PEER = "eventsourcing"


async def measure(options: Options) -> Part:
    if importlib.util.find_spec(PEER) is None:
        return Part(notes=[f"the library {PEER} is not installed: pip install '.[bench]'"])
    part = Part()
    shown = table("Beside eventsourcing on SQLite", "what", "clients", "commands", "commands/s")
    theirs = max(_theirs(COMMANDS) for _ in range(options.rounds))
    shown.add_row("eventsourcing, SQLite, in the caller's process", "1", f"{COMMANDS:,}", rate(theirs))
    with running() as tower:
        for clients in (1, 64):
            spec = Spec(kind="request", url=tower.operator_url, node=NODE, clients=clients, run_s=options.run_s)
            ours = max((run(spec) for _ in range(options.rounds)), key=lambda each: each.rate)
            shown.add_row("agenttower, request door", str(clients), f"{ours.count:,}", rate(ours.rate))
    part.tables.append(shown)
    part.notes.append("eventsourcing: a new aggregate a command, one transaction each, with its own settings of SQLite")
    return part


def _theirs(commands: int) -> float:
    application_module, domain_module = import_module(f"{PEER}.application"), import_module(f"{PEER}.domain")
    aggregate = domain_module.Aggregate
    with machine.temporary_home() as folder:
        os.environ["PERSISTENCE_MODULE"] = "eventsourcing.sqlite"
        os.environ["SQLITE_DBNAME"] = str(folder / "peer.sqlite")
        application = application_module.Application()
        application.save(aggregate())
        started = time.perf_counter()
        for _ in range(commands):
            application.save(aggregate())
        elapsed = time.perf_counter() - started
        application.close()
    return commands / elapsed
