"""What a subscription is told, out of the log: the same for every way to subscribe."""

from datetime import datetime
from typing import Any, Final

import msgspec

from domain.envelope import Stored, decode, foreign
from domain.sessions.telling import TELLING, Wanted, told_by

KIND: Final = "session"
WORDS: Final = 6
"""Of the subject of an event."""


class ToldEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`position` is the place in the log from which to go on; `id` that of the recorded event."""

    name: str
    source_session_id: str
    data: Any
    position: int
    time: datetime
    id: str
    correlation_id: str


def heard(stored: Stored, wanted: Wanted) -> ToldEvent | None:
    """What this entry tells; None for one that tells nothing that is wanted. Raises `UndecodableEvent`."""
    words = stored.subject.split(".")
    if len(words) != WORDS or words[3] != KIND or words[5] not in TELLING or foreign(stored) is not None:
        return None
    recorded = decode(stored)
    told = told_by(recorded.event)
    if told is None or not wanted.has(told):
        return None
    envelope = recorded.envelope
    return ToldEvent(
        name=told.name,
        source_session_id=told.source,
        data=told.data,
        position=stored.position,
        time=envelope.time,
        id=envelope.id,
        correlation_id=envelope.correlationid,
    )


def subjects_of(node: str) -> tuple[str, ...]:
    """Of the entries that tell something."""
    return tuple(f"tower.evt.{node}.{KIND}.*.{event}" for event in TELLING)
