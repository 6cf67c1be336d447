"""What the writer knows: the node's state together with how far the log and the durable door have been read.

A `Ledger` is an immutable value. A batch is decided on a tentative one, which replaces the kept one only after the
append; to forget an append that failed is to keep the old value.
"""

from typing import Final

import msgspec

from domain import tower
from domain.envelope import CHAIN_HEADER, GENESIS, Recorded, Stored, decode, link
from domain.tower import Tower

COMMANDS_AT_HEADER: Final = "Tower-Commands-At"
"""On the first event of a durable command, and on the last of a batch: the `TOWER_COMMANDS` sequence up to which
commands have been read."""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """`position`: the last event's stream sequence. `chain`: its chain value. `commands_at`: see the header above."""

    tower: Tower = Tower()
    position: int = 0
    chain: bytes = GENESIS
    commands_at: int = 0


class BrokenLog(Exception):
    """The log does not continue where the state stands: says the position and what was expected."""


def passed_over(ledger: Ledger, stored: Stored) -> Ledger:
    """The ledger after an entry that is not the tower's own: it moves on, and nothing else changes."""
    return msgspec.structs.replace(ledger, position=stored.position)


def replay(ledger: Ledger, stored: Stored) -> tuple[Ledger, Recorded]:
    """The ledger after one more message of the log. Raises `BrokenLog`, `UndecodableEvent`."""
    chain = link(ledger.chain, stored.payload)
    if stored.headers.get(CHAIN_HEADER) != chain.hex():
        raise BrokenLog(
            f"position {stored.position}: the hash chain does not continue from position {ledger.position}; "
            "`agenttower audit verify` shows the first broken position"
        )
    recorded = decode(stored)
    commands_at = stored.headers.get(COMMANDS_AT_HEADER)
    return Ledger(
        tower=tower.evolve(ledger.tower, recorded.event),
        position=stored.position,
        chain=chain,
        commands_at=ledger.commands_at if commands_at is None else int(commands_at),
    ), recorded
