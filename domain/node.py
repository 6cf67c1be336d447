"""The node itself: who writes its log, and what was refused."""

from typing import Any

from domain.messages import Event, Request


class NodeClaimed(Event, frozen=True):
    """A tower process took the node; whoever reads another's claim steps down."""

    node: str
    instance: str
    pid: int
    host: str


class NodeForeignEntriesFound(Event, frozen=True):
    """The log holds `count` entries that the tower did not write, the first at `position`, the last at
    `last_position`; `subject` and `reason` are the first one's. They change nothing."""

    node: str
    position: int
    last_position: int
    count: int
    subject: str
    reason: str


class CommandRejected(Event, frozen=True):
    """Who tried what, and why it was refused. `count` sums refusals that are recorded together (`host_only`)."""

    command_id: str
    noun: str
    verb: str
    code: str
    message: str
    details: dict[str, Any]
    count: int = 1


class NodeClaim(Request, frozen=True):
    node: str
    instance: str
    pid: int
    host: str


class NodeRecordForeign(Request, frozen=True):
    """As `NodeForeignEntriesFound`."""

    node: str
    position: int
    last_position: int
    count: int
    subject: str
    reason: str


def record_foreign(found: NodeRecordForeign, recorded_to: int) -> tuple[NodeForeignEntriesFound, ...]:
    """`recorded_to`: entries up to this position were recorded before."""
    if found.last_position <= recorded_to:
        return ()
    return (
        NodeForeignEntriesFound(
            node=found.node,
            position=found.position,
            last_position=found.last_position,
            count=found.count,
            subject=found.subject,
            reason=found.reason,
        ),
    )
