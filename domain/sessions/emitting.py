"""Named events that sessions tell each other: `session.emit` by the operator, `tower.emit` by code in a session."""

import re
from collections.abc import Container
from typing import Any, Final

import msgspec

from domain.errors import Rejection
from domain.executions.commands import SessionRecordEmitted
from domain.executions.events import SessionEmitted
from domain.messages import Event
from domain.sessions.commands import SessionEmit
from domain.sessions.state import Sessions

NAME: Final = re.compile(r"[a-z0-9_.-]+:[a-z0-9_.-]+\Z")
NAME_CHARACTERS: Final = 128
DATA_BYTES: Final = 256 * 1024
"""Of an event's data as JSON."""

OPERATOR: Final = "tower:operator"
"""Source of what the operator emits for no session."""

LIFECYCLE: Final = "session"
"""Names that begin with `session:` tell the ends of sessions, and nobody else may use them."""


def decide(
    request: SessionEmit | SessionRecordEmitted, state: Sessions, namespaces: Container[str]
) -> tuple[Event, ...]:
    """`namespaces`: ids of bare Python sessions. What the tower records for a part of its own, which is no session, has
    a name for a source, such as `issues:bugs`."""
    check(request.name, request.data)
    session_id = request.session_id
    if isinstance(request, SessionRecordEmitted):
        return (SessionEmitted(session_id=request.session_id, name=request.name, data=request.data),)
    if session_id is None:
        return (SessionEmitted(session_id=OPERATOR, name=request.name, data=request.data),)
    if session_id in state.ended:
        ended = str(state.ended[session_id].state)
        message = f"session {session_id} has ended: it emits nothing any more"
        raise Rejection("session_ended", message, session_id=session_id, state=ended)
    if session_id not in state.known and session_id not in namespaces:
        raise Rejection("session_not_found", f"no session {session_id}", session_id=session_id)
    return (SessionEmitted(session_id=session_id, name=request.name, data=request.data),)


def check(name: str, data: Any) -> None:
    """Raises `Rejection` validation_failed."""
    wrong = problem(name, data)
    if wrong is not None:
        field, reason = wrong
        raise Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)


def problem(name: str, data: Any) -> tuple[str, str] | None:
    """Field and reason of what is wrong with an event; None if nothing is."""
    if len(name) > NAME_CHARACTERS or NAME.match(name) is None:
        shape = "two words with a colon between, such as work:completed, of a-z 0-9 _ . -"
        return "name", f"{shape}; at most {NAME_CHARACTERS} characters"
    if name.partition(":")[0] == LIFECYCLE:
        return "name", f"names that begin with {LIFECYCLE}: are the tower's own"
    try:
        size = len(msgspec.json.encode(data))
    except (UnicodeEncodeError, OverflowError, TypeError, RecursionError) as error:
        return "data", f"not JSON: {error}"
    if size > DATA_BYTES:
        return "data", f"{size} bytes as JSON, not at most {DATA_BYTES}"
    return None
