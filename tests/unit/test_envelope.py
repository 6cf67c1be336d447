"""The stored form: CloudEvents 1.0 in structured mode, the subject, the hash chain, and what cannot be read."""

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.envelope import GENESIS, Envelope, Stored, decode, encode, encode_data, link, subject_of
from domain.registration import UndecodableEvent
from tests.unit.builders import AT, moved
from tests.unit.strategies import TEXT, values

EVENT = moved("L-m1", "ready", "degraded", "process_exited")
ENVELOPE = Envelope(
    id="01900000-0000-7000-8000-000000000001",
    source="/tower/local",
    type="agenttower.pane.state_changed.v1",
    subject="L-m1",
    time=AT,
    node="local",
    kind="pane",
    sequence=7,
    actor="host",
    commandid="01900000-0000-7000-8000-000000000002",
    correlationid="01900000-0000-7000-8000-000000000003",
    data=encode_data(EVENT),
)


def _stored(payload: bytes) -> Stored:
    return Stored(position=12, subject="", payload=payload, headers={})


def test_it_is_a_cloud_event() -> None:
    assert msgspec.json.decode(encode(ENVELOPE)) == {
        "specversion": "1.0",
        "id": "01900000-0000-7000-8000-000000000001",
        "source": "/tower/local",
        "type": "agenttower.pane.state_changed.v1",
        "subject": "L-m1",
        "time": "2026-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "node": "local",
        "kind": "pane",
        "sequence": 7,
        "actor": "host",
        "commandid": "01900000-0000-7000-8000-000000000002",
        "correlationid": "01900000-0000-7000-8000-000000000003",
        "data": {
            "pane_id": "L-m1",
            "layout_id": "L",
            "from": "ready",
            "to": "degraded",
            "failed_stage": "process_exited",
            "reason": None,
            "origin": "managed",
        },
    }


def test_causation_and_trace_stand_only_when_they_are_known() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    caused = msgspec.structs.replace(ENVELOPE, causationid="e", traceparent=parent)
    fields = msgspec.json.decode(encode(caused))
    assert (fields["causationid"], fields["traceparent"]) == ("e", parent)


def test_it_decodes_to_what_was_recorded() -> None:
    recorded = decode(_stored(encode(ENVELOPE)))
    assert (recorded.position, recorded.event) == (12, EVENT)
    assert encode(recorded.envelope) == encode(ENVELOPE)


@given(
    values(Envelope, data=st.just(encode_data(EVENT)), type=st.just(ENVELOPE.type), causationid=TEXT, traceparent=TEXT)
)
def test_any_envelope_decodes_to_what_was_encoded(envelope: Envelope) -> None:
    recorded = decode(_stored(encode(envelope)))
    assert (encode(recorded.envelope), recorded.event) == (encode(envelope), EVENT)


def test_its_subject() -> None:
    assert subject_of(ENVELOPE) == "tower.evt.local.pane.L-m1.state_changed"


def _changed(**fields: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(encode(ENVELOPE)) | fields)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not an event envelope"),
        (b"\xff\xfe", "not an event envelope"),
        (b"{}", "not an event envelope"),
        (b"[" * 100_000, "not an event envelope"),
        (encode(ENVELOPE).replace(b'"local"', b'"\xff"'), "not an event envelope"),
        (_changed(sequence="7"), "not an event envelope"),
        (_changed(type="agenttower.pane.exploded.v1"), "unknown event type 'agenttower.pane.exploded.v1'"),
        (_changed(type="agenttower.pane.state_changed.v2"), "unknown event type 'agenttower.pane.state_changed.v2'"),
        (_changed(type=""), "unknown event type ''"),
        (_changed(data={}), "agenttower.pane.state_changed.v1"),
        (_changed(data=None), "agenttower.pane.state_changed.v1"),
        (encode(ENVELOPE).replace(b'"managed"', b'"\xff"'), "agenttower.pane.state_changed.v1"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(payload: bytes, reason: str) -> None:
    with pytest.raises(UndecodableEvent) as caught:
        decode(_stored(payload))
    assert str(caught.value).startswith("position 12: ")
    assert reason in str(caught.value)


class TestTheChain:
    def test_a_link_is_the_hash_of_the_one_before_and_the_payload(self) -> None:
        assert bytes(32) == GENESIS
        first = link(GENESIS, b"one")
        assert first == hashlib.blake2b(bytes(32) + b"one", digest_size=32).digest()
        assert link(first, b"two") == hashlib.blake2b(first + b"two", digest_size=32).digest()

    def test_its_value_is_fixed_for_ever(self) -> None:
        assert link(GENESIS, b"").hex() == "89eb0d6a8a691dae2cd15ed0369931ce0a949ecafa5c3f93f8121833646e15c3"

    @given(st.binary(), st.binary())
    def test_another_payload_gives_another_value(self, payload: bytes, other: bytes) -> None:
        assert (link(GENESIS, payload) == link(GENESIS, other)) == (payload == other)
