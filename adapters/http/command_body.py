"""The body of `POST /v1/commands`."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from handlers import wire


class CommandBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    noun: str
    verb: str
    data: msgspec.Raw
    id: (
        Annotated[str, Meta(min_length=1, description="A UUIDv7 of the caller's; asked again, it is decided once.")]
        | None
    ) = None
    idempotency_key: Annotated[str, Meta(description="The same field as in `data`.")] | None = None
    correlationid: Annotated[str, Meta(description="Ties together everything that comes of one request.")] | None = None
    traceparent: Annotated[str, Meta(description="W3C trace context; the header of that name does as well.")] | None = (
        None
    )


_decoder: Final = msgspec.json.Decoder(CommandBody)


def decode(body: bytes) -> CommandBody:
    """Raises `Rejection` validation_failed naming the field."""
    try:
        decoded = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise wire.invalid(error) from error
    optional = (decoded.id, decoded.idempotency_key, decoded.correlationid, decoded.traceparent)
    wire.refuse_repeated(body, decoded.data, 3 + sum(each is not None for each in optional))
    return decoded
