"""Wire names: event type -> class with its upcasters, `noun.verb` -> request class. No wire name is written elsewhere.

The tables are checked when this module is imported: a wrong registration fails at start, not on replay.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from domain import node
from domain.layouts import commands as lc
from domain.layouts import events as le
from domain.messages import Event, Request

PREFIX: Final = "agenttower"
_NAME: Final = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*\Z")

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""The data of version n as the data of version n + 1."""


class UndecodableEvent(Exception):
    """A stored message that no registered event type can read: says which and why."""


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is `kind.event`; `id_field` names the field that holds the aggregate's id."""

    name: str
    event: type[Event]
    id_field: str
    version: int = 1
    upcasters: Mapping[int, Upcaster] = {}

    @property
    def kind(self) -> str:
        return self.name.partition(".")[0]

    @property
    def wire_name(self) -> str:
        return f"{PREFIX}.{self.name}.v{self.version}"


class RequestType(msgspec.Struct, frozen=True, kw_only=True):
    """`internal` requests come from the tower's own effects only; `doc` is one line for people."""

    name: str
    request: type[Request]
    internal: bool = False


def _pane(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"pane.{name}", event=event, id_field="pane_id")


def _layout(name: str, event: type[Event]) -> EventType:
    return EventType(name=f"layout.{name}", event=event, id_field="layout_id")


EVENTS: Final = (
    _layout("created", le.LayoutCreated),
    _layout("state_changed", le.LayoutStateChanged),
    _layout("recovery_reattached", le.LayoutRecoveryReattached),
    _layout("recovery_failed", le.LayoutRecoveryFailed),
    _pane("created", le.PaneCreated),
    _pane("pending_marker_set", le.PanePendingMarkerSet),
    _pane("pending_marker_cleared", le.PanePendingMarkerCleared),
    _pane("spawned", le.PaneSpawned),
    _pane("launch_settled", le.PaneLaunchSettled),
    _pane("launch_command_exited", le.PaneLaunchCommandExited),
    _pane("registered", le.PaneRegistered),
    _pane("log_attached", le.PaneLogAttached),
    _pane("log_attach_failed", le.PaneLogAttachFailed),
    _pane("state_changed", le.PaneStateChanged),
    _pane("process_exited", le.PaneProcessExited),
    _pane("removed", le.PaneRemoved),
    _pane("cleanup_failed", le.PaneCleanupFailed),
    _pane("recreated", le.PaneRecreated),
    EventType(name="node.claimed", event=node.NodeClaimed, id_field="node"),
    EventType(name="command.rejected", event=node.CommandRejected, id_field="command_id"),
)

REQUESTS: Final = (
    RequestType(name="layout.create", request=lc.LayoutCreate),
    RequestType(name="layout.remove", request=lc.LayoutRemove),
    RequestType(name="pane.remove", request=lc.PaneRemove),
    RequestType(name="pane.recreate", request=lc.PaneRecreate),
    RequestType(name="pane.promote", request=lc.PanePromote),
    RequestType(name="pane.record_spawned", request=lc.PaneRecordSpawned, internal=True),
    RequestType(name="pane.record_launch_settled", request=lc.PaneRecordLaunchSettled, internal=True),
    RequestType(name="pane.record_launch_exited", request=lc.PaneRecordLaunchExited, internal=True),
    RequestType(name="pane.register", request=lc.PaneRegister, internal=True),
    RequestType(name="pane.record_log_attached", request=lc.PaneRecordLogAttached, internal=True),
    RequestType(name="pane.record_log_failed", request=lc.PaneRecordLogFailed, internal=True),
    RequestType(name="pane.fail", request=lc.PaneFail, internal=True),
    RequestType(name="pane.record_exited", request=lc.PaneRecordExited, internal=True),
    RequestType(name="pane.record_vanished", request=lc.PaneRecordVanished, internal=True),
    RequestType(name="pane.record_cleanup_failed", request=lc.PaneRecordCleanupFailed, internal=True),
    RequestType(name="pane.sweep", request=lc.PaneSweep, internal=True),
    RequestType(name="container.recover", request=lc.ContainerRecover, internal=True),
    RequestType(name="node.claim", request=node.NodeClaim, internal=True),
)


def check(events: Iterable[EventType], requests: Iterable[RequestType]) -> None:
    """Raises `TypeError` for a bad or doubled name, a class twice, a class that is not frozen, a missing id field, or
    a chain of upcasters with a gap."""
    seen: set[object] = set()
    for entry in (*events, *requests):
        cls = entry.event if isinstance(entry, EventType) else entry.request
        side = "event" if isinstance(entry, EventType) else "request"
        if _NAME.match(entry.name) is None:
            raise TypeError(f"{side} name {entry.name!r} is not <noun>.<words>")
        if (side, entry.name) in seen or cls in seen:
            raise TypeError(f"{side} {entry.name} or its class {cls.__name__} is registered twice")
        seen |= {(side, entry.name), cls}
        if not cls.__struct_config__.frozen:
            raise TypeError(f"{cls.__name__} is not frozen")
        if isinstance(entry, EventType):
            if entry.id_field not in cls.__struct_fields__:
                raise TypeError(f"{cls.__name__} has no field {entry.id_field}")
            if sorted(entry.upcasters) != list(range(1, entry.version)):
                raise TypeError(f"{entry.wire_name}: upcasters must lead from every version 1 to {entry.version - 1}")


check(EVENTS, REQUESTS)

_BY_CLASS: Final[Mapping[type[Event], EventType]] = {entry.event: entry for entry in EVENTS}
_REQUEST_BY_CLASS: Final[Mapping[type[Request], RequestType]] = {entry.request: entry for entry in REQUESTS}
_REQUEST_BY_NAME: Final[Mapping[str, RequestType]] = {entry.name: entry for entry in REQUESTS}


def _version_table() -> dict[str, tuple[EventType, int]]:
    return {
        f"{PREFIX}.{entry.name}.v{version}": (entry, version)
        for entry in EVENTS
        for version in range(1, entry.version + 1)
    }


_BY_WIRE_NAME: Final = _version_table()
_DECODERS: Final = {entry.event: msgspec.json.Decoder(entry.event) for entry in EVENTS}


def event_type(event: Event) -> EventType:
    return _BY_CLASS[type(event)]


def aggregate_id(event: Event) -> str:
    return getattr(event, _BY_CLASS[type(event)].id_field)


def request_type(name: str) -> RequestType | None:
    """The request of `noun.verb`; None for a name that nobody knows."""
    return _REQUEST_BY_NAME.get(name)


def request_name(request: Request) -> str:
    """`noun.verb` of a request."""
    return _REQUEST_BY_CLASS[type(request)].name


def decode_event(wire_name: str, data: bytes | msgspec.Raw) -> Event:
    """The event of a stored type and its JSON data, upcast to today's version. Raises `UndecodableEvent`."""
    found = _BY_WIRE_NAME.get(wire_name)
    if found is None:
        raise UndecodableEvent(f"unknown event type {wire_name!r}")
    entry, version = found
    try:
        if version == entry.version:
            return _DECODERS[entry.event].decode(data)
        fields = msgspec.json.decode(data)
        for step in range(version, entry.version):
            fields = entry.upcasters[step](fields)
        return msgspec.convert(fields, entry.event)
    except msgspec.DecodeError as error:
        raise UndecodableEvent(f"{wire_name}: {error}") from error
