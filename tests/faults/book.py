"""Commands with known ids through both doors, and a book of what was promised about each of them."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import httpx
import msgspec

from adapters.nats import subjects
from adapters.nats.client import AskError, CommandClient, Door, Outcome
from adapters.nats.connection import BrokerProblem, connect
from adapters.nats.log import JetStreamLog
from adapters.nats.wire import NoAnswer, NoResponders, WireClient, header_block
from adapters.system import SystemIds
from domain.envelope import Recorded, Stored
from domain.errors import UNRECORDED
from domain.layouts.events import PaneRemoved
from domain.sessions.events import SessionEnded, SessionStopRequested
from domain.tower import Tower
from handlers.ledger import Ledger, replay
from handlers.ports import LogUnavailable
from tests.faults.child import NODE, Child
from tests.waiting import eventually

ASK_S = 10.0
LATER_S = 60.0
END_IS_TOLD_S = 2.0

T = TypeVar("T")


class Sent(msgspec.Struct):
    """One command. `queued`: the broker said that it is queued for good. `outcome`: the first answer."""

    id: str
    noun: str
    verb: str
    data: dict[str, Any]
    queued: bool = False
    outcome: Outcome | None = None

    @property
    def result(self) -> dict[str, Any] | None:
        """None unless it was accepted."""
        if self.outcome is None or self.outcome["status"] != "accepted":
            return None
        return self.outcome["result"]


class Book:
    """What was sent to one node, over all its towers."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._ids = SystemIds()

    def open(self, noun: str, verb: str, data: Mapping[str, Any]) -> Sent:
        sent = Sent(self._ids.uuid7(), noun, verb, dict(data))
        self.sent.append(sent)
        return sent

    def unanswered(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.outcome is None]

    def compare(self, log: Sequence[Recorded]) -> list[str]:
        """What is wrong between what was promised and what the log holds; empty when all is well."""
        runs = _runs(log)
        removed = {record.event.pane_id for record in log if isinstance(record.event, PaneRemoved)}
        stopped: dict[str, int] = {}
        for record in log:
            if isinstance(record.event, SessionEnded | SessionStopRequested):
                stopped.setdefault(record.event.session_id, record.position)
        wrong: list[str] = []
        for sent in self.sent:
            places = runs.get(sent.id, [])
            label = f"{sent.noun}.{sent.verb} {sent.id}"
            if len(places) > 1:
                wrong.append(f"{label} stands {len(places)} times in the log: {places}")
            if sent.outcome is None:
                wrong.append(f"{label} has no outcome")
            elif places:
                last = places[0][1]
                if sent.outcome["position"] != last:
                    wrong.append(f"{label} was answered with position {sent.outcome['position']}, and ends at {last}")
            elif not _needs_no_event(sent, removed, stopped):
                wrong.append(f"{label} is not in the log, but was answered {sent.outcome}")
        return wrong


def _may_change_nothing(sent: Sent) -> bool:
    """Because of what it is about, which may stand as it is wanted already."""
    return sent.verb == "remove" or (sent.noun == "session" and sent.verb in ("cancel", "end"))


def _needs_no_event(sent: Sent, removed: set[str], stopped: Mapping[str, int]) -> bool:
    """Refusals that are not recorded; removing what is removed; stopping a session that is told to stop, or has
    ended (`stopped`: since which position)."""
    assert sent.outcome is not None
    if sent.outcome["status"] == "rejected":
        return sent.outcome["error"]["code"] in UNRECORDED
    if not _may_change_nothing(sent):
        return False
    if sent.noun == "session":
        return stopped.get(sent.data["session_id"], sys.maxsize) <= sent.outcome["position"]
    assert sent.result is not None
    return not sent.result.get("removed_pane_ids") and sent.data.get("pane_id", sent.id) in {*removed, sent.id}


def _runs(log: Sequence[Recorded]) -> dict[str, list[tuple[int, int]]]:
    """Command id -> (first, last) position of each run of neighbouring events that it caused."""
    runs: dict[str, list[tuple[int, int]]] = {}
    previous = ""
    for record in log:
        if record.envelope.actor != "host":
            previous = ""
            continue
        command_id = record.envelope.commandid
        places = runs.setdefault(command_id, [])
        if command_id == previous:
            places[-1] = (places[-1][0], record.position)
        else:
            places.append((record.position, record.position))
        previous = command_id
    return runs


