"""The composition root: builds one tower from its settings, starts its parts in order, and ends them in order.

Broker, streams, state in memory, claim, recovery, effects, read models, HTTP; then the doors open and the tower is
ready. Panes outlive it.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import structlog

from adapters.files.atomic import write_private
from adapters.files.launching import BuiltInProfiles, BuiltInTemplates
from adapters.files.snapshots import FileSnapshots
from adapters.files.vault import FileVault
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import check_broker, connect, without_credentials
from adapters.nats.doors import DurableDoor, PingDoor, Pong, RequestDoor, ask_ping
from adapters.nats.log import JetStreamLog
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.streams import ensure_streams
from adapters.nats.timers import BrokerTimers
from adapters.nats.wire import WireClient
from adapters.settings import Settings
from adapters.system import SystemClock, SystemIds
from adapters.tmux.address import Address
from adapters.tmux.terminals import TmuxTerminals, tmux_version
from domain.layouts.commands import PaneSweep
from handlers.asking import Asker
from handlers.effects.follow_ups import FollowUps
from handlers.effects.spawning import Spawning
from handlers.effects.stages import LogPaths, Stages
from handlers.effects.sweeping import Sweeping
from handlers.effects.watching import Watching
from handlers.facts import FactFinder
from handlers.inbox import Inbox
from handlers.recovery import Recovery
from handlers.writer import Writer

STAGES_END_S: Final = 10.0
"""How long a clean stop waits for the stages under way."""

PURGE_INTERVAL_S: Final = 60.0

_log = structlog.get_logger("tower")


class TowerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `tower.json` holds while the tower runs. `http` and `nats` are URLs, `tmux` the path of its socket."""

    pid: int
    node: str
    http: str
    nats: str
    tmux: str


class Connections(msgspec.Struct, frozen=True):
    """`tower` may do everything; `answers` may publish to inboxes and outcomes only. `operator_url` has credentials."""

    tower: WireClient
    answers: WireClient
    operator_url: str


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
    async with AsyncExitStack() as stack:
        await tmux_version()
        connections = await _connect(settings, stack)
        engine = Engine(settings, connections)
        stack.push_async_callback(engine.terminals.close)
        async with Parts() as parts:
            await engine.start(parts)
            info = TowerInfo(
                pid=os.getpid(),
                node=settings.node,
                http="",
                nats=without_credentials(connections.operator_url),
                tmux=str(settings.tmux_socket),
            )
            with _announced(settings.home, info, connections.operator_url):
                await engine.open_doors(parts)
                _log.info("ready", node=settings.node, http=info.http)
                if on_ready is not None:
                    on_ready(info)
                await stop.wait()
                _log.info("stopping", node=settings.node)
                await engine.stop()


async def _connect(settings: Settings, stack: AsyncExitStack) -> Connections:
    """To the embedded broker, started here, or to the one in the settings; streams are created or verified."""
    if settings.nats_url is None:
        broker = await stack.enter_async_context(
            EmbeddedBroker(settings.home, settings.node, listen=settings.nats_listen)
        )
        urls = broker.tower_url, broker.answers_url, broker.operator_url
    else:
        urls = settings.nats_url, settings.nats_answers_url or settings.nats_url, settings.nats_url
    tower = await connect(urls[0], name="tower")
    stack.push_async_callback(tower.close)
    answers = await connect(urls[1], name="tower-answers")
    stack.push_async_callback(answers.close)
    await check_broker(tower)
    await ensure_streams(tower, settings.node)
    other = await ask_ping(tower, settings.node)
    if other is not None:
        raise CannotStart(f"node {settings.node} is run by another tower: pid {other.pid} on {other.host}")
    return Connections(tower, answers, urls[2])


