"""The rules of background sessions. Doing again what is done gives `()`."""

from datetime import timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from domain.background import commands as c
from domain.background import events as e
from domain.background import firing
from domain.background.definition import MANUAL, MAX_DECLARED, TIMER, Definition, digest_of
from domain.background.events import BackgroundState
from domain.background.evolving import evolve
from domain.background.reading import FIELD, definitions
from domain.background.state import Background, Backgrounds, Outcome
from domain.errors import Rejection
from domain.messages import Command, Event, Facts
from domain.sessions.commands import SessionEnd
from domain.sessions.decide import end, invalid
from domain.sessions.events import SessionSpawned, SessionState
from domain.sessions.state import Sessions

MAX_BACKOFF_S: Final = 60.0


def decide(command: Command[c.BackgroundRequest], state: Backgrounds, sessions: Sessions) -> tuple[Event, ...]:
    return _timed(_decide(command, state, sessions), command.facts)


def _decide(command: Command[c.BackgroundRequest], state: Backgrounds, sessions: Sessions) -> tuple[Event, ...]:
    request, facts = command.request, command.facts
    match request:
        case c.BackgroundStart():
            return start(request, state)
        case c.BackgroundStop():
            return stop(request, state)
        case c.TriggerFire():
            return fire_by_hand(request, command.origin, command.id, facts, state)
        case c.BackgroundDeclare():
            return declare(request, state, sessions)
        case c.BackgroundRecordRunning():
            return _running(request, state)
        case c.BackgroundRecordFailed():
            return _failed(request, facts, state)
        case c.BackgroundRecordRestartDue():
            return _restart(request, facts, state)
        case c.BackgroundRecordRunEnded():
            return _run_ended(request, state, sessions)
        case c.TriggerRecordFired():
            return _fired(request, command.id, facts, state)


# --- what people ask -----------------------------------------------------------------------------------------------


def start(request: c.BackgroundStart, state: Backgrounds) -> tuple[Event, ...]:
    """One that waits for its restart starts now."""
    there = found(request.background_id, request.name, state)
    if there.state in (BackgroundState.STARTING, BackgroundState.RUNNING):
        return ()
    return (e.BackgroundStarting(background_id=there.background_id, reason="asked"),)


def stop(request: c.BackgroundStop, state: Backgrounds) -> tuple[Event, ...]:
    there = found(request.background_id, request.name, state)
    return () if there.state is BackgroundState.STOPPED else (firing.stopped(there, "asked"),)


def fire_by_hand(
    request: c.TriggerFire, origin: str, command_id: str, facts: Facts, state: Backgrounds
) -> tuple[Event, ...]:
    there = _by_either(request.name, state)
    place = next((at for at, each in enumerate(there.definition.triggers) if each.type == MANUAL), None)
    if place is None:
        raise invalid("name", f"{there.name} has no trigger of type {MANUAL}: declare one")
    if not there.listens:
        raise invalid("name", f"{there.name} is {there.state}: start it first")
    check_data("data", request.data)
    told = firing.Firing(
        trigger_id=firing.trigger_id("command", command_id, there.background_id),
        trigger=place,
        source=origin,
        timestamp=facts.at,
        data=request.data,
    )
    return firing.fire(there, told, max_depth=facts.max_causation_depth, waits=True)


def found(background_id: str | None, name: str | None, state: Backgrounds) -> Background:
    """Raises `background_not_found`; `validation_failed` for both, for neither, and for a name that several have."""
    if (background_id is None) == (name is None):
        raise invalid("background_id", "either background_id or name")
    there = state.known.get(background_id or "")
    if there is not None and not there.over:
        return there
    named = state.named(name) if name is not None else ()
    if len(named) > 1:
        several = ", ".join(each.background_id for each in named)
        raise invalid("name", f"several have this name, give the id: {several}")
    if not named:
        asked = background_id or name or ""
        raise Rejection("background_not_found", f"no background session {asked}", name=asked)
    return named[0]


def _by_either(text: str, state: Backgrounds) -> Background:
    return found(text, None, state) if text in state.known else found(None, text, state)


