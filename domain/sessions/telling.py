"""What events say to whoever listens to sessions: what they emit themselves, and how they fare.

A name of the life of a session is read off its own event, so that no second one is recorded for it:

    session:completed   session.completed                     all it was given is done
    session:error       session.error, session.timed_out      {…, error, error_type}
    session:end         session.ended                         it takes nothing more; {session_id, status}
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from domain.executions.events import SessionEmitted
from domain.messages import Event
from domain.sessions import events as e
from domain.sessions.emitting import NAME, NAME_CHARACTERS

COMPLETED: Final = "session:completed"
ERROR: Final = "session:error"
END: Final = "session:end"

TIMED_OUT: Final = "timed_out"
"""`error_type` of a session whose time was over."""

NAMED: Final = ("session_name", "bundle_name", "turn_count", "trigger")

TELLING: Final = ("emitted", "completed", "error", "timed_out", "ended")
"""The events that say something, by the last word of their names."""


class Told(msgspec.Struct, frozen=True):
    """`source`: the session that it comes from, or the part of the tower's."""

    name: str
    source: str
    data: Any


def told_by(event: Event) -> Told | None:
    """None for an event that says nothing to others."""
    match event:
        case SessionEmitted():
            return Told(event.name, event.session_id, event.data)
        case e.SessionCompleted():
            return Told(COMPLETED, event.session_id, _outcome(event))
        case e.SessionError():
            return Told(ERROR, event.session_id, _outcome(event, event.error, event.error_type))
        case e.SessionTimedOut():
            return Told(ERROR, event.session_id, _outcome(event, "its time was over", TIMED_OUT))
        case e.SessionEnded():
            status = "cancelled" if event.reason == "cancelled" else "ended"
            return Told(END, event.session_id, {"session_id": event.session_id, "status": status})
        case _:
            return None


def _outcome(
    event: e.SessionCompleted | e.SessionError | e.SessionTimedOut, error: str = "", error_type: str = ""
) -> dict[str, Any]:
    # What was recorded before these were told says less.
    named = {name: value for name in NAMED if (value := getattr(event, name)) is not UNSET}
    told = {"session_id": event.session_id, **named, "output": event.output, "success": not error_type}
    return told | {"error": error, "error_type": error_type} if error_type else told


class Wanted(msgspec.Struct, frozen=True):
    """What a subscription asks for: names, exact (`work:completed`), by their first word (`work:*`) or all (`*`), of
    these sources, of all when there are none. A name that is meant twice is told once."""

    names: tuple[str, ...]
    sources: tuple[str, ...] = ()

    def has(self, told: Told) -> bool:
        if self.sources and told.source not in self.sources:
            return False
        return any(matches(pattern, told.name) for pattern in self.names)


def matches(pattern: str, name: str) -> bool:
    """Whether a subscription to `pattern` is told of `name`."""
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


def wrong_pattern(pattern: str) -> str | None:
    """Why nothing can ever have this name; None if something can."""
    word, star, rest = pattern.partition("*")
    if pattern == "*":
        return None
    shaped = NAME.match(word + "x") is not None and word.endswith(":") if star else NAME.match(pattern) is not None
    if shaped and not rest and len(pattern) <= NAME_CHARACTERS:
        return None
    return "a name such as work:completed, all of a first word as work:*, or *"


def wrong_patterns(patterns: Sequence[str]) -> tuple[int, str] | None:
    """Place and fault of the first wrong one."""
    for place, pattern in enumerate(patterns):
        reason = wrong_pattern(pattern)
        if reason is not None:
            return place, reason
    return None
