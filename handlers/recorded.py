"""What the log holds of a command that is asked again."""

from collections.abc import Sequence

from domain.envelope import Recorded, decode, foreign
from handlers.ports import EventLog


async def events_of(command_id: str, position: int, recovered: Sequence[Recorded], log: EventLog) -> list[Recorded]:
    """Its events, the first of which stands at `position`: from what was `recovered`, else from the log. Raises
    `LogUnavailable`, `UndecodableEvent`.

    An effect that asks is answered even while the log cannot be read, if it asked before an answer of the log was lost.
    """
    events = [each for each in recovered if each.envelope.commandid == command_id]
    if events and events[0].position == position:
        return events
    events = []
    while (stored := await log.get(position + len(events))) is not None:
        record = None if foreign(stored) else decode(stored)
        if record is None or record.envelope.commandid != command_id:
            break
        events.append(record)
    return events
