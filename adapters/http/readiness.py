"""What must hold for the tower to be ready, found by looking: the broker answers, read models are there or move on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from adapters.http.services import Check, Row

STALLED_S: Final = 10.0
"""A read model that is behind and has not moved for this long is a reason not to be ready."""

BROKER_TIMEOUT_S: Final = 2.0


class Readiness:
    """The `Ready` of `HttpServices`. Remembers when each read model last moved, from one call to the next.

    `projections` gives the rows of `projections list` (`name`, `state`, `position`, `reason`); `last_position` asks
    the broker for the log's end and raises when it does not answer; `monotonic` counts seconds.
    """

    def __init__(
        self,
        projections: Callable[[], Awaitable[Sequence[Row]]],
        last_position: Callable[[], Awaitable[int]],
        monotonic: Callable[[], float],
    ) -> None:
        self._projections = projections
        self._last_position = last_position
        self._monotonic = monotonic
        self._moved: dict[str, tuple[int, float]] = {}

    async def __call__(self) -> Mapping[str, Check]:
        broker, end = await self._broker()
        checks: dict[str, Check] = {"broker": broker}
        for row in await self._projections():
            checks[f"projection {row['name']}"] = self._projection(row, end)
        return checks

    async def _broker(self) -> tuple[Check, int | None]:
        try:
            async with asyncio.timeout(BROKER_TIMEOUT_S):
                end = await self._last_position()
        except Exception as error:  # noqa: BLE001 -- whatever kept the broker from answering, it is not there
            reason = f"the broker does not answer: {error or type(error).__name__}"
            return {"ok": False, "reason": reason}, None
        return {"ok": True, "position": end}, end

    def _projection(self, row: Row, end: int | None) -> Check:
        name, position, now = str(row["name"]), int(row["position"]), self._monotonic()
        lag = max(0, end - position) if end is not None else 0
        check: Check = {"ok": True, "position": position, "lag": lag}
        before, since = self._moved.get(name, (-1, now))
        if position != before or not lag:
            self._moved[name] = (position, now)
            since = now
        if row["state"] == "stopped":
            return {**check, "ok": False, "reason": f"stopped: {row.get('reason') or 'no reason given'}"}
        if now - since >= STALLED_S:
            reason = f"{lag} events behind and has not moved for {now - since:.0f} s"
            return {**check, "ok": False, "reason": reason}
        return check
