"""The AsyncAPI 3 document: the subjects as channels, who publishes what there, the schemas beside it as messages."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import yaml

from adapters.http import documents
from adapters.nats import subjects
from adapters.nats.doors import REPLY_TO_HEADER
from adapters.nats.streams import stream_settings
from adapters.rpc.methods import CONTRACT_VERSION
from adapters.schemas.names import command_file, event_file
from domain import catalogue
from domain.catalogue import EventType, RequestType
from domain.envelope import CHAIN_HEADER, Envelope, subject_of
from domain.errors import DETAILS
from handlers.ledger import COMMANDS_AT_HEADER

Node = dict[str, Any]

_PARAMETERS: Final = {
    "node": "The tower's name, 1 to 32 characters of A-Z a-z 0-9 _ -; `local` unless set.",
    "origin": "Who asks: `host` for the operator, or the 64 hexadecimal digits of a container's id. The broker's "
    "permissions make it true.",
    "id": "Id of the aggregate.",
    "command_id": "Id of the command.",
    "method": "A method's name; its dots stay: `app.managed_layout_list`, `managed.layout.list`.",
}

# Stand-ins that may stand in a subject, for the functions that spell the subjects.
_NODE, _ORIGIN, _ID = "NODE", "ORIGIN", "ID"


def document() -> Node:
    """Everything that goes over the broker and is meant for others than the tower itself."""
    channels: Node = {}
    operations: Node = {}
    for entry in documents.POSTED:
        _add_command(entry, channels, operations)
    for entry in catalogue.EVENTS:
        _add_event(entry, channels, operations)
    outcome_address = subjects.outcome_subject(_NODE, _ORIGIN, _ID).replace(_ID, "{command_id}")
    channels["outcomes"] = _channel(
        outcome_address, ["outcome"], "The outcome of each command, for 7 days.", subjects.outcomes_stream(_NODE)
    )
    _add_rpc(channels, operations)
    channels["inbox"] = {
        "address": None,
        "title": "inbox",
        "description": "The reply subject of who asked: below `_INBOX.{origin}.`, for the operator below `_INBOX.`; "
        "nothing else is answered.",
        "messages": {name: _message_ref(name) for name in ("outcome", "rpc.answer")},
    }
    operations["outcome"] = _operation("send", "outcomes", "Tell the outcome of a command.")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": documents.TITLE,
            "version": documents.API_VERSION,
            "description": "Commands, outcomes and events of one tower on NATS JetStream. Operations are the tower's: "
            "it receives commands and sends events and outcomes.",
        },
        "defaultContentType": "application/json",
        "x-streams": _streams(),
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                **{entry.name: _command_message(entry) for entry in documents.POSTED},
                **{_name(entry): _event_message(entry) for entry in catalogue.EVENTS},
                "outcome": {"title": "outcome", "payload": {"$ref": "./outcome.json"}},
                **_rpc_messages(),
            },
            "parameters": {name: {"description": text} for name, text in _PARAMETERS.items()},
        },
    }


def _streams() -> Node:
    """The streams behind the channels with their settings; durations are nanoseconds."""
    public = (subjects.commands_stream(_NODE), subjects.events_stream(_NODE), subjects.outcomes_stream(_NODE))
    return {
        settings["name"].replace(_NODE, "{node}"): {
            key: value for key, value in settings.items() if key not in ("name", "subjects")
        }
        for settings in stream_settings(_NODE)
        if settings["name"] in public
    }


def text(value: Node) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)


def _add_command(entry: RequestType, channels: Node, operations: Node) -> None:
    noun, _, verb = entry.name.partition(".")
    channels[f"durable.{entry.name}"] = _channel(
        subjects.command_subject(_NODE, _ORIGIN, noun, verb),
        [entry.name],
        "The durable door: the broker's acknowledgement means queued for good.",
        subjects.commands_stream(_NODE),
    )
    channels[f"request.{entry.name}"] = _channel(
        subjects.request_subject(_NODE, _ORIGIN, noun, verb),
        [entry.name],
        "The request door: a NATS request, answered with the outcome after the commit.",
    )
    operations[f"take.{entry.name}"] = _operation("receive", f"durable.{entry.name}", f"Decide {entry.name}.")
    operations[f"answer.{entry.name}"] = {
        **_operation("receive", f"request.{entry.name}", f"Decide {entry.name} and answer its outcome."),
        "reply": {"channel": {"$ref": "#/channels/inbox"}},
    }


def _add_rpc(channels: Node, operations: Node) -> None:
    channels["rpc"] = _channel(
        subjects.rpc_subject(_NODE, _ORIGIN, _ID).replace(_ID, "{method}"),
        ["rpc.call"],
        "The predecessor's methods under their own names: a NATS request; openapi.json says what each one is.",
    )
    operations["answer.rpc"] = {
        **_operation("receive", "rpc", "Answer a method of the predecessor's."),
        "reply": {"channel": {"$ref": "#/channels/inbox"}},
    }


def _rpc_messages() -> Node:
    answer = {
        "type": "object",
        "required": ["ok"],
        "properties": {
            "ok": {"type": "boolean"},
            "result": {"description": "What the command or query answers; with `ok` only."},
            "error": {
                "type": "object",
                "required": ["code", "message", "details"],
                "properties": {
                    "code": {"type": "string", "enum": sorted(DETAILS)},
                    "message": {"type": "string"},
                    "details": {"type": "object"},
                },
            },
            "app_contract_version": {"const": CONTRACT_VERSION, "description": "Beside answers to `app.` names."},
        },
    }
    return {
        "rpc.call": {"title": "parameters of a method", "payload": {"type": "object"}},
        "rpc.answer": {"title": "answer of a method", "payload": answer},
    }


def _add_event(entry: EventType, channels: Node, operations: Node) -> None:
    address = _event_subject(entry).replace(_ID, "{id}")
    channels[_name(entry)] = _channel(address, [_name(entry)], f"{entry.name} events.", subjects.events_stream(_NODE))
    operations[f"record.{_name(entry)}"] = _operation("send", _name(entry), f"Record {entry.name}.")


def _event_subject(entry: EventType) -> str:
    envelope = Envelope(
        id="",
        source="",
        type=entry.wire_name,
        subject=_ID,
        time=datetime.min.replace(tzinfo=UTC),
        node=_NODE,
        kind=entry.kind,
        sequence=1,
        actor="",
        commandid="",
        correlationid="",
        data=msgspec.Raw(b"{}"),
    )
    return subject_of(envelope)


def _name(entry: EventType) -> str:
    return f"{entry.name}.v{entry.version}"


def _channel(address: str, messages: list[str], description: str, stream: str | None = None) -> Node:
    address = address.replace(_NODE, "{node}").replace(_ORIGIN, "{origin}")
    named = [name for name in _PARAMETERS if f"{{{name}}}" in address]
    channel: Node = {
        "address": address,
        "description": description,
        "messages": {name: _message_ref(name) for name in messages},
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in named},
    }
    if stream is not None:
        channel["x-stream"] = stream.replace(_NODE, "{node}")
    return channel


def _operation(action: str, channel: str, summary: str) -> Node:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message_ref(name: str) -> Node:
    return {"$ref": f"#/components/messages/{name}"}


def _command_message(entry: RequestType) -> Node:
    headers = {
        "Nats-Msg-Id": {"type": "string", "description": "The command's id."},
        REPLY_TO_HEADER: {"type": "string", "description": "Durable door: where the outcome goes, an inbox."},
    }
    return {
        "title": entry.name,
        "headers": {"type": "object", "properties": headers},
        "payload": {"$ref": f"./{command_file(entry)}"},
    }


def _event_message(entry: EventType) -> Node:
    chain = "blake2b-256 of the previous chain value followed by this payload, hexadecimal."
    read = "How far the commands have been read; on the first event of a durable one, on the last of an append."
    headers = {
        CHAIN_HEADER: {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": chain},
        COMMANDS_AT_HEADER: {"type": "string", "description": read},
    }
    return {
        "title": entry.wire_name,
        "headers": {"type": "object", "properties": headers, "required": [CHAIN_HEADER]},
        "payload": {"$ref": f"./{event_file(entry)}"},
    }
