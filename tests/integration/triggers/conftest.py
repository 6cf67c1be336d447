"""A `file_change` on a real folder, and what it tells."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.system import SystemClock, SystemIds
from adapters.triggers.file_change import FileChange
from adapters.triggers.inotify import Inotify
from handlers.trigger_ports import Firing

ACCEPTED = {"status": "accepted", "result": {}}


class Watched:
    """`folder` is what is watched. `next()` takes a firing, told as recorded; `unanswered()` one of unknown outcome."""

    def __init__(self, source: FileChange, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.firings: list[Firing] = []
        self._arrived: asyncio.Queue[Firing | None] = asyncio.Queue()
        self._go_on = asyncio.Event()
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for firing in self.source.watch():
                self._go_on.clear()
                self.firings.append(firing)
                await self._arrived.put(firing)
                await self._go_on.wait()
        finally:
            await self._arrived.put(None)

    async def unanswered(self) -> Firing:
        async with asyncio.timeout(30):
            firing = await self._arrived.get()
        assert firing is not None, self.task.exception()
        return firing

    async def next(self) -> Firing:
        firing = await self.unanswered()
        if firing.after is not None:
            await firing.after(ACCEPTED)
        self._go_on.set()
        return firing

    async def changes(self, *, until: str | None = None) -> dict[str, str]:
        """Of one firing, or of all up to the one that names this path."""
        told: dict[str, str] = {}
        while True:
            told |= cast(dict[str, str], (await self.next()).data["changes"])
            if until is None or until in told:
                return told

    async def end(self) -> None:
        await self.source.stop()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


Watch = Callable[..., Any]


@pytest.fixture
async def inotify() -> AsyncIterator[Inotify]:
    made = Inotify()
    yield made
    made.close()


@pytest.fixture(params=["inotify", "polling"])
def how(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def watch(inotify: Inotify, tmp_path: Path, how: str) -> Watch:
    """Starts one; the state of the same `name` is found again."""

    @asynccontextmanager
    async def start(name: str = "one", path: Path | None = None, **config: Any) -> AsyncIterator[Watched]:
        folder = path or tmp_path / "watched"
        source = FileChange(inotify, SystemClock(), SystemIds())
        given = {"path": os.fspath(folder), "debounce_ms": 100, "watch": how, "poll_seconds": 0.1, **config}
        source.configure(given, folder="/", state=tmp_path / "state" / name)
        watched = Watched(source, folder)
        try:
            async with asyncio.timeout(30):
                await source.watching()
            yield watched
        finally:
            await watched.end()

    return start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "watched"
    made.mkdir()
    return made


Started = Callable[..., Awaitable[Watched]]
