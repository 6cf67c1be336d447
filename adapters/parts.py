"""What the parts of a tower run on, and their common life: broker connections, and the group that owns them."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

import msgspec

from adapters.nats.log import Store
from adapters.nats.wire import WireClient


class Connections(msgspec.Struct, frozen=True):
    """`tower` may do everything; `answers` may publish to inboxes and outcomes only. `operator_url` has credentials.

    `store` is what is known of the broker's store.
    """

    tower: WireClient
    answers: WireClient
    operator_url: str
    store: Store


class Parts:
    """The running parts of a tower: all end with the block, and the first that fails ends it with its own error."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def own(self, part: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._group.create_task(part, name=name)
        self._tasks.append(task)
        return task
