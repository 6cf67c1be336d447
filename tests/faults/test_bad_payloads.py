"""What is said of each kind of bad payload: `validation_failed`, and the field that it lies in."""

import pytest

from adapters.http import command_body
from domain.errors import Rejection
from handlers import wire

ID = b"01985b7e-6cf0-7a10-8d6e-2f0c6c1b7d11"
BAD = {
    "nothing": (b"", "payload"),
    "no JSON": (b"\xff\xfe", "payload"),
    "UTF-16": ('{"id":"x"}'.encode("utf-16"), "payload"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "payload"),
    "half a character": (b'{"id":"%s","data":{"pane_id":"\xc3"}}' % ID, "data"),
    "half a surrogate pair": (b'{"id":"%s","data":{"pane_id":"\\ud800"}}' % ID, "payload"),
    "two documents": (b'{"id":"%s","data":{"pane_id":"a"}}{}' % ID, "payload"),
    "an array": (b"[]", "payload"),
    "no id": (b'{"data":{"pane_id":"a"}}', "id"),
    "an id of another version": (b'{"id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","data":{"pane_id":"a"}}', "id"),
    "an id with a wildcard": (b'{"id":"*","data":{"pane_id":"a"}}', "id"),
    "an unknown field": (b'{"id":"%s","data":{"pane_id":"a"},"origin":"host"}' % ID, "origin"),
    "an unknown field of the data": (b'{"id":"%s","data":{"pane_id":"a","force":true}}' % ID, "force"),
    "a missing field": (b'{"id":"%s","data":{}}' % ID, "pane_id"),
    "a wrong type": (b'{"id":"%s","data":{"pane_id":7}}' % ID, "pane_id"),
    "a huge number": (b'{"id":"%s","data":{"pane_id":%s}}' % (ID, b"9" * 5000), "data"),
    "an id of a megabyte": (b'{"id":"%s","data":{"pane_id":"%s"}}' % (ID, b"x" * 1_000_000), "pane_id"),
    "a hundred thousand brackets": (b'{"id":"%s","data":%s%s}' % (ID, b"[" * 100_000, b"]" * 100_000), "payload"),
    "a hundred thousand objects": (b'{"id":"%s","data":%s' % (ID, b'{"a":' * 100_000), "payload"),
    "a key twice": (b'{"id":"%s","data":{"pane_id":"a","pane_id":"b"}}' % ID, "pane_id"),
    "a key twice, spelled otherwise": (b'{"id":"%s","data":{"pane_id":"a","p\\u0061ne_id":"a"}}' % ID, "pane_id"),
    "data twice": (b'{"id":"%s","data":{"pane_id":"a"},"data":{"pane_id":"b"}}' % ID, "data"),
    "the id twice": (b'{"id":"%s","id":"%s","data":{"pane_id":"a"}}' % (ID, ID), "id"),
    "a key twice, with colons in strings": (b'{"id":"%s","data":{"pane_id":":::","pane_id":"b"}}' % ID, "pane_id"),
}


@pytest.mark.parametrize("kind", BAD)
def test_it_is_refused_and_its_field_is_named(kind: str) -> None:
    payload, field = BAD[kind]
    with pytest.raises(Rejection) as refused:
        wire.decode_request("pane.remove", wire.decode_payload(payload)[0])
    assert (refused.value.code, refused.value.details["field"]) == ("validation_failed", field)
    assert len(refused.value.message) < 500


@pytest.mark.parametrize("twice", [b'"noun":"pane"', b'"data":{}', b'"id":"a"'])
def test_a_key_twice_in_an_http_body_is_refused(twice: bytes) -> None:
    with pytest.raises(Rejection, match="given twice"):
        command_body.decode(b'{"noun":"pane","verb":"remove","data":{},"id":"b",%s}' % twice)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"id":"%s","data":{"pane_id":"a"}}' % ID,
        b'{"id":"%s","data":{"pane_id":"a:b::"},"correlationid":null}' % ID,
        b' { "id" : "%s" , "data" : { "pane_id" : "\\u003a" } }\n' % ID,
    ],
)
def test_colons_and_nulls_are_no_repetition(payload: bytes) -> None:
    wire.decode_request("pane.remove", wire.decode_payload(payload)[0])