class Driver:
    """Sends commands to the tower of one start and keeps the book. Made by `driving`."""

    def __init__(self, child: Child, book: Book, operator: WireClient, tower: WireClient) -> None:
        self.child = child
        self.book = book
        self.wire = tower
        self.log = JetStreamLog(tower, NODE)
        self._operator = operator
        self._client = CommandClient(operator, NODE, ids=SystemIds())
        self._ledger = Ledger()
        self._stored: list[Stored] = []
        self._recorded: list[Recorded] = []
        self._reading = asyncio.Lock()

    async def ask(self, noun: str, verb: str, data: Mapping[str, Any], *, door: Door = "request") -> Sent:
        """One command; what is known of it stands in the book afterwards. Raises `Died` with the tower's end."""
        sent = self.book.open(noun, verb, data)
        await self.or_died(self._send(sent, door))
        return sent

    async def again(self, sent: Sent) -> Outcome | None:
        """Ask with the same id once more."""
        with suppress(AskError):
            outcome = await self._client.ask(
                sent.noun, sent.verb, sent.data, command_id=sent.id, timeout_s=LATER_S, door="request"
            )
            busy = outcome["status"] == "rejected" and outcome["error"]["code"] == "tower_busy"
            return None if busy else outcome
        return None

    async def post(self, noun: str, verb: str, data: Mapping[str, Any]) -> Sent:
        """One command over HTTP, which needs no broker to reach the tower."""
        sent = self.book.open(noun, verb, data)
        body = {"noun": noun, "verb": verb, "data": sent.data, "id": sent.id}
        headers = {"Authorization": f"Bearer {self.child.token}"}
        async with httpx.AsyncClient(base_url=self.child.http, headers=headers, timeout=ASK_S) as client:
            with suppress(httpx.TransportError):
                answer = (await client.post("/v1/commands", json=body)).json()
                if "status" in answer:
                    self._take(sent, answer)
        return sent

    async def or_died(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives. Raises `Died` when the tower's process has ended."""
        task = asyncio.create_task(work)
        died = asyncio.create_task(self.child.died.wait())
        try:
            await asyncio.wait({task, died}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and task.exception() is not None:
                # It may have failed because of the end, which the kernel tells us a little later.
                await asyncio.wait({died}, timeout=END_IS_TOLD_S)
            if not died.done():
                return task.result()
        finally:
            for each in (task, died):
                each.cancel()
            await asyncio.gather(task, died, return_exceptions=True)
        raise await self.child.ended()

    async def _send(self, sent: Sent, door: Door) -> None:
        try:
            if door == "durable":
                await self._queue(sent)
            else:
                self._take(sent, await self._ask(sent))
        except (AskError, NoAnswer, NoResponders, TimeoutError):
            pass  # it may have been taken: asked again later

    async def _ask(self, sent: Sent) -> Outcome:
        return await self._client.ask(sent.noun, sent.verb, sent.data, command_id=sent.id, timeout_s=ASK_S)

    async def _queue(self, sent: Sent) -> None:
        """At the durable door: first the broker's promise, then the outcome."""
        subject = subjects.command_subject(NODE, "host", sent.noun, sent.verb)
        async with self._operator.expecting() as (inbox, answered):
            block = header_block({"Nats-Msg-Id": sent.id, "Tower-Reply-To": inbox})
            payload = msgspec.json.encode({"id": sent.id, "data": sent.data})
            acknowledged = msgspec.json.decode((await self._operator.ask(subject, payload, block=block)).payload)
            sent.queued = "seq" in acknowledged
            if sent.queued:
                async with asyncio.timeout(ASK_S):
                    self._take(sent, msgspec.json.decode((await answered).payload))

    @staticmethod
    def _take(sent: Sent, outcome: Outcome) -> None:
        # `tower_busy` is no decision: the same id may still be accepted.
        if outcome["status"] == "accepted" or outcome["error"]["code"] != "tower_busy":
            sent.outcome = outcome

    async def settle_book(self) -> None:
        """Learn the outcome of everything unanswered: what is queued for good comes by itself, the rest is asked
        again."""
        for sent in self.book.unanswered():
            if sent.queued:
                sent.outcome = await self._kept(sent)
            deadline = time.monotonic() + LATER_S
            while sent.outcome is None and time.monotonic() < deadline:
                # A broker that was killed may not be back yet.
                sent.outcome = await self.again(sent)
                if sent.outcome is None:
                    await self.wire.reconnected_within(0.2)

    async def _kept(self, sent: Sent) -> Outcome | None:
        """The outcome that the tower wrote without being asked again, or from its events; None for a no-op."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LATER_S
        while loop.time() < deadline:
            held = {record.envelope.commandid for record in await self.recorded()}
            if sent.id in held or _may_change_nothing(sent):
                return await self.again(sent)
            await self._operator.reconnected_within(0.2)
        raise AssertionError(f"queued for good, and never decided: {sent}")

    async def stored(self) -> Sequence[Stored]:
        """The whole log, its chain verified. Raises `BrokenLog`."""
        await self._read_on()
        return self._stored

    async def recorded(self) -> Sequence[Recorded]:
        await self._read_on()
        return self._recorded

    async def state(self) -> Tower:
        """What the log gives when it is replayed from its beginning."""
        await self._read_on()
        return self._ledger.tower

    async def position(self) -> int:
        """Of the log's last event."""
        return await self._patiently(self.log.last_position)

    async def _read_on(self) -> None:
        async with self._reading:
            await self._patiently(self._read_tail)

    async def _read_tail(self) -> None:
        async for batch in self.log.read(self._ledger.position):
            for stored in batch:
                self._ledger, record = replay(self._ledger, stored)
                self._stored.append(stored)
                self._recorded.append(record)

    async def _patiently(self, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """While a broker that was killed comes back."""
        deadline = time.monotonic() + LATER_S
        while True:
            try:
                return await read()
            except LogUnavailable:
                if time.monotonic() > deadline:
                    raise
            await self.wire.reconnected_within(0.2)


@asynccontextmanager
async def driving(child: Child, book: Book) -> AsyncIterator[Driver]:
    """A driver for the tower that runs now."""
    clients: list[WireClient] = []
    try:
        for user in ("operator", "tower"):
            client = await _connected(child, user)
            clients.append(client)
        yield Driver(child, book, *clients)
    finally:
        for client in clients:
            await client.close()


async def _connected(child: Child, user: str) -> WireClient:
    """The broker may be coming back."""

    async def attempt() -> WireClient | None:
        try:
            return await connect(child.nats(user), name=f"faults-{user}")
        except BrokerProblem:
            return None

    client = await eventually(attempt, "a connection to the broker", timeout_s=60)
    assert client is not None
    return client
