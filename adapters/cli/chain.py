"""The hash chain of the event log: recomputed over what the broker gives."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from adapters.cli.failures import Failure
from adapters.nats.connection import BrokerProblem, connect
from adapters.nats.log import JetStreamLog
from adapters.system import SystemClock
from domain.envelope import CHAIN_HEADER, GENESIS, Stored, link
from handlers.ports import LogError

OnProgress = Callable[[int, int], None]
"""Called with the number of events verified and how many there are."""

CHAIN_DIGITS: Final = 64


class Broken(NamedTuple):
    """The first position at which the log is not what was recorded, and why."""

    position: int
    reason: str


class Verdict(NamedTuple):
    """`first` to `last` were read, `events` of them; `chain` is the chain value of `last`, in hexadecimal.

    `anchor` is the position whose chain value was taken as given; None where the log was read from its beginning.
    """

    first: int
    last: int
    events: int
    chain: str
    anchor: int | None
    broken: Broken | None
    elapsed_s: float

    def as_json(self) -> dict[str, Any]:
        fields = self._asdict()
        fields["broken"] = self.broken._asdict() if self.broken else None
        return {"ok": self.broken is None, **fields}


class Chain:
    """Follows the chain over consecutive entries."""

    def __init__(self, value: bytes, position: int) -> None:
        """`value` is the chain value at `position`, the last one that counts as verified."""
        self.value = value
        self.position = position
        self.count = 0

    def take(self, stored: Stored) -> Broken | None:
        """Go on by one entry; what is wrong with it, if anything is."""
        if stored.position != self.position + 1:
            missing = self.position + 1
            return Broken(missing, f"the log goes on at {stored.position}: {stored.position - missing} events are gone")
        recorded = stored.headers.get(CHAIN_HEADER)
        if recorded is None:
            return Broken(stored.position, f"it carries no {CHAIN_HEADER} header: the tower did not write it")
        expected = link(self.value, stored.payload)
        if recorded != expected.hex():
            return Broken(
                stored.position,
                f"its chain value is {recorded[:16]}…, its payload after position {self.position} gives "
                f"{expected.hex()[:16]}…: this event, or its place, is not what was recorded",
            )
        self.value, self.position = expected, stored.position
        self.count += 1
        return None


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
    return Verdict(first, last, chain.count, chain.value.hex(), anchor, broken, elapsed_s)


async def _anchored(log: Any, position: int) -> tuple[Chain, Broken | None]:
    stored = await log.get(position)
    value = stored.headers.get(CHAIN_HEADER, "") if stored else ""
    if len(value) != CHAIN_DIGITS:
        return Chain(GENESIS, 0), Broken(position, "there is no event with a chain value")
    return Chain(bytes.fromhex(value), position), None
