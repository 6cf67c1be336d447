"""The durable queue of commands and both doors of a tower."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec

from handlers.inbox import Asked, Inbox
from handlers.ports import Answer
from tests.simulation.loop import pause
from tests.simulation.wire import Wire

RETRY_S = 0.5


class NotQueued(Exception):
    """The queue did not say that it took the command."""


class NoTower(Exception):
    """Nobody answers at the request door."""


class Queued(msgspec.Struct, frozen=True):
    sequence: int
    asked: Asked


class Queue:
    """`TOWER_COMMANDS` of the broker. It keeps what is published twice twice: its own window of ids is short."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.commands: list[Queued] = []
        self.last = 0
        self._grown = asyncio.Event()

    def publish(self, asked: Asked) -> int:
        self.last += 1
        stamped = msgspec.structs.replace(asked, durable_sequence=self.last, queued_at=self._now())
        self.commands.append(Queued(self.last, stamped))
        self._grown.set()
        self._grown = asyncio.Event()
        return self.last

    def purge(self, upto: int) -> None:
        self.commands = [each for each in self.commands if each.sequence > upto]

    def after(self, sequence: int, limit: int) -> list[Queued]:
        return [each for each in self.commands if each.sequence > sequence][:limit]

    async def longer_than(self, sequence: int) -> None:
        while self.last <= sequence:
            await self._grown.wait()


class SimulatedDurableDoor:
    """Reads on from a position, in order, into the inbox; like the real one it starts anew where it lost something."""

    def __init__(self, queue: Queue, wire: Wire, inbox: Inbox) -> None:
        self._queue = queue
        self._wire = wire
        self._inbox = inbox

    async def run(self, after: int) -> None:
        last = after if after <= self._queue.last else 0
        while True:
            await self._queue.longer_than(last)
            try:
                last = await self._read(last)
            except NotQueued:
                await pause(RETRY_S)

    async def _read(self, after: int) -> int:
        """The sequence up to which was read. Raises `NotQueued` when what was read may not have arrived."""
        batch = await self._wire.call(
            "commands.read", lambda: self._queue.after(after, 10), NotQueued, detail=f"after {after}"
        )
        for each in batch:
            await self._inbox.put(each.asked)
        return batch[-1].sequence if batch else self._queue.last

    async def purge(self, upto: int) -> None:
        try:
            await self._wire.call("commands.purge", lambda: self._queue.purge(upto), NotQueued, detail=str(upto))
        except NotQueued:
            pass


class RequestDoor:
    """The subject that running towers subscribe: should there be two, each gets every request."""

    def __init__(self) -> None:
        self._inboxes: list[Inbox] = []

    def open(self, inbox: Inbox) -> None:
        self._inboxes.append(inbox)

    def close(self, inbox: Inbox) -> None:
        if inbox in self._inboxes:
            self._inboxes.remove(inbox)

    def ask(self, asked: Asked) -> None:
        """Raises `NoTower`. A full inbox is as good as a lost request here: the asker asks again."""
        if not self._inboxes:
            raise NoTower
        for inbox in self._inboxes:
            inbox.offer(asked)


class SimulatedOutcomes:
    """The `Outcomes` port: never fails, may lose. `checked` sees all that a tower says, `heard` what arrives."""

    def __init__(self, wire: Wire, checked: Callable[[Answer], None], heard: Callable[[Answer], None]) -> None:
        self._wire = wire
        self._checked = checked
        self._heard = heard

    async def answer(self, answers: list[Answer]) -> None:
        for answer in answers:
            self._checked(answer)
        for answer in answers:
            try:
                await self._wire.call(
                    "outcomes.send", lambda a=answer: self._heard(a), NotQueued, detail=answer.command_id[-6:]
                )
            except NotQueued:
                pass
