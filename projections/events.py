"""The audit index: every event with its payload, so that queries need not ask the broker."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from domain import catalogue
from domain.envelope import Recorded, Stored, decode, encode, encode_data
from projections.projection import Key, Projection, Rows
from projections.tables import indexable, instant, number, optional, read_table, required, storable

EVENTS: Final = read_table(
    "events",
    number("position"),
    required("id"),
    required("type"),
    required("kind"),
    required("subject"),
    required("actor"),
    required("command_id"),
    required("correlation_id"),
    optional("causation_id"),
    required("time"),
    required("payload"),
    indexes=(
        ("subject", "position"),
        ("command_id", "position"),
        ("correlation_id", "position"),
        ("type", "position"),
        ("time",),
    ),
)
"""`payload` is the whole CloudEvent as recorded; the other columns are there to search by."""


def touched(recorded: Recorded) -> Iterable[Key]:
    return ()


def fold(rows: Rows, recorded: Recorded) -> None:
    envelope = recorded.envelope
    rows[EVENTS.name, recorded.position] = {
        "position": recorded.position,
        "id": envelope.id,
        "type": envelope.type,
        "kind": envelope.kind,
        "subject": envelope.subject,
        "actor": envelope.actor,
        "command_id": indexable(envelope.commandid),
        "correlation_id": indexable(envelope.correlationid),
        "causation_id": None if envelope.causationid is msgspec.UNSET else storable(envelope.causationid),
        "time": instant(envelope.time),
        "payload": encode(envelope).decode(),
    }


def recorded_of(position: int, payload: str) -> Recorded:
    return decode(Stored(position, "", payload.encode(), {}))


def cloud_event(position: int, payload: str) -> dict[str, Any]:
    """The event as queries show it, in today's version of its type, with its `position`."""
    recorded = recorded_of(position, payload)
    item: dict[str, Any] = msgspec.json.decode(payload)
    current = catalogue.event_type(recorded.event).wire_name
    if recorded.envelope.type != current:
        item |= {"type": current, "data": msgspec.json.decode(encode_data(recorded.event))}
    return item | {"position": position}


PROJECTION: Final = Projection(name="events", version=1, tables=(EVENTS,), kinds=None, touched=touched, fold=fold)
