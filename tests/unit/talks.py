"""Requests, facts and events of sessions with fixed ids: the session `s` from the bundle `reviewer`."""

from datetime import timedelta
from typing import Any

import msgspec

from domain.messages import HOST, TOWER, Event, Facts, Request, SpawnFacts
from domain.sessions import commands as c
from domain.sessions import events as e
from domain.sessions.decide import digest_of, request_digest
from tests.unit.builders import AT, facts
from tests.unit.given import Happened, History, given

ROOT = "0b51e0c4-6bd1-4a0d-9c6c-5f0f6a7d9f3e"
FRESH = "7d5f3c1a-0e2b-4f60-8a9b-c0d1e2f3a4b5"
BUNDLE = e.BundleRef(uri="/bundles/reviewer", name="reviewer", version="1.2.0", digest="b" * 64)
REVIEWER: dict[str, Any] = {"session_name": "reviewer", "bundle_name": "reviewer"}
PREPARED = SpawnFacts(
    bundle_uri=BUNDLE.uri,
    bundle_name=BUNDLE.name,
    bundle_version=BUNDLE.version,
    bundle_digest=BUNDLE.digest,
    plan_digest="d" * 64,
    runtime="echo",
)


def prepared(fresh: str = FRESH, *, after_s: float = 0, text_digest: str | None = None, **changed: Any) -> Facts:
    """The bundle is prepared; `fresh` is the random id."""
    spawn = msgspec.structs.replace(PREPARED, **changed)
    made = facts(fresh, after=timedelta(seconds=after_s), text_digest=text_digest)
    return msgspec.structs.replace(made, spawn=spawn)


def spawn(session_id: str | None = "s", instruction: str = "Look.", **options: Any) -> c.SessionSpawn:
    bundle = None if "agent" in options else options.pop("bundle", "reviewer")
    return c.SessionSpawn(bundle=bundle, instruction=instruction, session_id=session_id, **options)


def spawned(session_id: str = "s", *, request: c.SessionSpawn | None = None, **changed: Any) -> Event:
    asked = request or spawn(session_id)
    shared: dict[str, Any] = {
        "session_id": session_id,
        "owner": HOST,
        "session_name": "reviewer",
        "bundle": BUNDLE,
        "plan_digest": PREPARED.plan_digest,
        "runtime": "echo",
        "instruction_digest": digest_of(asked.instruction),
        "request_digest": request_digest(asked),
        "idempotency_key": asked.idempotency_key,
    }
    return e.SessionSpawned(**(shared | changed))


def instructed(turn: int = 1, text: str = "Look.", session_id: str = "s") -> Event:
    return e.SessionInstructed(session_id=session_id, turn=turn, instruction_digest=digest_of(text), instruction=text)


def turn_started(turn: int = 1, session_id: str = "s") -> Event:
    return e.SessionTurnStarted(session_id=session_id, turn=turn)


def turn_completed(turn: int = 1, session_id: str = "s", output: str = "done") -> Event:
    return e.SessionTurnCompleted(session_id=session_id, turn=turn, output=output)


def completed(turn_count: int = 1, session_id: str = "s", output: str = "done") -> Event:
    return e.SessionCompleted(
        session_id=session_id, session_name="reviewer", bundle_name="reviewer", turn_count=turn_count, output=output
    )


def failed(turn: int = 1, session_id: str = "s") -> Event:
    told: dict[str, Any] = {"session_id": session_id, **REVIEWER, "turn_count": turn - 1}
    return e.SessionError(**told, turn=turn, error="exit status 3", error_type="exit_status")


def timed_out(turn: int | None = 1, session_id: str = "s", turn_count: int = 0) -> Event:
    return e.SessionTimedOut(session_id=session_id, turn=turn, **REVIEWER, turn_count=turn_count)


def cancelled(turn: int | None = 1, session_id: str = "s") -> Event:
    return e.SessionCancelled(session_id=session_id, turn=turn)


def ended(session_id: str = "s", reason: Any = "cancelled") -> Event:
    return e.SessionEnded(session_id=session_id, reason=reason)


def stopping(session_id: str = "s", reason: Any = "cancelled") -> Event:
    return e.SessionStopRequested(session_id=session_id, reason=reason)


def resumed(session_id: str = "s", reason: Any = "asked", deadline_s: float | None = None) -> Event:
    deadline = None if deadline_s is None else AT + timedelta(seconds=deadline_s)
    return e.SessionResumed(session_id=session_id, reason=reason, deadline=deadline)


# --- histories -----------------------------------------------------------------------------------------------------


def waiting(session_id: str = "s", **changed: Any) -> tuple[Event, ...]:
    return spawned(session_id, **changed), instructed(session_id=session_id)


def running(session_id: str = "s", **changed: Any) -> tuple[Event, ...]:
    return *waiting(session_id, **changed), turn_started(session_id=session_id)


def rested(session_id: str = "s", **changed: Any) -> tuple[Event, ...]:
    return *running(session_id, **changed), turn_completed(session_id=session_id), completed(session_id=session_id)


def in_error(session_id: str = "s", **changed: Any) -> tuple[Event, ...]:
    return *running(session_id, **changed), failed(session_id=session_id)


def over(session_id: str = "s", **changed: Any) -> tuple[Event, ...]:
    """Ended on purpose."""
    return *waiting(session_id, **changed), cancelled(None, session_id), ended(session_id)


# --- what the tower reports ----------------------------------------------------------------------------------------


def told(history: tuple[Event, ...] | History, request: Request, *, after_s: float = 0) -> Happened:
    there = history if isinstance(history, History) else given(*history)
    return there.when(request, origin=TOWER, facts=facts(after=timedelta(seconds=after_s)))


def turn_ended(state: Any = "completed", turn: int = 1, session_id: str = "s", **more: Any) -> Request:
    output = "done" if state == "completed" else ""
    error = c.TurnFailure(type="exit_status", message="exit status 3") if state == "failed" else None
    return c.SessionRecordTurnEnded(
        session_id=session_id, turn=turn, state=state, **({"output": output, "error": error} | more)
    )


def started(turn: int = 1, session_id: str = "s", *, restarted: bool = False) -> Request:
    return c.SessionRecordTurnStarted(session_id=session_id, turn=turn, restarted=restarted)


def lost(turn: int = 1, session_id: str = "s") -> Request:
    return c.SessionRecordTurnLost(session_id=session_id, turn=turn)


def instruct(text: str = "More.", session_id: str = "s") -> Request:
    return c.SessionInstruct(session_id=session_id, instruction=text)


def cancel(session_id: str = "s") -> Request:
    return c.SessionCancel(session_id=session_id)