class Parts:
    """The running parts of a tower: all end with the block, and the first that fails ends it with its own error."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def own(self, part: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._group.create_task(part, name=name)
        self._tasks.append(task)
        return task


class Engine:
    """The active half of a tower: writer, effects, doors."""

    def __init__(self, settings: Settings, connections: Connections) -> None:
        clock, ids = SystemClock(), SystemIds()
        node, home = settings.node, settings.home
        self.instance = ids.uuid7()
        self.inbox = Inbox()
        self.log = JetStreamLog(connections.tower, node)
        self.terminals = TmuxTerminals(Address(socket_path=str(settings.tmux_socket), node=node))
        self.asker = Asker(self.inbox, ids)
        self._follow_ups = follow_ups = FollowUps(self.inbox)
        profiles, vault = BuiltInProfiles(), FileVault(home / "private")
        stages = Stages(
            follow_ups=follow_ups,
            clock=clock,
            profiles=profiles,
            vault=vault,
            log_paths=LogPaths(str(home / "logs" / "panes")),
        )
        self.spawning = Spawning(
            terminals=self.terminals,
            stages=stages,
            follow_ups=follow_ups,
            clock=clock,
            launch_settle_s=settings.launch_settle,
        )
        self._watching = Watching(terminals=self.terminals, follow_ups=follow_ups, clock=clock)
        outcomes = InboxOutcomes(connections.answers, node)
        self.writer = Writer(
            node=node,
            instance=self.instance,
            log=self.log,
            inbox=self.inbox,
            outcomes=outcomes,
            facts=FactFinder(
                ids=ids, templates=BuiltInTemplates(), profiles=profiles, terminals=self.terminals, vault=vault
            ),
            snapshot_store=FileSnapshots(home / "nodes" / node),
            clock=clock,
            ids=ids,
            observers=(self.spawning, self._watching),
        )
        self._recovery = Recovery(
            terminals=self.terminals,
            follow_ups=follow_ups,
            clock=clock,
            instance=self.instance,
            state=lambda: self.writer.ledger.tower,
        )
        self._sweeping = Sweeping(timers=BrokerTimers(connections.tower, node), inbox=self.inbox, ids=ids)
        self._clock = clock
        self._request_door = RequestDoor(connections.tower, node, self.inbox, outcomes)
        self._durable_door = DurableDoor(connections.tower, node, self.inbox)
        pong = Pong(pid=os.getpid(), host=socket.gethostname(), node=node, started_at=clock.now())
        self._ping_door = PingDoor(connections.tower, connections.answers, pong)

    async def start(self, parts: Parts) -> None:
        """State in memory, claim, recovery, effects."""
        await self.writer.recover()
        await self.writer.claim(os.getpid(), socket.gethostname())
        await self._ping_door.open()
        self._writing = parts.own(self.writer.run(), "writer")
        unreachable = await self._recovery.run()
        self.spawning.start(self.writer.ledger.tower)
        self._watching.start(self.writer.ledger.tower)
        for part in (self.spawning, self._watching, self._sweeping):
            parts.own(part.run(), type(part).__name__.lower())
        if unreachable:
            parts.own(self._recovery.retry(unreachable), "recovery")

    async def open_doors(self, parts: Parts) -> None:
        """Take commands."""
        await self._request_door.open()
        self._durable_door.open(self.writer.ledger.commands_at)
        parts.own(self._purge_commands(), "purge")

    async def stop(self) -> None:
        """Stop taking commands, decide what was taken, let stages end, write the last snapshot."""
        await self._request_door.close()
        await self._durable_door.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STAGES_END_S):
                await self.spawning.idle()
                # Answered after everything that was taken before it.
                await self._follow_ups.ask(self.instance, "last", PaneSweep())
        await self._ping_door.close()
        self._writing.cancel()
        await asyncio.wait([self._writing])
        await self.writer.close()

    async def _purge_commands(self) -> None:
        """The log says how far commands were read; what lies behind is not needed any more."""
        while True:
            await self._clock.sleep(PURGE_INTERVAL_S)
            await self._durable_door.purge(self.writer.ledger.commands_at)


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
