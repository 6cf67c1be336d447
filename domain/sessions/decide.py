"""The rules of sessions: what is asked. Doing again what is done gives `()`. What the tower saw itself is in
`reports.py`."""

import hashlib
from collections.abc import Container
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from domain import promises as p
from domain.errors import Rejection
from domain.messages import Event, Facts, SpawnFacts
from domain.sessions import commands as c
from domain.sessions import events as e
from domain.sessions import ids
from domain.sessions.events import SessionState
from domain.sessions.state import SELF_LIMIT, Session, Sessions, Tombstone, exists, spawned_by

MAX_WAITING: Final = 1_000
MAX_ACTIVE: Final = 10_000
"""Instructions that wait at most in one session, and sessions that have something to do; one more is `tower_busy`."""

SELF: Final = "self"
"""The agent that is the parent itself."""


def decide(
    request: c.Asked, origin: str, facts: Facts, state: Sessions, namespaces: Container[str]
) -> tuple[Event, ...]:
    """`namespaces`: ids of bare Python sessions, which are taken."""
    match request:
        case c.SessionSpawn():
            return spawn(request, origin, facts, state, namespaces)
        case c.SessionInstruct():
            return instruct(request, facts, state)
        case c.SessionCancel():
            return cancel(request, state)
        case c.SessionEnd():
            return end(request, state)
        case c.SessionResume():
            return resume(request, facts, state)


# --- starting one --------------------------------------------------------------------------------------------------


def spawn(
    request: c.SessionSpawn, origin: str, facts: Facts, state: Sessions, namespaces: Container[str]
) -> tuple[Event, ...]:
    check(request)
    there = spawned_before(request, origin, state)
    if there is not None:
        known = state.known.get(there) or state.ended[there]
        if known.owner == origin and known.request_digest == request_digest(request):
            return ()
        if request.idempotency_key is not None and state.keys.get((origin, request.idempotency_key)) == there:
            raise Rejection(
                "idempotency_conflict",
                f"session {there} was asked for with another instruction or other options",
                idempotency_key=request.idempotency_key,
            )
        raise _taken(there)
    if request.session_id is not None and request.session_id in namespaces:
        raise _taken(request.session_id)
    parent = None if request.parent_session_id is None else _parent(request.parent_session_id, state)
    prepared = facts.spawn
    if prepared is None:
        # The parent was spawned in this very batch, or the bundle is not read yet.
        raise Rejection("tower_busy", "the bundle is not prepared yet; ask again", queued=1)
    if prepared.refusal is not None:
        code, message, details = prepared.refusal
        raise Rejection(code, message, **details)
    depth, self_depth = _depth(request, parent, prepared)
    if len(state.active) >= MAX_ACTIVE:
        raise _busy(len(state.active), "sessions have something to do")
    session_id = request.session_id or ids.made(UUID(facts.ids[0]), _name(request, prepared), request.parent_session_id)
    if exists(session_id, state) or session_id in namespaces:
        raise _taken(session_id)
    return (
        e.SessionSpawned(
            session_id=session_id,
            owner=origin,
            session_name=_name(request, prepared),
            bundle=e.BundleRef(
                uri=prepared.bundle_uri,
                name=prepared.bundle_name,
                version=prepared.bundle_version,
                digest=prepared.bundle_digest,
            ),
            plan_digest=prepared.plan_digest,
            runtime=prepared.runtime,
            instruction_digest=digest_of(request.instruction),
            request_digest=request_digest(request),
            parent_session_id=request.parent_session_id,
            background=request.background,
            timeout_s=request.timeout,
            deadline=_deadline(request.timeout, facts.at),
            depth=depth,
            self_depth=self_depth,
            context_digest=prepared.context_digest,
            context_messages=prepared.context_messages,
            idempotency_key=request.idempotency_key,
            warnings=prepared.warnings,
        ),
        _instructed(session_id, 1, request.instruction, facts),
    )


def check(request: c.SessionSpawn) -> None:
    """What can be said of it without looking anything up. Raises `Rejection`."""
    if (request.bundle is None) == (request.agent is None):
        raise invalid("bundle", "either a bundle or an agent of the parent's")
    if request.agent is not None and request.parent_session_id is None:
        raise invalid("agent", "an agent of the parent's bundle: parent_session_id is missing")
    if request.session_id is not None and not ids.is_id(request.session_id):
        raise invalid("session_id", "1 to 100 characters of A-Z a-z 0-9 _ -")
    _check_instruction(request.instruction)


