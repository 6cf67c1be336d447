"""The node itself: who writes its log, and what was refused."""

from typing import Any

from domain.messages import Event, Request


class NodeClaimed(Event, frozen=True):
    """A tower process took the node; whoever reads another's claim steps down."""

    node: str
    instance: str
    pid: int
    host: str


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
