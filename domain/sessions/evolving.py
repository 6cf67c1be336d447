"""`evolve`: the state of sessions after an event. Total: what does not fit changes nothing."""

from typing import Any

from msgspec.structs import replace

from domain.messages import Event
from domain.sessions import events as e
from domain.sessions.events import SessionState
from domain.sessions.state import Instruction, Session, Sessions, Tombstone


def evolve(state: Sessions, event: Event) -> Sessions:
    if isinstance(event, e.SessionSpawned):
        return _spawned(state, event)
    session = state.known.get(getattr(event, "session_id", ""))
    if session is None:
        return state
    match event:
        case e.SessionInstructed():
            return _instructed(state, session, event)
        case e.SessionTurnStarted():
            if session.state is not SessionState.WAITING or not session.waiting:
                return state
            first, *others = session.waiting
            return _with(state, replace(session, state=SessionState.RUNNING, running=first, waiting=tuple(others)))
        case e.SessionTurnCompleted():
            left = _left(session, event)
            return _with(state, replace(left, state=SessionState.WAITING, turn_count=session.turn_count + 1))
        case e.SessionCompleted():
            return _with(state, _rested(session, SessionState.COMPLETED))
        case e.SessionError():
            return _with(state, _rested(_left(session, event), SessionState.ERROR))
        case e.SessionTimedOut():
            return _with(state, _rested(_left(session, event), SessionState.TIMED_OUT))
        case e.SessionCancelled():
            return _with(state, _rested(replace(_left(session, event), waiting=()), SessionState.CANCELLED))
        case e.SessionStopRequested():
            return _with(state, replace(session, stop=event.reason))
        case e.SessionResumed():
            return _resumed(state, session, event)
        case e.SessionStale():
            return _with(state, replace(session, stale=True))
        case e.SessionEnded():
            return _with(state, replace(session, ending=True))
        case _:
            return state


def _spawned(state: Sessions, event: e.SessionSpawned) -> Sessions:
    if event.session_id in state.known or event.session_id in state.ended:
        return state
    shared = set(Session.__struct_fields__) & set(event.__struct_fields__)
    session = Session(**{name: getattr(event, name) for name in shared})
    keys = state.keys
    if event.idempotency_key is not None:
        keys = keys.set((event.owner, event.idempotency_key), event.session_id)
    return _with(replace(state, keys=keys), session)


def _instructed(state: Sessions, session: Session, event: e.SessionInstructed) -> Sessions:
    given = Instruction(event.turn, event.instruction_digest, event.instruction)
    to = SessionState.WAITING if session.state is SessionState.COMPLETED else session.state
    return _with(
        state,
        replace(session, state=to, waiting=(*session.waiting, given), turns=max(session.turns, event.turn)),
    )


def _resumed(state: Sessions, session: Session, event: e.SessionResumed) -> Sessions:
    if session.state in (SessionState.ERROR, SessionState.TIMED_OUT):
        return _with(state, replace(session, state=SessionState.WAITING, deadline=event.deadline))
    return state


def _left(session: Session, event: e.TurnEnd) -> Session:
    """Without the turn under way."""
    return replace(session, running=None, transcript_digest=event.transcript_digest or session.transcript_digest)


def _rested(session: Session, to: SessionState) -> Session:
    return replace(session, state=to, stop=None, deadline=None, settled=True)


def _with(state: Sessions, session: Session) -> Sessions:
    """A session that has ended on purpose and has nothing left to do becomes its tombstone."""
    session_id, active = session.session_id, state.active
    if session.active and session_id not in active:
        active = active.set(session_id, state.accepted)
        state = replace(state, accepted=state.accepted + 1)
    elif not session.active and session_id in active:
        active = active.delete(session_id)
    changed: dict[str, Any] = {"active": active}
    if session.ending and not session.active:
        stone = Tombstone(session.owner, session.request_digest, session.session_name, session.state)
        known = state.known.delete(session_id) if session_id in state.known else state.known
        return replace(state, known=known, ended=state.ended.set(session_id, stone), **changed)
    return replace(state, known=state.known.set(session_id, session), **changed)
