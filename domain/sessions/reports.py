"""What the tower saw of sessions itself: turns that began and ended, deadlines, bundles that were loaded anew. What
comes too late changes nothing."""

from domain.executions.commands import CapabilityRecordDenied
from domain.executions.events import CapabilityDenied
from domain.messages import Event, Facts
from domain.sessions import commands as c
from domain.sessions import events as e
from domain.sessions.decide import about, below_in_foreground, stop, turn_fields
from domain.sessions.events import SessionState
from domain.sessions.state import Session, Sessions, next_turn

LOST = "the tower ended while this turn ran; nobody knows how far it came"


def report(request: c.Reported, facts: Facts, state: Sessions) -> tuple[Event, ...]:
    session = state.known.get(request.session_id)
    if session is None:
        return ()
    match request:
        case c.SessionRecordTurnStarted():
            return _start(request, session, state)
        case c.SessionRecordTurnEnded():
            return _end(request, session) if _runs(session, request.turn) else ()
        case c.SessionRecordTurnLost():
            return _lose(request, session) if _runs(session, request.turn) else ()
        case c.SessionRecordTimedOut():
            return _time_out(session, facts, state)
        case c.SessionRecordStale():
            return _stale(request, session)


def deny(request: CapabilityRecordDenied, state: Sessions) -> tuple[Event, ...]:
    """What code in a turn asked for and may not have."""
    session = state.known.get(request.session_id or "")
    if session is None or session.state is not SessionState.RUNNING:
        return ()
    return (
        CapabilityDenied(
            execution_id=request.execution_id,
            session_id=session.session_id,
            capability=request.capability,
            reason=request.reason,
        ),
    )


def _runs(session: Session, turn: int) -> bool:
    return session.running is not None and session.running.turn == turn


def _start(request: c.SessionRecordTurnStarted, session: Session, state: Sessions) -> tuple[Event, ...]:
    """Only the one whose turn it is."""
    first = next_turn(session.session_id, state)
    if first is None or first.turn != request.turn:
        return ()
    started = e.SessionTurnStarted(session_id=session.session_id, turn=request.turn)
    if request.restarted:
        return (e.SessionResumed(session_id=session.session_id, reason="restarted"), started)
    return (started,)


def _end(request: c.SessionRecordTurnEnded, session: Session) -> tuple[Event, ...]:
    """What was completed stays so, whatever it was to be stopped for."""
    fields = turn_fields(request)
    match request.state:
        case "completed":
            return (e.SessionTurnCompleted(**fields), *_after(request, session))
        case "failed" if session.stop is None:
            failure = request.error or c.TurnFailure(type="internal", message="no reason was given")
            return (e.SessionError(**fields, **about(session), error=failure.message, error_type=failure.type),)
        case "timed_out" if session.stop != "cancelled":
            return (e.SessionTimedOut(**fields, **about(session)),)
        case _ if session.stop == "timed_out":
            return (e.SessionTimedOut(**fields, **about(session)),)
        case _:
            return (e.SessionCancelled(**fields), *_ended(session))


def _after(request: c.SessionRecordTurnEnded, session: Session) -> tuple[Event, ...]:
    """The last turn that waits completes the session."""
    if session.stop == "cancelled":
        return (e.SessionCancelled(session_id=session.session_id), *_ended(session))
    if session.waiting:
        if session.stop != "timed_out":
            return ()
        return (e.SessionTimedOut(session_id=session.session_id, **about(session, more=1)),)
    return (
        e.SessionCompleted(
            session_id=session.session_id,
            **about(session, more=1),
            output=request.output,
            output_digest=request.output_digest,
        ),
    )


def _lose(request: c.SessionRecordTurnLost, session: Session) -> tuple[Event, ...]:
    """It ended with the tower, which is what was asked for if it was to stop."""
    match session.stop:
        case "cancelled":
            return (e.SessionCancelled(session_id=session.session_id, turn=request.turn), *_ended(session))
        case "timed_out":
            return (e.SessionTimedOut(session_id=session.session_id, turn=request.turn, **about(session)),)
        case None:
            lost = e.SessionError(
                session_id=session.session_id, turn=request.turn, **about(session), error=LOST, error_type="lost"
            )
            return (lost,)


def _time_out(session: Session, facts: Facts, state: Sessions) -> tuple[Event, ...]:
    """Nothing before the time (a clock that stepped). The foreground sessions below it are cancelled."""
    if session.deadline is None or facts.at < session.deadline or not session.active:
        return ()
    stopped = stop(session, "timed_out")
    if not stopped:
        return ()
    below = below_in_foreground(session.session_id, state)
    return (*stopped, *(event for each in below for event in stop(each, "cancelled")))


def _stale(request: c.SessionRecordStale, session: Session) -> tuple[Event, ...]:
    if session.stale or session.bundle.digest != request.from_digest:
        return ()
    return (
        e.SessionStale(session_id=session.session_id, from_digest=request.from_digest, to_digest=request.to_digest),
    )


def _ended(session: Session) -> tuple[Event, ...]:
    if session.ending or session.state is SessionState.ENDED:
        return ()
    return (e.SessionEnded(session_id=session.session_id, reason="cancelled"),)
