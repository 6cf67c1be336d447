"""Bundles kept as in a tower, on real files, with the node's own rules and without a broker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from adapters.bundles.overlays import FileOverlays
from adapters.bundles.preparing import BundleFiles
from adapters.bundles.watching import FolderWatch
from domain.errors import Rejection
from domain.messages import TOWER
from domain.tower import Tower
from handlers.bundle_ports import PreparedBundle
from handlers.effects.bundles import BundleKeeping
from handlers.inbox import FollowUp
from tests.integration.bare_node import BareNode
from tests.waiting import eventually


class CountedFiles(BundleFiles):
    """Counts preparations, and those that overlap."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.preparations = 0
        self.overlapping = 0
        self._under_way: set[str] = set()

    async def prepare(self, uri: str, **options: Any) -> PreparedBundle:
        self.preparations += 1
        self.overlapping += uri in self._under_way
        self._under_way.add(uri)
        try:
            return await super().prepare(uri, **options)
        finally:
            self._under_way.discard(uri)


class Node(BareNode):
    """`events` in order; `state` as they make it."""

    def __init__(self, home: Path, configured: Sequence[str], state: Tower, debounce_s: float, **options: Any) -> None:
        super().__init__(state)
        self.deciding = asyncio.Event()
        self.deciding.set()
        self.files = CountedFiles(home, self.clock, configured=configured, **options)
        self.keeping = BundleKeeping(
            bundles=self.files,
            overlays=FileOverlays(home),
            files=FolderWatch(),
            follow_ups=self.follow_ups,
            clock=self.clock,
            instance=self.ids.uuid7(),
            configured=configured,
            state=lambda: self.state,
            debounce_s=debounce_s,
        )
        self.effects.append(self.keeping)

    async def decide(self) -> None:
        """What the effect sends, as it comes."""
        while True:
            taken = await self.inbox.take(100)
            await self.deciding.wait()
            for each in taken:
                assert isinstance(each, FollowUp)
                try:
                    self.ask(each.request, TOWER)
                    outcome: dict[str, Any] = {"status": "accepted", "result": {}}
                except Rejection as refused:
                    outcome = {"status": "rejected", "error": {"code": refused.code}}
                if each.on_outcome is not None:
                    each.on_outcome(msgspec.json.encode(outcome))

    async def serves(self, uri: str | Path, instruction: str) -> None:
        async def look() -> bool:
            found = self.keeping.serving(str(uri))
            return found is not None and found.instruction == instruction

        await eventually(look, f"{uri} serves {instruction!r}")


@asynccontextmanager
async def node(
    home: Path, *configured: str | Path, state: Tower | None = None, debounce_s: float = 0.02, **options: Any
) -> AsyncIterator[Node]:
    """A running one; its bundles are prewarmed."""
    made = Node(home, [str(uri) for uri in configured], state or Tower(), debounce_s, **options)
    tasks = [asyncio.create_task(made.decide())]
    made.keeping.start(made.state)
    tasks.append(asyncio.create_task(made.keeping.run()))
    try:
        await made.keeping.prewarmed()
        yield made
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