# --- what is declared ----------------------------------------------------------------------------------------------


def declare(request: c.BackgroundDeclare, state: Backgrounds, sessions: Sessions) -> tuple[Event, ...]:
    """Nothing for a session that has ended meanwhile."""
    wanted = definitions(request.definitions)
    if request.parent_session_id is not None and request.parent_session_id not in sessions.known:
        return ()
    there = state.declared_by(request.source, request.parent_session_id)
    by_name = {each.name: each for each in there}
    names = {each.name for each in wanted}
    events: list[Event] = [firing.stopped(each, "withdrawn") for each in there if each.name not in names]
    left = len(there) - len(events)
    _check_room(len(wanted) - left, state, gone=len(events))
    number = state.declared
    for definition in wanted:
        known = by_name.get(definition.name)
        if known is None:
            number += 1
            events += _first(request, definition, number)
        else:
            events += _anew(request, definition, known)
    return tuple(events)


def with_children(spawned: SessionSpawned, facts: Facts, state: Backgrounds) -> tuple[Event, ...]:
    """What the bundle of a new session declares, with the session itself. Raises `validation_failed`."""
    given = () if facts.spawn is None else facts.spawn.background_sessions
    if not given:
        return ()
    wanted = definitions(given)
    _check_room(len(wanted), state)
    request = c.BackgroundDeclare(
        source="bundle",
        definitions=(),
        parent_session_id=spawned.session_id,
        bundle=spawned.bundle.uri,
        folder=facts.spawn.background_folder if facts.spawn is not None else "",
    )
    events: list[Event] = []
    for number, definition in enumerate(wanted, state.declared + 1):
        events += _first(request, definition, number)
    return _timed(tuple(events), facts)


def _timed(events: tuple[Event, ...], facts: Facts) -> tuple[Event, ...]:
    """A start says when it is."""
    return tuple(replace(each, at=facts.at) if isinstance(each, e.BackgroundStarting) else each for each in events)


def _check_room(more: int, state: Backgrounds, gone: int = 0) -> None:
    there = sum(not each.over for each in state.known.values()) - gone
    if more > 0 and there + more > MAX_DECLARED:
        raise invalid(FIELD, f"{there} are declared on this node, and at most {MAX_DECLARED} may be")


def _first(request: c.BackgroundDeclare, definition: Definition, number: int) -> list[Event]:
    background_id = f"bg-{definition.name}-{number:04}"
    events: list[Event] = [_declared(background_id, request, definition)]
    if definition.start_on_parent_start:
        events.append(e.BackgroundStarting(background_id=background_id, reason="parent"))
    return events


def _anew(request: c.BackgroundDeclare, definition: Definition, there: Background) -> list[Event]:
    """What runs goes on; the next one has the new definition. One that rests after failures is tried again."""
    background_id = there.background_id
    same = (there.definition_digest, there.bundle, there.folder) == (
        digest_of(definition),
        request.bundle,
        request.folder,
    )
    if same:
        rests = there.state is BackgroundState.FAILED and there.restart_at is None
        return [e.BackgroundStarting(background_id=background_id, reason="parent")] if rests else []
    events: list[Event] = [_declared(background_id, request, definition)]
    if there.state is not BackgroundState.STOPPED:
        events.append(e.BackgroundStarting(background_id=background_id, reason="declared"))
        after = there
        for each in events:
            after = evolve(Backgrounds(known=Backgrounds().known.set(background_id, after)), each).known[background_id]
        events += firing.next_runs(after)
    return events


def _declared(background_id: str, request: c.BackgroundDeclare, definition: Definition) -> e.BackgroundDeclared:
    return e.BackgroundDeclared(
        background_id=background_id,
        name=definition.name,
        definition=definition,
        definition_digest=digest_of(definition),
        source=request.source,
        parent_session_id=request.parent_session_id,
        bundle=request.bundle,
        folder=request.folder,
    )


# --- what the tower saw --------------------------------------------------------------------------------------------


