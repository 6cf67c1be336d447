"""A node's own rules without a broker: effects are told what is decided, and what they send is decided; the log is
memory."""

from typing import Any, TypeVar

from adapters.system import SystemClock, SystemIds
from domain import catalogue, tower
from domain.envelope import Envelope, Recorded, encode_data
from domain.messages import HOST, Command, Event, Facts, Request
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.inbox import Inbox
from tests.waiting import eventually

EventT = TypeVar("EventT", bound=Event)


class BareNode:
    """`events` in order; `state` as they make it. `effects` hear of them."""

    def __init__(self, state: Tower) -> None:
        self.state, self.events = state, list[Event]()
        self.clock, self.ids = SystemClock(), SystemIds()
        self.inbox = Inbox()
        self.follow_ups = FollowUps(self.inbox)
        self.effects: list[Any] = []

    def ask(self, request: Request, origin: str = HOST) -> tuple[Event, ...]:
        """What comes of it. Raises `Rejection`."""
        facts = Facts(at=self.clock.now(), ids=tuple(self.ids.uuid7() for _ in range(4)))
        events = tower.decide(Command(id=self.ids.uuid7(), origin=origin, request=request, facts=facts), self.state)
        for event in events:
            self.state = tower.evolve(self.state, event)
        self.events += events
        recorded = [Recorded(0, self._envelope(event), event) for event in events]
        for each in (self.follow_ups, *self.effects):
            each.committed(recorded, self.state)
        return events

    def _envelope(self, event: Event) -> Envelope:
        kind, subject = catalogue.aggregate_key(event)
        return Envelope(
            id=self.ids.uuid7(),
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
        names = [type(event).__name__ for event in self.events]
        await eventually(lambda: len(self.of(kind)) >= count, f"{count} {kind.__name__}, after {names}")
        return self.of(kind)[count - 1]
