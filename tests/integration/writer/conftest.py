"""Writers on a real broker, driven step by step.

`node`  builds any number of writers on one log; each has its own memory, as separate processes would. There is no tmux
server on their socket, so every pre-check of a session name finds none.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.files.launching import LaunchFiles
from adapters.files.snapshots import FileSnapshots
from adapters.files.texts import FileTexts
from adapters.files.vault import FileVault
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.log import JetStreamLog
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.wire import WireClient
from adapters.system import SystemClock, SystemIds
from adapters.tmux.address import Address
from adapters.tmux.terminals import TmuxTerminals
from domain.envelope import Recorded, decode
from domain.tower import Tower
from handlers.facts import FactFinder
from handlers.inbox import Asked, Inbox
from handlers.ports import Answer, Entry, LogUnavailable, Outcomes
from handlers.writer import Writer
from tests.integration.conftest import NODE, Connected

IDS = SystemIds()


class CountedLog(JetStreamLog):
    """The real log, with the sizes of its appends."""

    def __init__(self, client: WireClient, node: str, *, append_timeout_s: float = 5.0) -> None:
        super().__init__(client, node, append_timeout_s=append_timeout_s)
        self.appends: list[int] = []

    async def append(self, entries: Sequence[Entry], *, expected_last: int) -> int:
        self.appends.append(len(entries))
        return await super().append(entries, expected_last=expected_last)


class AppendThatLosesItsAnswer(CountedLog):
    """Records a batch and says that there was no answer, as often as told."""

    losses = 0

    async def append(self, entries: Sequence[Entry], *, expected_last: int) -> int:
        last = await super().append(entries, expected_last=expected_last)
        if self.losses:
            self.losses -= 1
            raise LogUnavailable("the answer was lost")
        return last


class SteppedClock(SystemClock):
    """The machine's clock, moved by `ahead`."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class KeptOutcomes:
    """Sends outcomes through the real connection and keeps what was sent, in order."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self.sent: list[dict[str, Any]] = []

    async def answer(self, answers: Sequence[Answer]) -> None:
        self.sent += [msgspec.json.decode(answer.payload) for answer in answers]
        await self._outcomes.answer(answers)


class Seat:
    """One writer with the parts a test looks at."""

    def __init__(
        self, log: CountedLog, outcomes: KeptOutcomes, folder: Path, terminals: TmuxTerminals, instance: str
    ) -> None:
        self.log, self.outcomes = log, outcomes
        self.inbox = Inbox()
        self.clock = SteppedClock()
        self.committed_events: list[Recorded] = []
        self.writer = Writer(
            node=NODE,
            instance=instance,
            log=log,
            inbox=self.inbox,
            outcomes=outcomes,
            facts=FactFinder(
                ids=IDS,
                launching=LaunchFiles(folder / "config", self.clock),
                terminals=terminals,
                vault=FileVault(folder / "private"),
                texts=FileTexts(folder / "texts"),
            ),
            snapshot_store=FileSnapshots(folder / "state"),
            clock=self.clock,
            ids=IDS,
            observers=(self,),
        )

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self.committed_events += recorded

    async def started(self) -> "Seat":
        await self.writer.recover()
        await self.writer.claim(1, "test")
        return self

    def ask(self, name: str, data: object, **fields: Any) -> str:
        """Put one command into the inbox; its id."""
        command_id = fields.pop("command_id", None) or IDS.uuid7()
        door = {key: fields.pop(key) for key in ("origin", "queued_at", "durable_sequence") if key in fields}
        payload = msgspec.json.encode({"id": command_id, "data": data, **fields})
        self.put(name, payload, **door)
        return command_id

    def put(self, name: str, payload: bytes, **door: Any) -> None:
        noun, _, verb = name.partition(".")
        assert self.inbox.offer(Asked(payload=payload, noun=noun, verb=verb, **{"origin": "host", **door}))

    async def outcomes_of(self, *command_ids: str) -> list[dict[str, Any]]:
        """Step until each was answered (again); their newest outcomes."""
        before = len(self.outcomes.sent)
        answered: dict[str, dict[str, Any]] = {}
        async with asyncio.timeout(30):
            while not set(command_ids) <= answered.keys():
                await self.writer.step()
                answered |= {each["command_id"]: each for each in self.outcomes.sent[before:]}
        return [answered[each] for each in command_ids]

    async def outcome(self, name: str, data: object, **fields: Any) -> dict[str, Any]:
        return (await self.outcomes_of(self.ask(name, data, **fields)))[0]

    async def log_events(self) -> list[Recorded]:
        return [decode(stored) async for batch in self.log.read(0) for stored in batch]


class Node:
    """Builds writers of one node."""

    def __init__(self, broker: EmbeddedBroker, connected: Connected, folder: Path, terminals: TmuxTerminals) -> None:
        self._broker, self._connected, self._folder, self._terminals = broker, connected, folder, terminals

    async def writer(self, log: type[CountedLog] = CountedLog, *, place: str = "a") -> Seat:
        """A writer that has not started. Writers at the same `place` share snapshots, one after another."""
        tower = await self._connected(self._broker.tower_url)
        answers = await self._connected(self._broker.answers_url)
        outcomes = KeptOutcomes(InboxOutcomes(answers, NODE))
        return Seat(log(tower, NODE), outcomes, self._folder / place, self._terminals, IDS.uuid7())

    async def running(self, log: type[CountedLog] = CountedLog, *, place: str = "a") -> Seat:
        return await (await self.writer(log, place=place)).started()


@pytest.fixture
async def node(broker: EmbeddedBroker, tower_nats: WireClient, connected: Connected, short_tmp: Path):
    terminals = TmuxTerminals(Address(socket_path=str(short_tmp / "no-tmux.sock"), node=NODE))
    yield Node(broker, connected, short_tmp, terminals)
    await terminals.close()


def layout(session: str, **fields: Any) -> dict[str, Any]:
    """The data of a layout.create."""
    return {"container_id": "host", "template_name": "1m+2s", "tmux_session_name": session, **fields}
