"""How far each projection is, for those who wait and those who look: `running`, `behind` or `stopped`."""

import asyncio
import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, Final, Literal

import msgspec

from domain.errors import Rejection
from projections.changes import Changes

State = Literal["running", "behind", "stopped"]


class Stop(msgspec.Struct, frozen=True):
    """Why a projection does not go on: `event` (its id, or its subject when it has none) at `position`."""

    reason: str
    event: str
    position: int


class Status(msgspec.Struct, kw_only=True):
    """`trouble`: why it is behind (the database, a rebuild), None when it follows the log. `serves`: its tables can be
    read. `moved_at`: the loop's clock when it last moved, in seconds."""

    name: str
    position: int = 0
    stop: Stop | None = None
    trouble: str | None = None
    serves: bool = True
    moved_at: float = 0.0

    def state(self, lag: int) -> State:
        if self.stop is not None:
            return "stopped"
        return "behind" if lag > 0 or self.trouble is not None else "running"

    def row(self, head: int, now: float) -> dict[str, Any]:
        """As lists show it. `head`: the log's last position; `now`: the loop's clock, in seconds."""
        lag = max(head - self.position, 0)
        stop = self.stop
        return {
            "name": self.name,
            "state": self.state(lag),
            "position": self.position,
            "lag": lag,
            "stalled_s": round(now - self.moved_at, 3) if lag else 0.0,
            "reason": self.trouble if stop is None else stop.reason,
            "stopped_event": None if stop is None else stop.event,
            "stopped_position": None if stop is None else stop.position,
        }


class Progress:
    """One status a projection, and who waits for it; `changes`: who waits for a single row. Used from the event loop
    only."""

    def __init__(self, names: Iterable[str]) -> None:
        self._statuses: Final = {name: Status(name=name) for name in names}
        self._waiting: Final[dict[str, list[tuple[int, int, asyncio.Future[None]]]]] = {n: [] for n in self._statuses}
        self._tickets: Final = count()
        self.changes: Final = Changes()

    def __iter__(self) -> Iterator[Status]:
        return iter(self._statuses.values())

    def __getitem__(self, name: str) -> Status:
        return self._statuses[name]

    def stands(self, name: str, position: int, *, serves: bool) -> None:
        """What the database says: the projection may have been set back."""
        self._statuses[name].serves = serves
        self.moved(name, position)

    def moved(self, name: str, position: int) -> None:
        """The projection reflects `position`: whoever waited for it goes on."""
        status = self._statuses[name]
        status.position, status.trouble, status.stop = position, None, None
        status.moved_at = asyncio.get_running_loop().time()
        if status.serves:
            self._release(name, position)

    def stopped(self, name: str, stop: Stop) -> None:
        self._statuses[name].stop = stop
        self._release(name, None)

    def held_up(self, name: str, trouble: str) -> None:
        self._statuses[name].trouble = trouble

    async def reached(self, name: str, position: int, timeout_s: float) -> None:
        """Until the projection reflects `position`. `read_model_behind` past the deadline, or at once when it is
        stopped before it."""
        status = self._statuses[name]
        if status.position >= position and status.serves:
            return
        if status.stop is None and timeout_s > 0:
            future = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting[name], (position, next(self._tickets), future))
            try:
                async with asyncio.timeout(timeout_s):
                    await future
            except TimeoutError:
                future.cancel()
        if status.position < position or not status.serves:
            raise behind(status, position)

    def _release(self, name: str, position: int | None) -> None:
        """`position` None: all of them."""
        waiting = self._waiting[name]
        while waiting and (position is None or waiting[0][0] <= position or waiting[0][2].done()):
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)


def behind(status: Status, position: int) -> Rejection:
    why = status.stop.reason if status.stop is not None else status.trouble
    said = f"read model {status.name} is at position {status.position}, not yet at {position}"
    return Rejection(
        "read_model_behind",
        said if why is None else f"{said}: {why}",
        after=position,
        position=status.position,
    )
