"""A tower without effects behind a real HTTP server: broker, log, writer, read models, all real, nothing in tmux.

Panes stay as the commands left them, so that a test decides what happens next.
"""

import asyncio
import dataclasses
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from adapters.files.blobs import FileBlobs
from adapters.files.launch_rows import LaunchRows
from adapters.files.launching import LaunchFiles
from adapters.files.snapshots import FileSnapshots
from adapters.files.texts import FileTexts
from adapters.files.transcripts import FileTranscripts
from adapters.files.vault import FileVault
from adapters.http.app import create_app
from adapters.http.readiness import Readiness
from adapters.http.server import HttpServer, bind
from adapters.http.services import ExecutionStanding, HttpServices, session_standing
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import connect
from adapters.nats.log import JetStreamLog
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.output import BrokerOutput
from adapters.nats.output_feed import OutputFeed
from adapters.nats.streams import ensure_streams
from adapters.reading import PaneLogReader
from adapters.sql import open_database
from adapters.system import SystemClock, SystemIds
from adapters.telemetry import Metrics
from adapters.tmux.address import Address
from adapters.tmux.terminals import TmuxTerminals
from domain.executions.state import state_of
from domain.messages import Facts, Request
from domain.scoping import container_of
from domain.sessions.commands import SessionSpawn
from handlers.asking import Asker
from handlers.facts import FactFinder
from handlers.inbox import FollowUp, Inbox
from handlers.ledger import Ledger
from handlers.writer import Writer
from projections.projector import Projector
from projections.read_models import ReadModels
from tests.unit.talks import PREPARED

NODE = "local"
TOKEN = "test-token-0123456789-abcdefghij"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class World:
    """`client` asks without a token. `projecting` is the projector's task: cancel it to let the read models fall
    behind."""

    home: Path
    broker: EmbeddedBroker
    log: JetStreamLog
    inbox: Inbox
    output: BrokerOutput
    writing: asyncio.Task[None]
    projecting: asyncio.Task[None]
    services: HttpServices
    client: httpx.AsyncClient
    url: str
    stack: AsyncExitStack

    async def post(self, name: str, data: dict[str, Any], **fields: Any) -> httpx.Response:
        noun, _, verb = name.partition(".")
        return await self.client.post(
            "/v1/commands?wait=0", headers=BEARER, json={"noun": noun, "verb": verb, "data": data, **fields}
        )

    async def create_layout(self, session: str = "fleet", template: str = "1m+2s", **fields: Any) -> dict[str, Any]:
        """The accepted outcome."""
        data = {"container_id": "host", "template_name": template, "tmux_session_name": session, **fields}
        answer = await self.post("layout.create", data)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def follow_up(self, request: Request) -> dict[str, Any]:
        """The outcome of one of the tower's own commands."""
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.inbox.submit(FollowUp(id=SystemIds().uuid7(), request=request, on_outcome=outcome.set_result))
        return msgspec.json.decode(await outcome)

    async def get(self, path: str, **params: Any) -> Any:
        """The body of a 200."""
        answer = await self.client.get(path, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def error(self, path: str, status: int) -> dict[str, Any]:
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()["error"]

    async def serve(self, **changes: Any) -> httpx.AsyncClient:
        """A client of another server over the same tower, its services changed as given."""
        _, client = await serve(self.stack, dataclasses.replace(self.services, **changes))
        return client


async def serve(stack: AsyncExitStack, services: HttpServices) -> tuple[HttpServer, httpx.AsyncClient]:
    server = await stack.enter_async_context(HttpServer(create_app(services), bind("127.0.0.1", 0)))
    client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30))
    return server, client


@asynccontextmanager
async def running_world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="at-", ignore_cleanup_errors=True)))
        broker = await stack.enter_async_context(EmbeddedBroker(home, NODE))
        tower = await connect(broker.tower_url, name="tower")
        answers = await connect(broker.answers_url, name="answers")
        stack.push_async_callback(tower.close)
        stack.push_async_callback(answers.close)
        await ensure_streams(tower, NODE)
        log, inbox, metrics = JetStreamLog(tower, NODE), Inbox(), Metrics()
        clock, ids = SystemClock(), SystemIds()
        terminals = TmuxTerminals(Address(socket_path=str(home / "tmux.sock"), node=NODE))
        stack.push_async_callback(terminals.close)
        launching = LaunchFiles(home / "config", clock)
        facts = _Facts(
            ids=ids,
            launching=launching,
            terminals=terminals,
            vault=FileVault(home / "private"),
            texts=FileTexts(home / "texts"),
        )
        writer = Writer(
            node=NODE,
            instance=ids.uuid7(),
            log=log,
            inbox=inbox,
            outcomes=InboxOutcomes(answers, NODE),
            facts=facts,
            snapshot_store=FileSnapshots(home / "nodes" / NODE),
            clock=clock,
            ids=ids,
            observers=(metrics,),
            meters=(metrics,),
        )
        await writer.recover()
        await writer.claim(os.getpid(), "here")
        database = open_database(f"sqlite:///{home}/tower.sqlite", node=NODE)
        stack.push_async_callback(database.close)
        projector = Projector(database, log)
        await projector.prepare()
        models = ReadModels(database, projector.progress, log.last_position)
        output = BrokerOutput(tower, NODE)
        tasks = [asyncio.create_task(part.run()) for part in (writer, projector, output)]
        stack.push_async_callback(_end, tasks)
        services = HttpServices(
            read_models=models,
            ask=Asker(inbox, ids).ask,
            ids=ids,
            follow=log.follow,
            last_position=log.last_position,
            ready=Readiness(models.projections, log.last_position, log.get, clock),
            launching=LaunchRows(launching),
            logs=_logs(home),
            outputs=partial(OutputFeed, tower, NODE),
            bundle=lambda _text: None,
            execution=lambda execution_id: _standing(execution_id, writer.ledger),
            session=lambda session_id: session_standing(
                session_id, writer.ledger.tower.sessions, writer.ledger.position
            ),
            transcript=FileTranscripts(home / "transcripts").load,
            blob=FileBlobs(home / "blobs").path,
            node=NODE,
            token=TOKEN,
            metrics=metrics.registry,
            now=clock.now,
            containers=lambda: writer.ledger.tower.containers.known,
            container_of=lambda event: container_of(event, writer.ledger.tower),
        )
        server, client = await serve(stack, services)
        yield World(home, broker, log, inbox, output, tasks[0], tasks[1], services, client, server.url, stack)


def _logs(home: Path) -> PaneLogReader:
    return PaneLogReader(
        folders=(home / "logs",),
        bench=home / "bench",
        container_cli=None,
        known=lambda _: None,
        removed=lambda _: False,
    )


class _Facts(FactFinder):
    """Every bundle is prepared."""

    async def gather(
        self, requests: Iterable[Request], at: datetime, admits: Callable[[int], bool] = lambda _: True
    ) -> dict[int, Facts | None]:
        requests = list(requests)
        found = await super().gather(requests, at, admits)
        for place, facts in found.items():
            if facts is not None and isinstance(requests[place], SessionSpawn):
                found[place] = msgspec.structs.replace(facts, ids=(str(uuid.uuid4()),), spawn=PREPARED)
        return found


def _standing(execution_id: str, ledger: Ledger) -> ExecutionStanding | None:
    state = state_of(execution_id, ledger.tower.executions)
    return None if state is None else ExecutionStanding(state, ledger.position)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
