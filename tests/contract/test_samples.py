"""Everything that was ever recorded stays readable: the samples, what they decode to, and that nobody edits them."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from domain import catalogue
from domain.envelope import Stored, decode, encode, encode_data, subject_of
from domain.registration import EventTable
from tests.contract.record import EXAMPLES, SAMPLES, SUMS

FILES = tuple(sorted(SAMPLES.glob("*/*.json")))
DECLARED = sorted(EventTable(catalogue.EVENTS).wire_names)
RECORD = "run: python -m tests.contract.record"


@pytest.mark.parametrize("wire_name", DECLARED)
def test_every_declared_type_and_version_has_a_sample(wire_name: str) -> None:
    assert list((SAMPLES / wire_name).glob("*.json")), (
        f"no sample of {wire_name}; give it a line in EXAMPLES and {RECORD}"
    )


def test_every_sample_is_of_a_declared_type_and_version() -> None:
    assert {file.parent.name for file in FILES} <= set(DECLARED)


def test_no_sample_was_edited() -> None:
    """Digests are only ever added; a sample that does not match is brought back from the history, not recorded anew."""
    recorded = {name: digest for digest, name in (line.split("  ") for line in SUMS.read_text().splitlines())}
    present = {str(file.relative_to(SAMPLES)): hashlib.sha256(file.read_bytes()).hexdigest() for file in FILES}
    assert present == recorded


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_sample_decodes_and_encodes_to_the_same_bytes(file: Path) -> None:
    payload = file.read_bytes().removesuffix(b"\n")
    recorded = decode(Stored(position=1, subject="", payload=payload, headers={}))
    envelope = recorded.envelope
    entry = catalogue.event_type(recorded.event)
    assert encode(envelope) == payload
    assert envelope.type == file.parent.name
    assert (envelope.kind, envelope.subject) == (entry.kind, catalogue.aggregate_id(recorded.event))
    assert subject_of(envelope) == f"tower.evt.local.{entry.name.replace('.', f'.{envelope.subject}.')}"
    if envelope.type == entry.wire_name:
        assert bytes(encode_data(recorded.event)) == bytes(envelope.data)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_todays_samples_decode_to_todays_examples(event: msgspec.Struct) -> None:
    entry = next(entry for entry in catalogue.EVENTS if entry.event is type(event))
    stored = Stored(
        position=1, subject="", payload=(SAMPLES / entry.wire_name / "recorded.json").read_bytes(), headers={}
    )
    assert decode(stored).event == event
