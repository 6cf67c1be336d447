"""The hash chain of the event log: recomputed over what the broker gives."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from adapters.cli.failures import Failure
from adapters.nats.connection import BrokerProblem, connect
from adapters.nats.log import JetStreamLog
from adapters.system import SystemClock
from domain.catalogue import UndecodableEvent
from domain.envelope import CHAIN_HEADER, GENESIS, Stored, decode, foreign, link
from domain.node import NodeForeignEntriesFound
from handlers.ports import LogError

OnProgress = Callable[[int, int], None]
"""Called with the number of events verified and how many there are."""

CHAIN_DIGITS: Final = 64
FOUND_SUBJECT: Final = ".foreign_entries_found"

FOREIGN_SHOWN: Final = 1_000
"""Entries of others that are listed, at most."""


class Broken(NamedTuple):
    """The first position at which the log is not what was recorded, and why."""

    position: int
    reason: str


class Foreign(NamedTuple):
    """An entry that the tower did not write; the chain leads past it. `recorded`: a later event of the log names it."""

    position: int
    subject: str
    reason: str
    recorded: bool


class Verdict(NamedTuple):
    """`first` to `last` were read, `events` of them the tower's own; `chain` is the chain value of `last`, in
    hexadecimal.

    `anchor` is the position whose chain value was taken as given; None where the log was read from its beginning.
    """

    first: int
    last: int
    events: int
    chain: str
    anchor: int | None
    broken: Broken | None
    foreign: tuple[Foreign, ...]
    elapsed_s: float

    @property
    def unrecorded(self) -> Foreign | None:
        """The first entry of somebody else's that no event of the log names."""
        return next((entry for entry in self.foreign if not entry.recorded), None)

    def as_json(self) -> dict[str, Any]:
        fields = self._asdict()
        fields["broken"] = self.broken._asdict() if self.broken else None
        fields["foreign"] = [entry._asdict() for entry in self.foreign]
        return {"ok": self.broken is None and self.unrecorded is None, **fields}


class Chain:
    """Follows the chain over consecutive entries."""

    def __init__(self, value: bytes, position: int) -> None:
        """`value` is the chain value at `position`, the last one that counts as verified."""
        self.value = value
        self.position = position
        self.count = 0
        self.foreign: list[Foreign] = []
        self._skipped: list[Stored] = []

    def take(self, stored: Stored) -> Broken | None:
        """Go on by one entry; what is wrong with it, if anything is."""
        if stored.position != self.position + 1:
            missing = self.position + 1
            return Broken(missing, f"the log goes on at {stored.position}: {stored.position - missing} events are gone")
        self.position = stored.position
        if (reason := foreign(stored)) is not None:
            if len(self.foreign) < FOREIGN_SHOWN:
                self.foreign.append(Foreign(stored.position, stored.subject, reason, recorded=False))
                self._skipped.append(stored)
            return None
        recorded = stored.headers[CHAIN_HEADER]
        expected = link(self.value, stored.payload)
        if recorded != expected.hex():
            return self._broken_at(stored, recorded, expected)
        self._skipped.clear()
        if stored.subject.endswith(FOUND_SUBJECT):
            self._take_record(stored)
        self.value = expected
        self.count += 1
        return None

    def _broken_at(self, stored: Stored, recorded: str, expected: bytes) -> Broken:
        """What is not linked may be an event of the tower's own that lost its header."""
        value = self.value
        for skipped in self._skipped:
            value = link(value, skipped.payload)
        if self._skipped and link(value, stored.payload).hex() == recorded:
            return Broken(self._skipped[0].position, f"its {CHAIN_HEADER} header is gone: the next event links to it")
        return Broken(
            stored.position,
            f"its chain value is {recorded[:16]}…, its payload after what stands before gives "
            f"{expected.hex()[:16]}…: this event, or its place, is not what was recorded",
        )

    def _take_record(self, stored: Stored) -> None:
        try:
            event = decode(stored).event
        except UndecodableEvent:
            return
        if isinstance(event, NodeForeignEntriesFound):
            self.foreign = [
                entry._replace(recorded=entry.recorded or event.position <= entry.position <= event.last_position)
                for entry in self.foreign
            ]


async def verify_log(url: str, node: str, first: int | None, last: int | None, progress: OnProgress) -> Verdict:
    try:
        connection = await connect(url, name="agenttower-audit")
    except BrokerProblem as error:
        raise Failure(f"the log cannot be read: {error}", "is the tower, or the broker, running?") from error
    try:
        return await verified(JetStreamLog(connection, node), first, last, progress)
    except LogError as error:
        raise Failure(f"the log cannot be read: {error}", "`agenttower doctor` may say why") from error
    finally:
        await connection.close()


async def verified(log: Any, first: int | None, last: int | None, progress: OnProgress) -> Verdict:
    """Read positions `first` to `last` (whole log by default) of a `JetStreamLog` and recompute the chain."""
    clock = SystemClock()
    started = clock.monotonic()
    held: int = await log.first_position()
    end: int = await log.last_position()
    first, last = first or held, min(last or end, end)
    chain, broken = Chain(GENESIS, 0), None
    anchor: int | None = None
    if first < held:
        broken = Broken(first, f"the log begins at {held}: what was before was pruned, verify its archive")
    elif first > 1:
        # What stands before the first position, or the first itself where older ones were pruned, is taken as given.
        anchor = first - 1 if first > held else first
        chain, broken = await _anchored(log, anchor)
    if broken is None:
        async for batch in log.read(chain.position, last):
            for stored in batch:
                broken = chain.take(stored)
                if broken is not None:
                    break
            progress(chain.count, max(0, last - first + 1))
            if broken is not None:
                break
        if broken is None and chain.position < last:
            broken = Broken(chain.position + 1, f"the log ends before position {last}")
    elapsed_s = clock.monotonic() - started
    return Verdict(first, last, chain.count, chain.value.hex(), anchor, broken, tuple(chain.foreign), elapsed_s)


async def _anchored(log: Any, position: int) -> tuple[Chain, Broken | None]:
    stored = await log.get(position)
    while stored is not None and foreign(stored) is not None:
        position -= 1
        stored = await log.get(position)
    value = stored.headers.get(CHAIN_HEADER, "") if stored else ""
    if len(value) != CHAIN_DIGITS:
        return Chain(GENESIS, 0), Broken(position, "there is no event with a chain value")
    return Chain(bytes.fromhex(value), position), None
