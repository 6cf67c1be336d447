"""The event log: a stream that outlives every process, and the port of one process on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from domain.envelope import Stored
from handlers.ports import Entry, LogFull, LogUnavailable, WrongLastPosition
from tests.simulation.loop import pause
from tests.simulation.wire import Wire

MAX_BATCH = 1000
RETRY_S = 0.5


class Stream:
    """What the broker holds. `appended` is told of every batch, at the moment at which it is recorded."""

    def __init__(self) -> None:
        self.entries: list[Stored] = []
        self.full = False
        self.appended: list[Callable[[Sequence[Stored]], None]] = []
        self._grown = asyncio.Event()

    def append(self, entries: Sequence[Entry], expected_last: int) -> int:
        last = len(self.entries)
        if expected_last != last:
            raise WrongLastPosition(f"wrong last sequence: {last}")
        if self.full:
            raise LogFull("maximum bytes exceeded")
        batch = [
            Stored(last + number, entry.subject, entry.payload, dict(entry.headers))
            for number, entry in enumerate(entries, 1)
        ]
        self.entries += batch
        self._grown.set()
        self._grown = asyncio.Event()
        for told in self.appended:
            told(batch)
        return len(self.entries)

    async def longer_than(self, position: int) -> None:
        while len(self.entries) <= position:
            await self._grown.wait()


class SimulatedLog:
    """The `EventLog` port, and the `Source` of the projections."""

    def __init__(self, stream: Stream, wire: Wire, *, batch: int = 500) -> None:
        self.stream = stream
        self._wire = wire
        self._batch = batch
        self._appending = asyncio.Lock()

    async def append(self, entries: Sequence[Entry], *, expected_last: int) -> int:
        if not 1 <= len(entries) <= MAX_BATCH:
            raise ValueError(f"an append holds 1 to {MAX_BATCH} entries, not {len(entries)}")
        if any(name.startswith("Nats-") for entry in entries for name in entry.headers):
            raise ValueError("an entry must not carry Nats- headers")
        detail = f"{len(entries)} after {expected_last}"
        async with self._appending:
            return await self._wire.call(
                "log.append",
                lambda: self._append(entries, expected_last),
                LogUnavailable,
                detail=detail,
                late=True,
            )

    def _append(self, entries: Sequence[Entry], expected_last: int) -> int:
        """At times only some of them, and no answer."""
        cuts = [number for number, entry in enumerate(entries) if number and not entry.joined]
        if cuts and self._wire.faults.some():
            self.stream.append(entries[: self._wire.faults.random.choice(cuts)], expected_last)
            raise LogUnavailable("no answer for all of them")
        return self.stream.append(entries, expected_last)

    async def last_position(self) -> int:
        return await self._wire.call("log.last", lambda: len(self.stream.entries), LogUnavailable)

    async def get(self, position: int) -> Stored | None:
        def one() -> Stored | None:
            return self.stream.entries[position - 1] if 1 <= position <= len(self.stream.entries) else None

        return await self._wire.call("log.get", one, LogUnavailable, detail=str(position))

    async def read(self, after: int, until: int | None = None) -> AsyncIterator[Sequence[Stored]]:
        last = await self.last_position()
        end = last if until is None else min(until, last)
        while after < end:
            batch = await self._read(after, end)
            yield batch
            after = batch[-1].position

    async def follow(self, after: int) -> AsyncIterator[Sequence[Stored]]:
        """Entries after `after` as they come, for ever; waits out what fails."""
        while True:
            await self.stream.longer_than(after)
            try:
                batch = await self._read(after, len(self.stream.entries))
            except LogUnavailable:
                await pause(RETRY_S)
                continue
            yield batch
            after = batch[-1].position

    async def _read(self, after: int, end: int) -> Sequence[Stored]:
        stop = min(end, after + self._batch)
        detail = f"{after + 1} to {stop}"
        return await self._wire.call("log.read", lambda: self.stream.entries[after:stop], LogUnavailable, detail=detail)
