"""Registered types: what is refused, that everything round-trips, that upcasters lead from every version to today's."""

import contextlib
from collections.abc import Iterator
from typing import Any, cast, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import catalogue, tower
from domain.errors import Rejection
from domain.layouts.commands import PaneSweep
from domain.layouts.events import PaneRegistered, PaneStateChanged
from domain.messages import HOST, TOWER, Command, Event, Request
from domain.registration import EventTable, EventType, RequestType, UndecodableEvent, check
from domain.tower import Tower
from tests.unit.builders import facts, registered, spawned
from tests.unit.strategies import values


class Moved(Event, frozen=True):
    """A planted event of version 3: at first `box` and `place`, then `box_id`, today `to` as well."""

    box_id: str
    to: str
    by: str = "unknown"


def _name_the_id(data: dict[str, Any]) -> dict[str, Any]:
    return {"box_id": data["box"], "place": data["place"]}


def _name_the_place(data: dict[str, Any]) -> dict[str, Any]:
    return {"box_id": data["box_id"], "to": data["place"].lower()}


UPCASTERS = {1: _name_the_id, 2: _name_the_place}
MOVED = EventType(name="box.moved", event=Moved, id_field="box_id", version=3, upcasters=UPCASTERS)


class TestUpcasters:
    TABLE = EventTable([MOVED])

    @pytest.mark.parametrize(
        ("version", "data"),
        [
            (1, b'{"box":"b","place":"SHELF"}'),
            (2, b'{"box_id":"b","place":"Shelf"}'),
            (3, b'{"box_id":"b","to":"shelf"}'),
        ],
    )
    def test_every_version_reads_as_todays(self, version: int, data: bytes) -> None:
        assert self.TABLE.decode(f"agenttower.box.moved.v{version}", data) == Moved(box_id="b", to="shelf")

    def test_a_table_knows_every_version_by_name(self) -> None:
        assert self.TABLE.wire_names == {f"agenttower.box.moved.v{version}" for version in (1, 2, 3)}

    def test_a_version_of_the_future_is_unknown(self) -> None:
        with pytest.raises(UndecodableEvent, match=r"unknown event type 'agenttower\.box\.moved\.v4'"):
            self.TABLE.decode("agenttower.box.moved.v4", b"{}")

    @pytest.mark.parametrize(
        "data",
        [
            b'{"box":"b"}',
            b'{"box":"b","place":1}',
            b'{"box":1,"place":"x"}',
            b"[]",
            b"null",
            b"",
            b"{",
            b'{"box":"\xff","place":"x"}',
            b"[" * 100_000,
        ],
    )
    def test_data_that_no_upcaster_understands_is_undecodable(self, data: bytes) -> None:
        with pytest.raises(UndecodableEvent, match=r"agenttower\.box\.moved\.v1"):
            self.TABLE.decode("agenttower.box.moved.v1", data)

    @pytest.mark.parametrize("versions", [(), (1,), (2,), (1, 2, 3), (0, 1, 2), (1, 3)])
    def test_the_chain_has_no_gap_and_no_end_of_its_own(self, versions: tuple[int, ...]) -> None:
        steps = dict.fromkeys(versions, _name_the_id)
        with pytest.raises(
            TypeError, match=r"agenttower\.box\.moved\.v3: upcasters must lead from every version 1 to 2"
        ):
            check([EventType(name="box.moved", event=Moved, id_field="box_id", version=3, upcasters=steps)])


def _event(name: str, *fields: tuple[str, type], frozen: bool = True, eq: bool = True) -> type[Event]:
    made = msgspec.defstruct(name, [("box_id", str), *fields], bases=(Event,), frozen=frozen, eq=eq)
    return cast(type[Event], made)


class TestRegistering:
    @pytest.mark.parametrize("name", ["moved", "box.", ".moved", "Box.moved", "box.moved.v1", "box moved", "box.1", ""])
    def test_a_bad_name_is_refused(self, name: str) -> None:
        with pytest.raises(TypeError, match="is not <noun>"):
            check([EventType(name=name, event=Moved, id_field="box_id")])
        with pytest.raises(TypeError, match="is not <noun>"):
            check([RequestType(name=name, request=PaneSweep)])

    def test_a_name_twice_is_refused(self) -> None:
        other = EventType(name="box.moved", event=PaneRegistered, id_field="pane_id")
        with pytest.raises(TypeError, match=r"the name box\.moved is registered twice"):
            check([MOVED, other])

    def test_a_class_twice_is_refused(self) -> None:
        with pytest.raises(TypeError, match="Moved is registered twice"):
            check([MOVED, EventType(name="box.shifted", event=Moved, id_field="box_id")])

    def test_a_missing_id_field_is_refused(self) -> None:
        with pytest.raises(TypeError, match="Moved has no field pane_id"):
            check([EventType(name="box.moved", event=Moved, id_field="pane_id")])

    def test_a_class_that_is_not_frozen_is_refused(self) -> None:
        loose = _event("Loose", frozen=False)
        with pytest.raises(TypeError, match="Loose is not frozen"):
            check([EventType(name="box.moved", event=loose, id_field="box_id")])

    def test_a_value_that_does_not_survive_encoding_is_refused(self) -> None:
        odd = _event("Odd", eq=False)
        with pytest.raises(TypeError, match="Odd: its empty value does not survive encoding"):
            check([EventType(name="box.moved", event=odd, id_field="box_id")])

    def test_a_field_that_has_no_stored_form_is_refused(self) -> None:
        odd = _event("Odd", ("size", complex))
        with pytest.raises(TypeError, match="no type of a stored field"):
            check([EventType(name="box.moved", event=odd, id_field="box_id")])