def _running(request: c.BackgroundRecordRunning, state: Backgrounds) -> tuple[Event, ...]:
    there = state.known.get(request.background_id)
    if there is None or there.state is not BackgroundState.STARTING:
        return ()
    if there.definition_digest != request.definition_digest:
        return ()
    return (e.BackgroundRunning(background_id=there.background_id),)


def _failed(request: c.BackgroundRecordFailed, facts: Facts, state: Backgrounds) -> tuple[Event, ...]:
    """With the time of its restart, or without one when there were too many in the window."""
    there = state.known.get(request.background_id)
    if there is None or there.state not in (BackgroundState.STARTING, BackgroundState.RUNNING):
        return ()
    if there.definition_digest != request.definition_digest:
        return ()
    definition = there.definition
    earlier = [at for at in there.restarts if at > facts.at - timedelta(seconds=definition.restart_window)]
    count, restart_at = len(earlier), None
    if definition.restart_on_failure and count < definition.max_restarts:
        restart_at = facts.at + timedelta(seconds=min(2.0**count, MAX_BACKOFF_S))
        count += 1
    return (
        e.BackgroundFailed(
            background_id=there.background_id,
            error=request.error,
            error_type=request.error_type,
            restart_count=count,
            restart_at=restart_at,
        ),
    )


def _restart(request: c.BackgroundRecordRestartDue, facts: Facts, state: Backgrounds) -> tuple[Event, ...]:
    """Nothing before the time (a clock that stepped)."""
    there = state.known.get(request.background_id)
    if there is None or there.state is not BackgroundState.FAILED:
        return ()
    if there.restart_at is None or facts.at < there.restart_at:
        return ()
    return (e.BackgroundStarting(background_id=there.background_id, reason="restart"),)


def _run_ended(request: c.BackgroundRecordRunEnded, state: Backgrounds, sessions: Sessions) -> tuple[Event, ...]:
    """And what waits takes its place. The session of a run that succeeded takes nothing any more; another one can be
    resumed."""
    there = state.known.get(request.background_id)
    run = None if there is None else there.running.get(request.trigger_id)
    if there is None or run is None or run.attempt != request.attempt:
        return ()
    outcome = run.outcome
    if outcome is None and request.failure is not None:
        outcome = Outcome(success=False, error=request.failure.error, error_type=request.failure.error_type)
    if outcome is None:
        return ()
    events = firing.run_ended(there, run, outcome)
    session = sessions.known.get(run.session_id)
    if outcome.success and session is not None and session.state is SessionState.COMPLETED:
        events = (*events, *end(SessionEnd(session_id=run.session_id), sessions))
    left = state
    for event in events:
        left = evolve(left, event)
    after = left.known.get(there.background_id)
    return events if after is None else (*events, *firing.next_runs(after))


def _fired(request: c.TriggerRecordFired, command_id: str, facts: Facts, state: Backgrounds) -> tuple[Event, ...]:
    """Nothing for what was told before, or by the watch of another definition."""
    there = state.known.get(request.background_id)
    trigger_id = request.trigger_id or firing.trigger_id("command", command_id, request.background_id)
    if there is None or trigger_id in state.told.known:
        return ()
    if not 0 <= request.trigger < len(there.definition.triggers):
        return ()
    if there.definition.triggers[request.trigger].type != request.type:
        return ()
    ticked = there.ticked.get(request.trigger)
    if request.type == TIMER and ticked is not None and request.timestamp <= ticked:
        return ()
    check_data("data", request.data)
    told = firing.Firing(
        trigger_id=trigger_id,
        trigger=request.trigger,
        source=request.source,
        timestamp=request.timestamp,
        data=request.data,
        file_path=request.file_path,
        change_type=request.change_type,
    )
    return firing.fire(there, firing.with_tick(there, told), max_depth=facts.max_causation_depth, waits=there.listens)


def check_data(field: str, data: Any) -> None:
    try:
        size = len(msgspec.json.encode(data))
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid(field, f"not JSON: {error}") from None
    if size > c.DATA_BYTES:
        raise invalid(field, f"at most {c.DATA_BYTES} bytes as JSON")