def spawned_before(request: c.SessionSpawn, origin: str, state: Sessions) -> str | None:
    """The session that this request was given before, by its id or its key."""
    if request.idempotency_key is not None:
        keyed = state.keys.get((origin, request.idempotency_key))
        if keyed is not None:
            return keyed
    return request.session_id if request.session_id is not None and exists(request.session_id, state) else None


def request_digest(request: c.SessionSpawn) -> str:
    asked = msgspec.json.encode(request, order="sorted")
    return hashlib.blake2b(asked, digest_size=16).hexdigest()


def _depth(request: c.SessionSpawn, parent: Session | None, prepared: SpawnFacts) -> tuple[int, int]:
    depth = 0 if parent is None else parent.depth + 1
    if depth > prepared.depth_limit:
        raise _too_deep(f"sessions below each other: at most {prepared.depth_limit}", depth, prepared.depth_limit)
    self_depth = 0 if parent is None or request.agent != SELF else parent.self_depth + 1
    if self_depth > SELF_LIMIT:
        raise _too_deep(f"sessions that delegate to themselves: at most {SELF_LIMIT}", self_depth, SELF_LIMIT)
    return depth, self_depth


def _parent(session_id: str, state: Sessions) -> Session:
    """Nothing new starts below one that is being cancelled."""
    parent = known_session(session_id, state)
    if parent.stop == "cancelled":
        raise _ended(session_id, parent.state)
    return parent


def _name(request: c.SessionSpawn, prepared: SpawnFacts) -> str:
    return request.session_name or request.agent or prepared.bundle_name or "agent"


# --- giving it something to do -------------------------------------------------------------------------------------


def instruct(request: c.SessionInstruct, facts: Facts, state: Sessions) -> tuple[Event, ...]:
    """A session that failed or timed out goes on with it."""
    _check_instruction(request.instruction)
    session = open_session(request.session_id, state)
    if len(session.waiting) >= MAX_WAITING:
        raise _busy(len(session.waiting), f"instructions wait in session {session.session_id}")
    given = _instructed(session.session_id, session.turns + 1, request.instruction, facts)
    if session.active or session.state is SessionState.COMPLETED:
        return (given,)
    return (_resumed(session, session.timeout_s, facts.at), given)


def resume(request: c.SessionResume, facts: Facts, state: Sessions) -> tuple[Event, ...]:
    """Once, however many ask: one that has gone on meanwhile is only given the instruction."""
    session = open_session(request.session_id, state)
    given: tuple[Event, ...] = ()
    if request.instruction is not None:
        given = instruct(
            c.SessionInstruct(session_id=request.session_id, instruction=request.instruction), facts, state
        )
    if session.active or session.state is SessionState.COMPLETED:
        if not given and session.state is SessionState.COMPLETED:
            raise invalid("instruction", "nothing waits in this session: say what to do")
        return given
    if not given and not session.waiting:
        raise invalid("instruction", "nothing waits in this session: say what to do")
    resumed = _resumed(session, request.timeout or session.timeout_s, facts.at)
    return (resumed, *(each for each in given if not isinstance(each, e.SessionResumed)))


def _resumed(session: Session, timeout_s: float | None, at: datetime) -> e.SessionResumed:
    return e.SessionResumed(session_id=session.session_id, reason="asked", deadline=_deadline(timeout_s, at))


def _instructed(session_id: str, turn: int, text: str, facts: Facts) -> e.SessionInstructed:
    digest = digest_of(text)
    if not needs_file(text):
        return e.SessionInstructed(session_id=session_id, turn=turn, instruction_digest=digest, instruction=text)
    if facts.text_digest != digest:
        raise Rejection("tower_busy", "the instruction is not kept yet; ask again", queued=1)
    return e.SessionInstructed(session_id=session_id, turn=turn, instruction_digest=digest)


def needs_file(text: str) -> bool:
    """Whether an instruction is too long for an event."""
    return len(text.encode()) > c.INSTRUCTION_BYTES


# --- ending it -----------------------------------------------------------------------------------------------------


def cancel(request: c.SessionCancel, state: Sessions) -> tuple[Event, ...]:
    """With the foreground sessions below it."""
    if request.session_id in state.ended:
        return ()
    session = known_session(request.session_id, state)
    below = below_in_foreground(session.session_id, state)
    return tuple(event for each in (session, *below) for event in stop(each, "cancelled"))


