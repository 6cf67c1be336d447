"""Applying a batch of events in a transaction; when that fails for an event's own sake, finding which event it is."""

import msgspec

from domain.envelope import Envelope, Stored
from projections.ports import Database, DatabaseTrouble
from projections.projection import Batch, Projection, Rewound, apply


class Poison(Exception):
    """The projection cannot take the event at `position`; what came before it is applied. `event` is its id, or the
    subject of a message that cannot be read."""

    def __init__(self, stored: Stored, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}".partition("\n")[0])
        self.reason = str(self)
        self.position = stored.position
        self.event = _name_of(stored)


async def advance(database: Database, projection: Projection, suffix: str, batch: Batch, expected: int) -> int:
    """The position after the batch. Raises `Poison`, `Rewound`, `DatabaseTrouble`.

    A batch that fails is halved until the event stands alone, and all before it are applied.
    """
    try:
        return await database.write(lambda connection: apply(connection, projection, suffix, batch, expected))
    except (Rewound, DatabaseTrouble):
        raise
    except Exception as error:  # whatever a mapping or a database may find wrong with an event
        if len(batch.stored) == 1:
            raise Poison(batch.stored[0], error) from error
    middle = len(batch.stored) // 2
    for part in (batch.part(0, middle), batch.part(middle, len(batch.stored))):
        expected = await advance(database, projection, suffix, part, expected)
    return expected


def _name_of(stored: Stored) -> str:
    try:
        return msgspec.json.decode(stored.payload, type=Envelope).id
    except msgspec.DecodeError:
        return stored.subject
