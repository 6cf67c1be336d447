"""JSON Schemas of commands, events and outcomes, derived from the registered types."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

from adapters.http import documents, rows
from domain.catalogue import EventType, RequestType
from domain.envelope import Envelope
from domain.errors import DETAILS, http_status
from handlers import wire

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def command_schema(entry: RequestType) -> Schema:
    """The payload of one command, as it is published to either door."""
    data, definitions = _components(entry.request)
    payload = _base(wire.Payload, definitions)
    payload["properties"]["id"] = {"type": "string", "format": "uuid", "description": "A UUIDv7, the Nats-Msg-Id too."}
    payload["properties"]["data"] = data
    example = documents.EXAMPLES.get(entry.name)
    return {
        "$schema": DIALECT,
        "$id": f"urn:agenttower:command:{entry.name}",
        "title": entry.name,
        "description": _summary(entry.request) or f"The command {entry.name}.",
        **payload,
        **({} if example is None else {"examples": [{"id": rows.COMMAND_ID, "data": example}]}),
        "$defs": definitions,
    }


def event_schema(entry: EventType) -> Schema:
    """One recorded event, in today's version of its type: CloudEvents 1.0, structured mode."""
    data, definitions = _components(entry.event)
    envelope = _base(Envelope, definitions)
    own = {"type": {"const": entry.wire_name}, "kind": {"const": entry.kind}, "data": data}
    envelope["properties"] |= {**own, "specversion": {"const": "1.0"}, "datacontenttype": {"const": "application/json"}}
    # Defaults are written out, so what is not optional is always there.
    required = [name for name in envelope["properties"] if name not in ("causationid", "traceparent")]
    return {
        "$schema": DIALECT,
        "$id": f"urn:agenttower:event:{entry.wire_name}",
        "title": entry.wire_name,
        "description": _summary(entry.event) or f"The event {entry.name}.",
        **envelope,
        "required": required,
        "$defs": definitions,
    }


def outcome_schema() -> Schema:
    """The answer of every door: accepted with a result, or rejected with one of the error codes."""
    common = {"command_id": {"type": ["string", "null"]}, "position": {"type": "integer", "minimum": 0}}
    accepted: Schema = {
        "title": "accepted",
        "type": "object",
        "properties": {
            **common,
            "status": {"const": "accepted"},
            "result": {"type": "object"},
            "replay": {"type": "boolean", "description": "It had been decided before."},
        },
        "required": ["command_id", "status", "result", "position", "replay"],
    }
    rejected: Schema = {
        "title": "rejected",
        "type": "object",
        "properties": {**common, "status": {"const": "rejected"}, "error": {"$ref": "#/$defs/Error"}},
        "required": ["command_id", "status", "error", "position"],
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:agenttower:outcome",
        "title": "outcome",
        "description": "`position`: a read model that has reached it reflects this outcome.",
        "oneOf": [accepted, rejected],
        "$defs": {"Error": {"oneOf": [_error_schema(code, keys) for code, keys in DETAILS.items()]}},
    }


def _error_schema(code: str, keys: frozenset[str]) -> Schema:
    details = {
        "type": "object",
        "properties": {key: {} for key in sorted(keys)},
        "required": sorted(keys),
        "additionalProperties": False,
    }
    return {
        "title": code,
        "description": f"HTTP status {http_status(code)}.",
        "type": "object",
        "properties": {"code": {"const": code}, "message": {"type": "string"}, "details": details},
        "required": ["code", "message", "details"],
    }


def _components(cls: type[msgspec.Struct]) -> tuple[Schema, dict[str, Schema]]:
    """The schema of a struct and the definitions that it refers to, times marked as such."""
    (schema,), definitions = msgspec.json.schema_components([cls])
    for struct in _structs(inspect.type_info(cls)):
        for field in struct.fields:
            if isinstance(field.type, inspect.DateTimeType):
                definitions[struct.cls.__name__]["properties"][field.encode_name]["format"] = "date-time"
    return schema, definitions


def _base(cls: type[msgspec.Struct], definitions: dict[str, Schema]) -> Schema:
    """An envelope's own schema, opened up to be narrowed; what it refers to goes to `definitions`."""
    _, own = _components(cls)
    schema = own.pop(cls.__name__)
    for described in ("title", "description"):
        schema.pop(described, None)
    definitions |= own
    return schema


def _structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    match kind:
        case inspect.StructType(fields=fields):
            yield kind
            for field in fields:
                yield from _structs(field.type)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            yield from _structs(item)
        case inspect.UnionType(types=types):
            for each in types:
                yield from _structs(each)
        case _:
            pass


def _summary(cls: type[msgspec.Struct]) -> str:
    own = cls.__dict__.get("__doc__")
    return "" if own is None else " ".join(own.split())
