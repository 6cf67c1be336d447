"""Snapshots: the ledger at a position, so that a start replays only the tail of the log.

A snapshot is a shortcut, never a source: one that is unreadable, or was written by code with other state or event
types, is ignored and the log is replayed from its beginning.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, Protocol, get_args, get_type_hints

import msgspec
from immutables import Map

from domain import catalogue
from handlers.ledger import Ledger

INTERVAL: Final = 10_000
"""Events between two snapshots."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is that of the code's schema; `horizon_s` that of the seen ids."""

    digest: str
    ledger: Ledger
    horizon_s: float


class SnapshotStore(Protocol):
    """Where snapshots and the segments of seen command ids are kept. All raise `OSError`."""

    async def load(self) -> bytes | None: ...

    async def save(self, snapshot: Snapshot, segments: Mapping[int, bytes], dropped_hours: list[int]) -> None:
        """Append the segments, then replace the snapshot atomically; encodes off the event loop.

        Half a record that an earlier save left at the end of a segment is cut off before more is appended.
        """
        ...

    async def segments(self) -> Mapping[int, bytes]:
        """Every segment by hour."""
        ...


@cache
def schema_digest() -> str:
    """Changes whenever a type of the state or an event type changes."""
    lines = sorted(_describe(Ledger, set())) + [entry.wire_name for entry in catalogue.EVENTS]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def encode(snapshot: Snapshot) -> bytes:
    return msgspec.msgpack.encode(snapshot, enc_hook=_plain)


def decode(data: bytes, digest: str) -> Snapshot | None:
    """None for a snapshot that cannot be read or has another digest."""
    try:
        snapshot = msgspec.msgpack.decode(data, type=Snapshot, dec_hook=_rich)
    except (msgspec.MsgspecError, ValueError, TypeError):
        return None
    return snapshot if snapshot.digest == digest else None


def _plain(value: object) -> bytes:
    """A map as a document of its own, so that it is read straight into its types."""
    if isinstance(value, Map):
        return msgspec.msgpack.encode(dict(value), enc_hook=_plain)
    raise TypeError(f"{type(value)} is no part of a state")


def _rich(kind: Any, value: Any) -> Any:
    key, item = get_args(kind)
    return Map(msgspec.msgpack.decode(value, type=dict[key, item], dec_hook=_rich))


def _describe(kind: type[msgspec.Struct], done: set[type]) -> Iterator[str]:
    if kind in done:
        return
    done.add(kind)
    for name, hint in get_type_hints(kind).items():
        yield f"{kind.__qualname__}.{name}: {hint}"
        for part in _structs_in(hint):
            yield from _describe(part, done)


def _structs_in(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in get_args(hint):
        yield from _structs_in(part)
