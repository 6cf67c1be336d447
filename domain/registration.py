"""What a registered event or request is, what is refused, and the reading of stored data with its upcasters."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import msgspec
from msgspec import inspect

from domain.messages import Event, Request

PREFIX: Final = "agenttower"
_NAME: Final = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*\Z")

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""The data of version n as the data of version n + 1."""


class UndecodableEvent(Exception):
    """A stored message that no registered event type can read: says which and why."""


class EventType(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """`name` is `kind.event`; `id_field` names the field that holds the aggregate's id; `upcasters` by the version
    that they start from."""

    name: str
    event: type[Event]
    id_field: str
    version: int = 1
    upcasters: Mapping[int, Upcaster] = {}

    @cached_property
    def kind(self) -> str:
        return self.name.partition(".")[0]

    @cached_property
    def wire_name(self) -> str:
        return self.wire_name_of(self.version)

    def wire_name_of(self, version: int) -> str:
        return f"{PREFIX}.{self.name}.v{version}"


class RequestType(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is `noun.verb`. `internal` requests come from the tower's own effects only."""

    name: str
    request: type[Request]
    internal: bool = False


class EventTable:
    """Event types by class and by wire name, of every version that was ever recorded."""

    def __init__(self, entries: Sequence[EventType]) -> None:
        check(entries)
        self.by_class: Final[Mapping[type[Event], EventType]] = {entry.event: entry for entry in entries}
        self._versions: Final = {
            entry.wire_name_of(version): (entry, version)
            for entry in entries
            for version in range(1, entry.version + 1)
        }
        self._decoders: Final = {entry.event: msgspec.json.Decoder(entry.event) for entry in entries}

    @property
    def wire_names(self) -> frozenset[str]:
        """Every type that this table reads, old versions included."""
        return frozenset(self._versions)

    def decode(self, wire_name: str, data: bytes | msgspec.Raw) -> Event:
        """The event of a stored type and its JSON data, upcast to today's version. Raises `UndecodableEvent`."""
        found = self._versions.get(wire_name)
        if found is None:
            raise UndecodableEvent(f"unknown event type {wire_name!r}")
        entry, version = found
        try:
            if version == entry.version:
                return self._decoders[entry.event].decode(data)
            fields = msgspec.json.decode(data, type=dict[str, Any])
            for step in range(version, entry.version):
                fields = entry.upcasters[step](fields)
            return msgspec.convert(fields, entry.event)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise UndecodableEvent(f"{wire_name}: {type(error).__name__}: {error}") from error


def check(entries: Sequence[EventType | RequestType]) -> None:
    """Raises `TypeError` for a bad or doubled name, a class twice, a class that is not frozen or whose empty value
    does not survive encoding; for an event also without its id field or with a gap among its upcasters."""
    names: set[str] = set()
    classes: set[type[Event | Request]] = set()
    for entry in entries:
        cls = entry.event if isinstance(entry, EventType) else entry.request
        if _NAME.match(entry.name) is None:
            raise TypeError(f"the name {entry.name!r} is not <noun>.<words>")
        if entry.name in names:
            raise TypeError(f"the name {entry.name} is registered twice")
        if cls in classes:
            raise TypeError(f"{cls.__name__} is registered twice")
        names.add(entry.name)
        classes.add(cls)
        if not cls.__struct_config__.frozen:
            raise TypeError(f"{cls.__name__} is not frozen")
        if isinstance(entry, EventType):
            _check_event(entry)
        _check_round_trip(cls)


def _check_event(entry: EventType) -> None:
    if entry.id_field not in entry.event.__struct_fields__:
        raise TypeError(f"{entry.event.__name__} has no field {entry.id_field}")
    if sorted(entry.upcasters) != list(range(1, entry.version)):
        raise TypeError(f"{entry.wire_name}: upcasters must lead from every version 1 to {entry.version - 1}")


def _check_round_trip(cls: type[Event] | type[Request]) -> None:
    empty = _empty(inspect.type_info(cls))
    if msgspec.json.decode(msgspec.json.encode(empty), type=cls) != empty:
        raise TypeError(f"{cls.__name__}: its empty value does not survive encoding")


def _empty(kind: inspect.Type) -> Any:
    """The least value of a type: empty text and collections, zero, the first of a choice."""
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: _empty(field.type) for field in fields if field.required})
        case inspect.UnionType(types=types):
            return None if any(isinstance(member, inspect.NoneType) for member in types) else _empty(types[0])
        case inspect.EnumType(cls=cls):
            return next(iter(cls))
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.DateTimeType():
            return datetime.fromtimestamp(0, UTC)
        case inspect.StrType():
            return ""
        case inspect.BoolType():
            return False
        case inspect.IntType() | inspect.FloatType():
            return 0
        case inspect.VarTupleType():
            return ()
        case inspect.DictType():
            return {}
        case _:
            raise TypeError(f"{kind} is no type of a stored field")