def stop(session: Session, reason: e.StopReason) -> tuple[Event, ...]:
    """What runs is told to end, what only waits ends at once; nothing for what is told already. One that rests is
    ended by a cancel."""
    session_id = session.session_id
    ended = (
        () if reason == "timed_out" or session.ending else (e.SessionEnded(session_id=session_id, reason="cancelled"),)
    )
    if session.state is SessionState.RUNNING:
        if session.stop in ("cancelled", reason):
            return ()
        return (e.SessionStopRequested(session_id=session_id, reason=reason),)
    if session.state is not SessionState.WAITING:
        return ended
    if reason == "timed_out":
        return (e.SessionTimedOut(session_id=session_id, **about(session)),)
    return (e.SessionCancelled(session_id=session_id), *ended)


def end(request: c.SessionEnd, state: Sessions) -> tuple[Event, ...]:
    if request.session_id in state.ended:
        return ()
    session = known_session(request.session_id, state)
    return () if session.ending else (e.SessionEnded(session_id=session.session_id, reason="asked"),)


def below_in_foreground(session_id: str, state: Sessions) -> tuple[Session, ...]:
    """The sessions with something to do that somebody below it waits for, in the order of their acceptance."""
    found = [
        state.known[each]
        for each in sorted(state.active, key=lambda each: state.active[each])
        if each != session_id and _is_below(state.known[each], session_id, state)
    ]
    return tuple(found)


def _is_below(session: Session, above: str, state: Sessions) -> bool:
    at: Session | None = session
    while at is not None and not at.background and at.parent_session_id is not None:
        if at.parent_session_id == above:
            return True
        at = state.known.get(at.parent_session_id)
    return False


# --- shared --------------------------------------------------------------------------------------------------------


def guard_promise(request: p.Asked, state: Sessions) -> None:
    """The promise of a session is settled by nobody else. Raises `Rejection`."""
    if isinstance(request, p.PromiseCreate | p.PromiseExpire):
        return
    session_id = spawned_by(request.id)
    if session_id is not None and exists(session_id, state):
        hint = ": cancel the session" if isinstance(request, p.PromiseCancel) else ""
        raise invalid("id", f"settles with its session{hint}")


def open_session(session_id: str, state: Sessions) -> Session:
    """One that takes instructions. Raises `Rejection`."""
    session = known_session(session_id, state)
    if session.ending or session.stop == "cancelled":
        raise _ended(session_id, session.state)
    return session


def known_session(session_id: str, state: Sessions) -> Session:
    session = state.known.get(session_id)
    if session is not None:
        return session
    stone = state.ended.get(session_id)
    if stone is not None:
        raise _ended(session_id, stone.state)
    raise Rejection("session_not_found", f"no session {session_id}", session_id=session_id)


def standing_of(session_id: str, state: Sessions) -> Session | Tombstone | None:
    return state.known.get(session_id) or state.ended.get(session_id)


def digest_of(text: str) -> str:
    """As that of its file."""
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _deadline(timeout_s: float | None, at: datetime) -> datetime | None:
    return None if timeout_s is None else at + timedelta(seconds=timeout_s)


def _check_instruction(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid("instruction", "not text that UTF-8 can hold") from None
    if not text.strip():
        raise invalid("instruction", "empty")


def _taken(session_id: str) -> Rejection:
    return Rejection("session_exists", f"there is a session {session_id}", session_id=session_id)


def _ended(session_id: str, state: SessionState) -> Rejection:
    message = f"session {session_id} has ended: it takes no instruction any more"
    return Rejection("session_ended", message, session_id=session_id, state=str(state))


def _too_deep(message: str, depth: int, limit: int) -> Rejection:
    return Rejection("spawn_depth_exceeded", message, depth=depth, limit=limit)


def _busy(queued: int, what: str) -> Rejection:
    return Rejection("tower_busy", f"{queued} {what}; ask again", queued=queued)


def invalid(field: str, reason: str) -> Rejection:
    return Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)


def about(session: Session, *, more: int = 0) -> dict[str, Any]:
    """What an outcome says of the session; `more` turns are completed by now."""
    return {
        "session_name": session.session_name,
        "bundle_name": session.bundle.name,
        "turn_count": session.turn_count + more,
    }


def turn_fields(request: c.SessionRecordTurnEnded) -> dict[str, Any]:
    """What the end of a turn carries over into its event."""
    return {name: getattr(request, name) for name in e.TurnEnd.__struct_fields__}
