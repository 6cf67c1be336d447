"""Given-when-then over the node's rules, exact: the very events, or the very code and details.

`given(*events).when(request).then(*events)`, `.then_nothing()` or `.then_rejected(code, **details)`; each ending gives
the history extended by what happened, so that a story chains. Deciding may not touch the state it was given.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from domain import tower
from domain.containers import knowing
from domain.errors import Rejection
from domain.messages import HOST, Command, Event, Facts, Request
from domain.tower import Tower
from tests.unit.builders import facts as some_facts

COMMAND_ID = "00000000-0000-7000-8000-00000000c0de"


@dataclass(frozen=True)
class History:
    """What has happened so far, and the state that it makes."""

    events: tuple[Event, ...]
    state: Tower

    def and_given(self, *events: Event) -> "History":
        return History((*self.events, *events), fold(events, self.state))

    def when(self, request: Request, *, origin: str = HOST, facts: Facts | None = None) -> "Happened":
        command = Command(id=COMMAND_ID, origin=origin, request=request, facts=facts or some_facts())
        before = repr((command, self.state))
        try:
            outcome = tower.decide(command, self.state)
        except Rejection as rejection:
            outcome = rejection
        assert repr((command, self.state)) == before, "decide touched what it was given"
        return Happened(self, request, outcome)


@dataclass(frozen=True)
class Happened:
    """What one request led to: `outcome` is its events or its rejection."""

    history: History
    request: Request
    outcome: tuple[Event, ...] | Rejection

    def then(self, *events: Event) -> History:
        if not events:
            raise TypeError("then() expects events; say then_nothing()")
        assert self.events == events
        return self.accepted()

    def then_nothing(self) -> History:
        assert self.events == ()
        return self.history

    def then_rejected(self, code: str, **details: Any) -> History:
        assert isinstance(self.outcome, Rejection), f"accepted: {self.outcome}"
        assert (self.outcome.code, self.outcome.details) == (code, details)
        return self.history

    def accepted(self) -> History:
        """The history after it, whatever the events; for the steps of a story that are not its point."""
        return self.history.and_given(*self.events)

    @property
    def events(self) -> tuple[Event, ...]:
        assert not isinstance(self.outcome, Rejection), f"rejected: {self.outcome} {self.outcome.details}"
        return self.outcome

    @property
    def result(self) -> dict[str, Any]:
        """What the caller is answered."""
        return tower.result(self.events) if self.events else tower.standing(self.request, self.history.state)


def given(*events: Event, containers: Iterable[str] = (HOST,)) -> History:
    return History((), Tower(containers=knowing(containers))).and_given(*events)


def fold(events: Iterable[Event], state: Tower) -> Tower:
    for event in events:
        state = tower.evolve(state, event)
    return state
