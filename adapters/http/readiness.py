"""What must hold for the tower to be ready, found by looking: the broker answers, read models are there or move on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from adapters.http.services import Check, Row
from domain.catalogue import UndecodableEvent
from domain.envelope import Stored, decode
from handlers.ports import Clock

STALLED_S: Final = 10.0
"""A read model that does not move although an event has waited for it this long is a reason not to be ready."""

TIMEOUT_S: Final = 2.0


class Readiness:
    """The `Ready` of `HttpServices`.

    `projections` gives the rows of `projections list`, `last_position` asks the broker for the log's end, `entry`
    gives one entry of the log; they raise when the broker does not answer.
    """

    def __init__(
        self,
        projections: Callable[[], Awaitable[Sequence[Row]]],
        last_position: Callable[[], Awaitable[int]],
        entry: Callable[[int], Awaitable[Stored | None]],
        clock: Clock,
    ) -> None:
        self._projections = projections
        self._last_position = last_position
        self._entry = entry
        self._clock = clock

    async def __call__(self) -> Mapping[str, Check]:
        """`broker`, and `projection NAME` of each read model. Without a broker nothing is known of the others."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                end = await self._last_position()
                rows = await self._projections()
        except Exception as error:  # noqa: BLE001 -- whatever kept the broker from answering, it is not there
            why = str(error) or f"no answer within {TIMEOUT_S:g} s"
            return {"broker": {"ok": False, "reason": f"the broker does not answer: {why}"}}
        checks: dict[str, Check] = {"broker": {"ok": True, "position": end}}
        for row in rows:
            checks[f"projection {row['name']}"] = await self._projection(row)
        return checks

    async def _projection(self, row: Row) -> Check:
        position, lag = int(row["position"]), int(row["lag"])
        check: Check = {"ok": True, "position": position, "lag": lag}
        if row["state"] == "stopped":
            where = f" at position {row['stopped_position']}, event {row['stopped_event']}"
            return {**check, "ok": False, "reason": f"stopped{where}: {row['reason']}"}
        if lag and row["stalled_s"] >= STALLED_S:
            # It may only just have something to do after a long rest.
            waiting_s = await self._waiting_s(position + 1)
            if waiting_s >= STALLED_S:
                why = f": {row['reason']}" if row["reason"] else ""
                return {**check, "ok": False, "reason": f"{lag} events behind, not moving for {waiting_s:.0f} s{why}"}
        return check

    async def _waiting_s(self, position: int) -> float:
        """Seconds since the entry was recorded; one that cannot be read has waited for ever."""
        stored = await self._entry(position)
        if stored is None:
            return float("inf")
        try:
            recorded_at = decode(stored).envelope.time
        except UndecodableEvent:
            return float("inf")
        return (self._clock.now() - recorded_at).total_seconds()
