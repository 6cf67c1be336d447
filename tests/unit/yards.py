"""Requests and events of background sessions with fixed ids: `workers`, which hears `work:ready` and has the id BG.

A second and third one are `bg-{name}-0002` and so on, in the order of their declaration.
"""

from datetime import timedelta
from typing import Any

from domain.background import commands as c
from domain.background import events as e
from domain.background.definition import Definition, digest_of
from domain.background.reading import definition as read
from domain.messages import TOWER, Event, Facts, Request
from domain.sessions.commands import SessionEmit, SessionRecordTurnEnded, TurnFailure
from tests.unit import talks
from tests.unit.builders import AT, facts
from tests.unit.given import Happened, History, given

BG = "bg-workers-0001"


def declaration(name: str = "workers", *events: str, **fields: Any) -> dict[str, Any]:
    """As people write it; `triggers` are those of `events` unless they are given."""
    heard = {"type": "session_event", "config": {"event_names": list(events or ("work:ready",))}}
    return {"name": name, "bundle": "worker", "triggers": [heard], **fields}


def definition(name: str = "workers", *events: str, **fields: Any) -> Definition:
    return read(declaration(name, *events, **fields), "it")


def declare(*sessions: dict[str, Any], **fields: Any) -> c.BackgroundDeclare:
    return c.BackgroundDeclare(**({"source": "config", "definitions": sessions} | fields))


def declared(background_id: str = BG, of: Definition | None = None, **fields: Any) -> Event:
    of = of or definition()
    known: dict[str, Any] = {
        "background_id": background_id,
        "name": of.name,
        "definition": of,
        "definition_digest": digest_of(of),
        "source": "config",
    }
    return e.BackgroundDeclared(**(known | fields))


def starting(reason: Any = "parent", background_id: str = BG, after_s: float = 0) -> Event:
    return e.BackgroundStarting(background_id=background_id, reason=reason, at=at(after_s).at)


def running(background_id: str = BG) -> Event:
    return e.BackgroundRunning(background_id=background_id)


def stopped(reason: Any = "asked", *dropped: str, background_id: str = BG) -> Event:
    return e.BackgroundStopped(background_id=background_id, reason=reason, dropped=dropped)


def works(*sessions: dict[str, Any]) -> History:
    """The configuration declares them, `workers` unless another is given, and all that they watch is watched."""
    there = given()
    for each in sessions or (declaration(),):
        known = [*(there.state.backgrounds.known[at].definition for at in in_order(there))]
        texts = tuple(written(of) for of in known)
        there = told(there, declare(*texts, each)).accepted()
    for background_id in in_order(there):
        of = there.state.backgrounds.known[background_id]
        watched = c.BackgroundRecordRunning(background_id=background_id, definition_digest=of.definition_digest)
        there = told(there, watched).accepted()
    return there


def in_order(there: History) -> list[str]:
    known = there.state.backgrounds.known
    return sorted(known, key=lambda each: known[each].number)


def written(of: Definition) -> dict[str, Any]:
    """A definition as people would write it."""
    fields = {name: getattr(of, name) for name in of.__struct_fields__ if name != "triggers"}
    return {**fields, "triggers": [{"type": each.type, "config": each.config} for each in of.triggers]}


def told(history: History | tuple[Event, ...], request: Request, *, after_s: float = 0, depth: int = 32) -> Happened:
    """By the tower itself."""
    there = history if isinstance(history, History) else given(*history)
    return there.when(request, origin=TOWER, facts=at(after_s, depth))


def at(after_s: float = 0, depth: int = 32) -> Facts:
    made = facts(after=timedelta(seconds=after_s))
    return Facts(at=made.at, max_causation_depth=depth)


def emit(name: str = "work:ready", data: Any = None, session_id: str | None = None) -> SessionEmit:
    return SessionEmit(name=name, data=data, session_id=session_id)


def emits(there: History, name: str = "work:ready", data: Any = None, *, times: int = 1) -> History:
    for _ in range(times):
        there = there.when(emit(name, data), facts=at()).accepted()
    return there


def record(trigger_id: str | None = "f1", **fields: Any) -> c.TriggerRecordFired:
    """What a watched trigger has to tell."""
    known: dict[str, Any] = {"background_id": BG, "trigger": 0, "type": "webhook", "source": "here", "timestamp": AT}
    told: dict[str, Any] = {**known, "trigger_id": trigger_id, **fields}
    return c.TriggerRecordFired(**told)


def hooked(name: str = "workers", **fields: Any) -> dict[str, Any]:
    """A background session with a watched trigger."""
    return declaration(name, triggers=[{"type": "webhook", "config": {"name": "hook", "secret_env": "HOOK"}}], **fields)


def run_of(there: History, trigger_id: str, background_id: str = BG) -> str:
    """The session of a run."""
    return there.state.backgrounds.known[background_id].running[trigger_id].session_id


def spawn_run(there: History, trigger_id: str, background_id: str = BG) -> History:
    """Its session is there and its turn is under way."""
    session_id = run_of(there, trigger_id, background_id)
    return there.and_given(*talks.running(session_id, session_name=f"{background_id}-run", background=True))


def end_turn(there: History, session_id: str, state: Any = "completed", output: str = "done") -> Happened:
    error = TurnFailure(type="exit_status", message="exit status 3") if state == "failed" else None
    ended = SessionRecordTurnEnded(session_id=session_id, turn=1, state=state, output=output, error=error)
    return told(there, ended)


def run_ended(there: History, trigger_id: str, attempt: int = 1, background_id: str = BG) -> Happened:
    """The effect tells that the session of the run has an outcome."""
    ended = c.BackgroundRecordRunEnded(background_id=background_id, trigger_id=trigger_id, attempt=attempt)
    return told(there, ended)


def finish(there: History, trigger_id: str, state: Any = "completed", background_id: str = BG) -> Happened:
    """From its run to the end of it."""
    attempt = there.state.backgrounds.known[background_id].running[trigger_id].attempt
    spawned = spawn_run(there, trigger_id, background_id)
    over = end_turn(spawned, run_of(spawned, trigger_id, background_id), state).accepted()
    return run_ended(over, trigger_id, attempt, background_id)


def kinds(events: tuple[Event, ...]) -> list[str]:
    """Names of events, for stories of which the order is the point."""
    return [type(event).__name__ for event in events]