def _leaves(cls: type) -> Iterator[type]:
    """The classes that nothing derives from: a base of shared fields is no event itself."""
    for sub in cls.__subclasses__():
        yield from _leaves(sub) if sub.__subclasses__() else (sub,)


class TestTheTables:
    def test_every_event_and_request_of_the_domain_is_registered(self) -> None:
        ours = {cls for base in (Event, Request) for cls in _leaves(base) if cls.__module__.startswith("domain.")}
        assert ours == {entry.event for entry in catalogue.EVENTS} | {entry.request for entry in catalogue.REQUESTS}

    def test_every_event_of_a_pane_or_a_layout_carries_its_origin(self) -> None:
        kinds = {entry.event: entry.kind for entry in catalogue.EVENTS if entry.kind in ("pane", "layout")}
        assert {cls for cls in kinds if "origin" not in cls.__struct_fields__} == set()

    def test_every_request_has_a_decider(self) -> None:
        """None falls through the router: each is decided or refused on an empty node."""
        for entry in catalogue.REQUESTS:
            fields = {field.name: _sample(field) for field in msgspec.structs.fields(entry.request) if field.required}
            command = Command(
                id="c",
                origin=TOWER if entry.internal else HOST,
                request=entry.request(**fields),
                facts=facts("1", "2", "3"),
            )
            with contextlib.suppress(Rejection):
                assert isinstance(tower.decide(command, Tower()), tuple)

    def test_names_lead_to_classes_and_back(self) -> None:
        for entry in catalogue.REQUESTS:
            assert catalogue.request_type(entry.name) is entry
        assert catalogue.request_type("pane.explode") is None
        assert catalogue.aggregate_id(registered("L-m1")) == "L-m1"
        assert catalogue.event_type(registered("L-m1")).wire_name == "agenttower.pane.registered.v1"


def _sample(field: msgspec.structs.FieldInfo) -> object:
    return 1 if field.type is int else () if get_origin(field.type) is tuple else "x"


@pytest.mark.parametrize("entry", catalogue.EVENTS, ids=lambda entry: entry.name)
@settings(max_examples=20)
@given(data=st.data())
def test_every_event_decodes_to_what_was_encoded(entry: EventType, data: st.DataObject) -> None:
    event = data.draw(values(entry.event))
    assert catalogue.decode_event(entry.wire_name, msgspec.json.encode(event)) == event


@pytest.mark.parametrize("entry", catalogue.REQUESTS, ids=lambda entry: entry.name)
@settings(max_examples=20)
@given(data=st.data())
def test_every_request_decodes_to_what_was_encoded(entry: RequestType, data: st.DataObject) -> None:
    request = data.draw(values(entry.request))
    assert msgspec.json.decode(msgspec.json.encode(request), type=entry.request) == request


class TestStoredWords:
    def test_a_trailing_underscore_is_not_stored(self) -> None:
        data = msgspec.json.decode(
            b'{"pane_id":"p","layout_id":"l","from":"ready","to":"failed","failed_stage":"pane_vanished"}',
            type=PaneStateChanged,
        )
        assert (data.from_, data.to, data.failed_stage) == ("ready", "failed", "pane_vanished")
        assert b'"from":"ready"' in msgspec.json.encode(data)

    @pytest.mark.parametrize(("field", "word"), [("from", "lost"), ("to", "gone"), ("failed_stage", "lunch")])
    def test_states_and_stages_are_closed(self, field: str, word: str) -> None:
        words = {"pane_id": "p", "layout_id": "l", "from": "ready", "to": "failed", field: word}
        with pytest.raises(UndecodableEvent, match=word):
            catalogue.decode_event("agenttower.pane.state_changed.v1", msgspec.json.encode(words))

    def test_fields_of_a_later_minor_change_are_ignored(self) -> None:
        stored = msgspec.json.encode(msgspec.to_builtins(spawned("L-m1")) | {"later": 1})
        assert catalogue.decode_event("agenttower.pane.spawned.v1", stored) == spawned("L-m1")
