"""Commands as they stand on the wire: decoding a payload, encoding an outcome.

A payload is `{"id": UUIDv7, "data": {…}, "idempotency_key"?, "correlationid"?, "traceparent"?}`. Whatever is wrong with
it is one `validation_failed` naming the field.
"""

import json
import re
from typing import Any, Final
from uuid import UUID

import msgspec

from domain import catalogue
from domain.errors import Rejection
from domain.messages import Request, Result

_PATH: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN: Final = re.compile(r"unknown field `(?P<field>[^`]*)`")
_MISSING: Final = re.compile(r"missing required field `(?P<field>[^`]*)`")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_:.-]{1,128}\Z")


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    data: msgspec.Raw
    idempotency_key: str | None = None
    correlationid: str | None = None
    traceparent: str | None = None


class _Identified(msgspec.Struct):
    id: str


_payload: Final = msgspec.json.Decoder(Payload)
_identified: Final = msgspec.json.Decoder(_Identified)
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeError)


def encode_payload(
    command_id: str,
    data: object,
    *,
    idempotency_key: str | None = None,
    correlation_id: str | None = None,
    traceparent: str | None = None,
) -> bytes:
    """The payload of a command; what is None is left out."""
    fields = {
        "id": command_id,
        "data": data,
        "idempotency_key": idempotency_key,
        "correlationid": correlation_id,
        "traceparent": traceparent,
    }
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def decode_payload(payload: bytes) -> tuple[Payload, UUID]:
    """The payload and its id. Raises `validation_failed`."""
    try:
        decoded = _payload.decode(payload)
    except _UNREADABLE as error:
        raise invalid(error) from error
    optional = (decoded.idempotency_key, decoded.correlationid, decoded.traceparent)
    refuse_repeated(payload, decoded.data, 2 + sum(each is not None for each in optional))
    command_id = _uuid7(decoded.id)
    if command_id is None:
        raise _refused("id", "not a UUIDv7 in its 36 character form")
    if decoded.correlationid is not None and _TOKEN.match(decoded.correlationid) is None:
        raise _refused("correlationid", "1 to 128 characters of A-Z a-z 0-9 _ : . -")
    if decoded.traceparent is not None and _TRACEPARENT.match(decoded.traceparent) is None:
        raise _refused("traceparent", "not a W3C traceparent")
    return decoded, command_id


def decode_request(name: str, payload: Payload) -> Request:
    """The request of `noun.verb`. Raises `validation_failed`; internal requests are unknown from outside."""
    entry = catalogue.request_type(name)
    if entry is None or entry.internal:
        raise _refused("subject", f"no command {name}")
    try:
        fields = msgspec.json.decode(payload.data)
    except _UNREADABLE as error:
        raise invalid(error, "data") from error
    refuse_repeated(bytes(payload.data), None, _count_keys(fields))
    key = payload.idempotency_key
    if key is not None and isinstance(fields, dict) and fields.setdefault("idempotency_key", key) != key:
        raise _refused("idempotency_key", "given twice with different values")
    try:
        return msgspec.convert(fields, entry.request)
    except _UNREADABLE as error:
        raise invalid(error, "data") from error


def refuse_repeated(text: bytes, apart: msgspec.Raw | None, keys: int) -> None:
    """Raises `validation_failed` if an object in `text` holds a key twice; `apart` is a part that is not looked at.

    `keys` is how many were read. Each key has one colon, so that an equal count of colons shows without parsing that
    none was dropped; colons inside strings only lead to the slower look.
    """
    colons = text.count(b":") - (0 if apart is None else bytes(apart).count(b":"))
    if colons == keys:
        return
    try:
        json.loads(text, object_pairs_hook=_unrepeated, parse_int=str, parse_float=str)
    except (RecursionError, ValueError) as error:
        raise invalid(error) from error


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _refused(repeated[:100] or "payload", "given twice")
    return found


def _count_keys(value: object) -> int:
    """Of all objects in a decoded value."""
    count, waiting = 0, [value]
    while waiting:
        match waiting.pop():
            case dict() as fields:
                count += len(fields)
                waiting += fields.values()
            case list() as items:
                waiting += items
            case _:
                pass
    return count


def claimed_id(payload: bytes) -> str | None:
    """The id of a payload that is otherwise unusable, so that its sender can be answered; None without a usable one."""
    try:
        claimed = _identified.decode(payload).id
    except _UNREADABLE:
        return None
    return claimed if _uuid7(claimed) is not None else None


def accepted(command_id: str, result: Result, position: int, *, replay: bool) -> dict[str, Any]:
    return {
        "command_id": command_id,
        "status": "accepted",
        "result": result,
        "position": position,
        "replay": replay,
    }


def rejected(command_id: str | None, code: str, message: str, details: dict[str, Any], position: int) -> dict[str, Any]:
    return {
        "command_id": command_id,
        "status": "rejected",
        "error": {"code": code, "message": message, "details": details},
        "position": position,
    }


def invalid(error: Exception, inside: str = "") -> Rejection:
    """`validation_failed` for what msgspec says, with the field taken from its path."""
    text = str(error) or "nested too deeply"
    path = _PATH.search(text)
    reason = _PATH.sub("", text)
    named = _UNKNOWN.search(reason) or _MISSING.search(reason)
    parts = [inside, path["path"] if path else "", named["field"] if named else ""]
    field = ".".join(part for part in parts if part and part not in ("...", "[...]")) or "payload"
    return _refused(field.removeprefix("data."), reason[:300])


def _refused(field: str, reason: str) -> Rejection:
    return Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)


def _uuid7(text: str) -> UUID | None:
    return UUID(text) if _UUID7.match(text) else None
