"""Bundles kept as in a tower, on real files, with the node's own rules and without a broker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from adapters.bundles.overlays import FileOverlays
from adapters.bundles.preparing import BundleFiles
from adapters.bundles.watching import FolderWatch
from adapters.system import SystemClock, SystemIds
from domain import catalogue, tower
from domain.envelope import Envelope, Recorded, encode_data
from domain.errors import Rejection
from domain.messages import HOST, TOWER, Command, Event, Facts, Request
from domain.tower import Tower
from handlers.bundle_ports import PreparedBundle
from handlers.effects.bundles import BundleKeeping
from handlers.effects.follow_ups import FollowUps
from handlers.inbox import FollowUp, Inbox
from tests.waiting import eventually

EventT = TypeVar("EventT", bound=Event)


class CountedFiles(BundleFiles):
    """Counts preparations, and those that overlap."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.preparations = 0
        self.overlapping = 0
        self._under_way: set[str] = set()

    async def prepare(self, uri: str, **options: Any) -> PreparedBundle:
        self.preparations += 1
        self.overlapping += uri in self._under_way
        self._under_way.add(uri)
        try:
            return await super().prepare(uri, **options)
        finally:
            self._under_way.discard(uri)


class Node:
    """`events` in order; `state` as they make it."""

    def __init__(self, home: Path, configured: Sequence[str], state: Tower, debounce_s: float, **options: Any) -> None:
        self.state, self.events = state, list[Event]()
        self.clock, self._ids = SystemClock(), SystemIds()
        self._inbox = Inbox()
        self._follow_ups = FollowUps(self._inbox)
        self.deciding = asyncio.Event()
        self.deciding.set()
        self.files = CountedFiles(home, self.clock, configured=configured, **options)
        self.keeping = BundleKeeping(
            bundles=self.files,
            overlays=FileOverlays(home),
            files=FolderWatch(),
            follow_ups=self._follow_ups,
            clock=self.clock,
            instance=self._ids.uuid7(),
            configured=configured,
            state=lambda: self.state,
            debounce_s=debounce_s,
        )

    def ask(self, request: Request, origin: str = HOST) -> tuple[Event, ...]:
        """What comes of it. Raises `Rejection`."""
        facts = Facts(at=self.clock.now(), ids=(self._ids.uuid7(),))
        events = tower.decide(Command(id=self._ids.uuid7(), origin=origin, request=request, facts=facts), self.state)
        for event in events:
            self.state = tower.evolve(self.state, event)
        self.events += events
        recorded = [Recorded(0, self._envelope(event), event) for event in events]
        self._follow_ups.committed(recorded, self.state)
        self.keeping.committed(recorded, self.state)
        return events

    async def decide(self) -> None:
        """What the effect sends, as it comes."""
        while True:
            taken = await self._inbox.take(100)
            await self.deciding.wait()
            for each in taken:
                assert isinstance(each, FollowUp)
                try:
                    self.ask(each.request, TOWER)
                    outcome: dict[str, Any] = {"status": "accepted", "result": {}}
                except Rejection as refused:
                    outcome = {"status": "rejected", "error": {"code": refused.code}}
                if each.on_outcome is not None:
                    each.on_outcome(msgspec.json.encode(outcome))

    def _envelope(self, event: Event) -> Envelope:
        kind, subject = catalogue.aggregate_key(event)
        return Envelope(
            id=self._ids.uuid7(),
            source="/tower/test",
            type=catalogue.event_type(event).wire_name,
            subject=subject,
            time=self.clock.now(),
            node="test",
            kind=kind,
            sequence=1,
            actor=HOST,
            commandid="c",
            correlationid="c",
            data=encode_data(event),
        )

    def of(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.events if isinstance(event, kind)]

    async def told(self, kind: type[EventT], count: int = 1) -> EventT:
        """The `count`-th event of that kind."""

        async def look() -> bool:
            return len(self.of(kind)) >= count

        await eventually(look, f"{count} {kind.__name__} among {[type(event).__name__ for event in self.events]}")
        return self.of(kind)[count - 1]

    async def serves(self, uri: str | Path, instruction: str) -> None:
        async def look() -> bool:
            found = self.keeping.serving(str(uri))
            return found is not None and found.instruction == instruction

        await eventually(look, f"{uri} serves {instruction!r}")


@asynccontextmanager
async def node(
    home: Path, *configured: str | Path, state: Tower | None = None, debounce_s: float = 0.02, **options: Any
) -> AsyncIterator[Node]:
    """A running one; its bundles are prewarmed."""
    made = Node(home, [str(uri) for uri in configured], state or Tower(), debounce_s, **options)
    tasks = [asyncio.create_task(made.decide())]
    made.keeping.start(made.state)
    tasks.append(asyncio.create_task(made.keeping.run()))
    try:
        await made.keeping.prewarmed()
        yield made
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
