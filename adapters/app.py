"""The composition root: builds one tower from its settings, starts its parts in order, and ends them in order.

Broker, streams, state in memory, claim, recovery, effects, read models, HTTP; then the doors open and the tower is
ready. Panes outlive it.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec
import structlog

from adapters.engine import Engine
from adapters.files.atomic import write_private
from adapters.files.launch_rows import LaunchRows
from adapters.http import bench_socket
from adapters.http.app import create_app, create_bench_app
from adapters.http.readiness import Readiness
from adapters.http.server import HttpServer, bind
from adapters.http.services import HttpServices
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import check_broker, connect, without_credentials
from adapters.nats.doors import ask_ping
from adapters.nats.log import Store, UnknownStore
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.output import MIB
from adapters.nats.output_feed import OutputFeed
from adapters.nats.rpc_door import RpcDoor
from adapters.nats.streams import ensure_streams
from adapters.nats.subscribing import subscribers
from adapters.parts import Connections, Parts
from adapters.rpc.calling import Calls
from adapters.settings import Settings
from adapters.sql import open_database
from adapters.system import SystemClock, SystemIds
from adapters.telemetry import Metrics
from adapters.tmux.terminals import tmux_version
from domain.scoping import container_of
from projections.ports import DatabaseTrouble
from projections.projector import Projector
from projections.read_models import ReadModels

_log = structlog.get_logger("tower")


class TowerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `tower.json` holds while the tower runs. `http` and `nats` are URLs, `tmux` the path of its socket."""

    pid: int
    node: str
    http: str
    nats: str
    tmux: str


class CannotStart(Exception):
    """Why this tower cannot run here, for a person to act on."""


async def run_tower(
    settings: Settings,
    *,
    on_ready: Callable[[TowerInfo], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run a tower until `stop` is set. Raises `CannotStart`, `SteppedDown`, or what ended a part of it."""
    stop = stop or asyncio.Event()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    await tmux_version()
    async with AsyncExitStack() as stack:
        listening = bind(settings.http_host, settings.http_port)
        stack.callback(listening.close)
        bench = bench_socket.path_in(settings.home)
        bench_listening = _bind_bench(bench)
        stack.callback(bench_socket.remove_bench, bench, bench_listening)
        connections = await _connect(settings, stack)
        metrics = Metrics()
        engine = Engine(settings, connections, metrics)
        stack.push_async_callback(engine.terminals.close)
        stack.callback(engine.triggers.close)
        database = open_database(settings.database_url, node=settings.node)
        stack.push_async_callback(database.close)
        async with Parts() as parts:
            projector = Projector(database, engine.log)
            with contextlib.suppress(DatabaseTrouble):
                await projector.prepare()
            metrics.follow_projections(lambda: {status.name: status.position for status in projector.progress})
            parts.own(projector.run(), "projector")
            await engine.start(parts)
            read_models = ReadModels(database, projector.progress, engine.log.last_position)
            services = _services(settings, engine, read_models, metrics, connections)
            bench_http = HttpServer(create_bench_app(services), bench_listening, url=f"unix:{bench}")
            async with bench_http, HttpServer(create_app(services), listening) as http:
                info = TowerInfo(
                    pid=os.getpid(),
                    node=settings.node,
                    http=http.url,
                    nats=without_credentials(connections.operator_url),
                    tmux=str(settings.tmux_socket),
                )
                parts.own(http.wait(), "http")
                parts.own(bench_http.wait(), "bench socket")
                await engine.open_doors(parts)
                rpc_door = _rpc_door(settings, engine, read_models, connections)
                await rpc_door.open()
                with _announced(settings.home, info, connections.operator_url):
                    _log.info("ready", http=info.http)
                    if on_ready is not None:
                        on_ready(info)
                    await stop.wait()
                    _log.info("stopping")
                    http.refuse_commands()
                    bench_http.refuse_commands()
                    await rpc_door.close()
                    await engine.stop()


def _services(
    settings: Settings, engine: Engine, read_models: ReadModels, metrics: Metrics, connections: Connections
) -> HttpServices:
    return HttpServices(
        read_models=read_models,
        ask=engine.asker.ask,
        ids=SystemIds(),
        follow=engine.log.follow,
        last_position=engine.log.last_position,
        ready=Readiness(read_models.projections, engine.log.last_position, engine.log.get, SystemClock()),
        launching=LaunchRows(engine.launching),
        logs=engine.logs,
        outputs=partial(OutputFeed, connections.tower, settings.node),
        bundle=engine.bundles.serving,
        execution=engine.execution,
        session=engine.session,
        blob=engine.executions.blobs.path,
        transcript=engine.sessions.transcripts.load,
        node=settings.node,
        token=http_token(settings.home),
        hook=engine.triggers.hook,
        metrics=metrics.registry,
        now=SystemClock().now,
        bound_host=settings.http_host,
        containers=lambda: engine.writer.ledger.tower.containers.known,
        container_of=lambda event: container_of(event, engine.writer.ledger.tower),
        subscribers=engine.subscribers,
        watching=engine.triggers.triggering.how,
        consumers=partial(subscribers, connections.tower, settings.node),
    )


def _rpc_door(settings: Settings, engine: Engine, read_models: ReadModels, connections: Connections) -> RpcDoor:
    calls = Calls(ask=engine.asker.ask, read_models=read_models, ids=SystemIds())
    outcomes = InboxOutcomes(connections.answers, settings.node)
    return RpcDoor(connections.tower, settings.node, calls.call, outcomes)


def _bind_bench(path: Path) -> socket.socket:
    try:
        return bench_socket.bind_bench(path)
    except OSError as error:
        raise CannotStart(f"the bench socket {path} cannot be made: {error}") from error


async def _connect(settings: Settings, stack: AsyncExitStack) -> Connections:
    """To the embedded broker, started here, or to the one in the settings; streams are created or verified."""
    store: Store = UnknownStore()
    if settings.nats_url is None:
        in_memory = settings.nats_staging == "memory"
        broker = await stack.enter_async_context(
            EmbeddedBroker(settings.home, settings.node, listen=settings.nats_listen, stage_in_memory=in_memory)
        )
        urls, store = (broker.tower_url, broker.answers_url, broker.operator_url), broker
    else:
        urls = settings.nats_url, settings.nats_answers_url or settings.nats_url, settings.nats_url
    tower = await connect(urls[0], name="tower")
    stack.push_async_callback(tower.close)
    answers = await connect(urls[1], name="tower-answers")
    stack.push_async_callback(answers.close)
    await check_broker(tower)
    await ensure_streams(tower, settings.node, output_max_bytes=settings.output_max_mb * MIB)
    other = await ask_ping(tower, settings.node)
    if other is not None:
        raise CannotStart(f"node {settings.node} is run by another tower: pid {other.pid} on {other.host}")
    return Connections(tower, answers, urls[2], store)


@contextlib.contextmanager
def _announced(home: Path, info: TowerInfo, operator_url: str) -> Iterator[None]:
    """`tower.json` and `nats.url` stand in the home while the tower runs."""
    write_private(home / "nats.url", operator_url.encode())
    write_private(home / "tower.json", msgspec.json.encode(info))
    try:
        yield
    finally:
        (home / "tower.json").unlink(missing_ok=True)


def http_token(home: Path) -> str:
    """The operator's bearer token, made at the first start."""
    path = home / "http.token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text().strip()
