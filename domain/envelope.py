"""The stored form of an event (CloudEvents 1.0, structured mode, JSON) and the hash chain over it.

`encode` and `decode` are the only way in and out of the log; every reader (writer, projections, effects, queries, SSE)
decodes here, so that upcasters apply everywhere.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from domain import catalogue
from domain.messages import Event

CHAIN_HEADER: Final = "Tower-Chain"
GENESIS: Final = bytes(32)
"""Chain value before the first event."""


class Stored(msgspec.Struct, frozen=True):
    """One message of the event log: its stream sequence, subject, payload and headers, undecoded."""

    position: int
    subject: str
    payload: bytes
    headers: Mapping[str, str]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent with this project's extension attributes; `data` is the event's JSON."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    node: str
    kind: str
    sequence: int
    actor: str
    commandid: str
    correlationid: str
    causationid: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    data: msgspec.Raw


class Recorded(msgspec.Struct, frozen=True):
    """An event as recorded: `position` in the stream, the envelope, and the event itself, upcast to today's version."""

    position: int
    envelope: Envelope
    event: Event


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    return _encoder.encode(envelope)


def encode_data(event: Event) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(event))


def decode(stored: Stored) -> Recorded:
    """Raises `catalogue.UndecodableEvent` with position and reason for a payload that is no event of ours."""
    try:
        envelope = _decoder.decode(stored.payload)
    except (ValueError, RecursionError) as error:
        raise catalogue.UndecodableEvent(f"position {stored.position}: not an event envelope: {error}") from error
    try:
        event = catalogue.decode_event(envelope.type, envelope.data)
    except catalogue.UndecodableEvent as error:
        raise catalogue.UndecodableEvent(f"position {stored.position}: {error}") from error
    return Recorded(stored.position, envelope, event)


def foreign(stored: Stored) -> str | None:
    """Why an entry of the log is not the tower's own, which never writes one without a chain value; else None.

    Whether the chain value is right is for those to say who follow the chain.
    """
    return (
        None if CHAIN_HEADER in stored.headers else f"it carries no {CHAIN_HEADER} header: the tower did not write it"
    )


def subject_of(envelope: Envelope) -> str:
    """`tower.evt.{node}.{kind}.{id}.{event}`."""
    name = envelope.type.split(".")[2]
    return f"tower.evt.{envelope.node}.{envelope.kind}.{envelope.subject}.{name}"


def link(previous: bytes, payload: bytes) -> bytes:
    """The chain value of a message: blake2b-256(previous chain value || payload bytes), 32 bytes."""
    return hashlib.blake2b(previous + payload, digest_size=32).digest()
