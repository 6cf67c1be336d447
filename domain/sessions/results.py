"""What the caller of a session command is told: from its events, or from the state for a repeat."""

from collections.abc import Sequence

from domain.messages import HOST, Event, Request, Result
from domain.sessions import commands as c
from domain.sessions import events as e
from domain.sessions.decide import spawned_before, standing_of
from domain.sessions.events import SessionState
from domain.sessions.state import Session, Sessions, Tombstone, promise_id


def result(events: Sequence[Event]) -> Result | None:
    """Of an accepted command, from its events; None if they are of another kind."""
    match events[0]:
        case e.SessionSpawned() as spawned:
            return _spawned(spawned.session_id, spawned.session_name, SessionState.WAITING, replay=False)
        case e.SessionInstructed() as given:
            return _given(given)
        case e.SessionResumed() as resumed:
            given = next((event for event in events if isinstance(event, e.SessionInstructed)), None)
            told = {"session_id": resumed.session_id, "state": str(SessionState.WAITING), "replay": False}
            return told if given is None else _given(given)
        case e.SessionStopRequested() as asked:
            return _now(asked.session_id, SessionState.RUNNING)
        case e.SessionCancelled() | e.SessionEnded() as over:
            return _now(over.session_id, SessionState.ENDED)
        case e.SessionEvent() as other:
            return {"session_id": other.session_id, "recorded": True}
        case _:
            return None


def standing(request: Request, state: Sessions, origin: str = HOST) -> Result | None:
    """Of a command that changed nothing; None if it is of another kind."""
    match request:
        case c.SessionSpawn():
            session_id = spawned_before(request, origin, state)
            there = None if session_id is None else standing_of(session_id, state)
            if session_id is None or there is None:
                return {}
            return _spawned(session_id, there.session_name, state_of(there), replay=True)
        case c.SessionCancel() | c.SessionEnd() | c.SessionResume():
            there = standing_of(request.session_id, state)
            now = SessionState.ENDED if there is None else state_of(there)
            return _now(request.session_id, now) | {"replay": True}
        case (
            c.SessionRecordTurnStarted()
            | c.SessionRecordTurnEnded()
            | c.SessionRecordTurnLost()
            | c.SessionRecordTimedOut()
            | c.SessionRecordStale()
        ):
            return {"session_id": request.session_id, "recorded": False}
        case _:
            return None


def state_of(there: Session | Tombstone) -> SessionState:
    return there.state


def _spawned(session_id: str, name: str, state: SessionState, *, replay: bool) -> Result:
    return {
        "session_id": session_id,
        "session_name": name,
        "promise_id": promise_id(session_id),
        "state": str(state),
        "turn": 1,
        "replay": replay,
    }


def _given(event: e.SessionInstructed) -> Result:
    return {"session_id": event.session_id, "turn": event.turn, "state": str(SessionState.WAITING), "replay": False}


def _now(session_id: str, state: SessionState) -> Result:
    return {"session_id": session_id, "state": str(state), "replay": False}
