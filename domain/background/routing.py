"""What follows from a decision within it: the firings of those who listen, and the end of those whose parent ended.

The same append holds the event and its consequences, so that nothing is lost between them and nothing comes twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from domain.background import events as e
from domain.background.emitted import bounded, sources_of, trigger_of
from domain.background.evolving import evolve
from domain.background.firing import Firing, fire, stopped, trigger_id
from domain.background.listeners import Listener
from domain.background.state import Backgrounds
from domain.catalogue import aggregate_key
from domain.executions.events import SessionEmitted
from domain.messages import Event, Facts
from domain.sessions import events as se
from domain.sessions.state import Sessions
from domain.sessions.telling import Told, told_by

ROUTABLE: Final = (SessionEmitted, se.SessionCompleted, se.SessionError, se.SessionTimedOut, se.SessionEnded)


def marked(events: tuple[Event, ...], backgrounds: Backgrounds) -> tuple[Event, ...]:
    """What sessions tell carries how many runs led to it; the end of a run, what triggered that."""
    if not backgrounds.depths.known or not any(isinstance(event, ROUTABLE) for event in events):
        return events
    return tuple(_marked(event, backgrounds) for event in events)


def _marked(event: Event, backgrounds: Backgrounds) -> Event:
    match event:
        case SessionEmitted() if event.depth is UNSET:
            depth = backgrounds.depth_of(event.session_id)
            return replace(event, depth=depth) if depth else event
        case se.SessionCompleted() | se.SessionError() | se.SessionTimedOut():
            run = backgrounds.run_of(event.session_id)
            return event if run is None else replace(event, trigger=trigger_of(run))
        case _:
            return event


def consequences(
    events: Sequence[Event],
    facts: Facts,
    sessions: Sessions,
    before: Backgrounds,
    sequences: Mapping[tuple[str, str], int],
) -> tuple[Event, ...]:
    """To be recorded behind `events`. The states, and `sequences` of all aggregates, are those before them."""
    if not before.known or not any(isinstance(event, ROUTABLE) for event in events):
        return ()
    state = before
    for event in events:
        state = evolve(state, event)
    found: list[Event] = []
    counts: dict[tuple[str, str], int] = {}
    for event in events:
        key = aggregate_key(event)
        counts[key] = counts.get(key, sequences.get(key, 0)) + 1
        told = told_by(event)
        if told is None:
            continue
        if isinstance(event, se.SessionEnded):
            for stopped in _without_parent(event.session_id, state):
                found.append(stopped)
                state = evolve(state, stopped)
        depth = event.depth if isinstance(event, SessionEmitted) else before.depth_of(told.source)
        cause = Cause(told, depth or 0, facts.at, (*key, counts[key]))
        for listener in state.listeners.of(told.name, sources_of(told.source, sessions, before)):
            firing = _firing(cause, listener)
            for each in fire(
                state.known[listener.background_id], firing, max_depth=facts.max_causation_depth, waits=False
            ):
                found.append(each)
                state = evolve(state, each)
    return tuple(found)


class Cause(NamedTuple):
    """What happened. `place`: kind, aggregate and sequence of the event: the same firing has the same id."""

    told: Told
    depth: int
    at: datetime
    place: tuple[str, str, int]


def _firing(cause: Cause, listener: Listener) -> Firing:
    return Firing(
        trigger_id=trigger_id(*cause.place, listener.background_id),
        trigger=listener.trigger,
        source=cause.told.source,
        timestamp=cause.at,
        data=bounded(cause.told.data),
        source_session_id=cause.told.source,
        event_name=cause.told.name,
        depth=cause.depth,
    )


def _without_parent(session_id: str, state: Backgrounds) -> Iterator[e.BackgroundStopped]:
    """Those that stop with their parent; what was stopped before has nobody to start it any more."""
    for background_id in state.children.get(session_id, ()):
        there = state.known[background_id]
        if there.definition.stop_on_parent_stop and not there.over:
            yield stopped(there, "parent")
