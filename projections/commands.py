"""Outcomes of commands, as far as the log tells: they follow from a command's events, so nothing is kept but those.

A command that changed nothing, or whose refusal is not recorded, has left no event and is not found here.
"""

from collections.abc import Sequence
from typing import Any

from domain import catalogue, tower
from domain.envelope import Recorded
from domain.node import CommandRejected


def outcome(command_id: str, recorded: Sequence[Recorded]) -> dict[str, Any]:
    """The outcome of the command that recorded these events (at least one), in the form of the wire, with `id`, `actor`
    and the types of its events."""
    last = recorded[-1]
    row: dict[str, Any] = {
        "id": command_id,
        "command_id": command_id,
        "position": last.position,
        "actor": last.envelope.actor,
        "event_types": [catalogue.event_type(one.event).wire_name for one in recorded],
    }
    if isinstance(last.event, CommandRejected):
        refused = last.event
        error = {"code": refused.code, "message": refused.message, "details": refused.details}
        return row | {"status": "rejected", "error": error}
    result = tower.result([one.event for one in recorded])
    return row | {"status": "accepted", "result": result, "replay": False}
