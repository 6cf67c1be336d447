"""The one in-process queue of commands that both doors, HTTP and the effects feed and the writer drains.

It is bounded: a full queue makes `offer` say no (the request door answers `tower_busy`) and `put` wait (the durable
door stops pulling). The tower's own follow-ups are always taken, so that an effect's result is never blocked.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from domain.messages import Request

CAPACITY: Final = 10_000
"""Commands that wait at most; the tower's own follow-ups come on top."""


class Asked(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A command as it came through a door, undecoded. `origin` is what the broker or the kernel says.

    `durable_sequence` and `queued_at` are set by the durable door. `on_outcome` is called, from the writer's task, with
    the encoded outcome, for askers in this process.
    """

    payload: bytes
    origin: str
    noun: str
    verb: str
    reply_to: str | None = None
    queued_at: datetime | None = None
    durable_sequence: int | None = None
    on_outcome: Callable[[bytes], None] | None = None


class FollowUp(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A command of the tower's own: typed, with a deterministic id. `on_outcome` as in `Asked`."""

    id: str
    request: Request
    origin: str = "tower"
    causation_id: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    on_outcome: Callable[[bytes], None] | None = None


class Inbox:
    """Single consumer (the writer), any number of producers, all in one event loop. Order is kept per producer."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: deque[Asked | FollowUp] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, asked: Asked) -> bool:
        """Take a command if there is room; False when full."""
        if len(self._waiting) >= self._capacity:
            return False
        self._append(asked)
        return True

    async def put(self, asked: Asked) -> None:
        """Take a command, waiting for room."""
        while len(self._waiting) >= self._capacity:
            self._room.clear()
            await self._room.wait()
        self._append(asked)

    def submit(self, follow_up: FollowUp) -> None:
        """Take a command of the tower's own, always."""
        self._append(follow_up)

    async def take(self, limit: int, *, hoped: int = 1, patience_s: float = 0.0) -> Sequence[Asked | FollowUp]:
        """Up to `limit` commands in order of arrival; waits until there is one, and from then on `patience_s` at most
        until there are as many as `hoped` for."""
        await self._until(1)
        if len(self._waiting) < hoped and patience_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._until(hoped)
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        if len(self._waiting) < self._capacity:
            self._room.set()
        return taken

    async def _until(self, count: int) -> None:
        while len(self._waiting) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def _append(self, item: Asked | FollowUp) -> None:
        self._waiting.append(item)
        self._arrived.set()
