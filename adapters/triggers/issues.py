"""The built-in issue tracker: tells what happens to the issues in a folder (`issue_files.py` says how they look)."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from adapters.triggers import issue_files
from adapters.triggers.file_change import FileChange
from adapters.triggers.inotify import Inotify
from adapters.triggers.issue_files import ENDINGS, Issue, IssueFault, Known
from adapters.triggers.store import Store, Untold
from handlers.ports import Clock, Ids
from handlers.trigger_ports import Notice

DEBOUNCE_MS: Final = 200

_log = structlog.get_logger("issues")


class IssueDirectory:
    """An `EventSource`. `state`: a folder of its own, which says at the next start what was told before."""

    def __init__(self, folder: Path, *, state: Path, inotify: Inotify, clock: Clock, ids: Ids) -> None:
        self._folder = folder
        self._ids = ids
        self._store = Store(state / "issues")
        self._files = FileChange(inotify, clock, ids)
        config = {"path": str(folder), "patterns": [f"*{ending}" for ending in ENDINGS], "debounce_ms": DEBOUNCE_MS}
        self._files.configure(config, folder=os.sep, state=state / "files")
        self._read: dict[str, tuple[tuple[int, int, int], Issue | None]] = {}
        self._looking: asyncio.Future[Any] | None = None

    @property
    def how(self) -> str:
        return self._files.how

    async def watch(self) -> AsyncGenerator[Notice]:
        untold = await self._run(self._begin)
        changes = self._files.watch()
        hint = asyncio.ensure_future(anext(changes))
        try:
            await asyncio.wait(
                [hint, watching := asyncio.ensure_future(self._files.watching())], return_when="FIRST_COMPLETED"
            )
            watching.cancel()
            while True:
                for each in (*untold, *await self._run(self._look)):
                    yield self._notice(each)
                untold = []
                firing = await hint
                if firing.after is not None:
                    await firing.after({})
                hint = asyncio.ensure_future(anext(changes))
        finally:
            hint.cancel()
            await asyncio.gather(hint, return_exceptions=True)
            await changes.aclose()

    async def stop(self) -> None:
        await self._files.stop()
        if self._looking is not None:
            await asyncio.wait([self._looking])
        self._store.close()

    def _begin(self) -> list[Untold]:
        self._store.open()
        return self._store.untold()

    def _look(self) -> list[Untold]:
        before = {issue_id: msgspec.json.decode(value, type=Known) for issue_id, value in self._store.things().items()}
        now, unread = self._issues()
        # One that cannot be read now stays as it was told.
        known = {each: was for each, was in before.items() if each in now or was.file not in unread}
        kept, told = issue_files.compare(known, now)
        if not kept:
            return []
        things = {issue_id: msgspec.json.encode(known).decode() for issue_id, known in kept.items()}
        return self._store.write(
            things=things, untold=[(self._ids.uuid7(), msgspec.json.encode(each)) for each in told]
        )

    def _issues(self) -> tuple[dict[str, Issue], set[str]]:
        """By id; and files that cannot be read, and were not before."""
        found: dict[str, Issue] = {}
        there: set[str] = set()
        unread: set[str] = set()
        for path in sorted(self._paths()):
            issue = self._issue(path)
            there.add(path.name)
            if issue is None:
                unread.add(path.name)
                continue
            if issue.issue_id in found:
                other = found[issue.issue_id].file
                _log.warning("two files are one issue", issue_id=issue.issue_id, file=other, left_out=path.name)
                continue
            found[issue.issue_id] = issue
        for name in self._read.keys() - there:
            del self._read[name]
        return found, unread

    def _paths(self) -> list[Path]:
        try:
            with os.scandir(self._folder) as entries:
                return [Path(each.path) for each in entries if each.name.endswith(ENDINGS) and each.is_file()]
        except OSError:
            return []

    def _issue(self, path: Path) -> Issue | None:
        seen, before = self._read.get(path.name, ((0, 0, 0), None))
        try:
            status = path.stat()
            now = (status.st_mtime_ns, status.st_ctime_ns, status.st_size)
            if now != seen:
                self._read[path.name] = (now, before)
                before = issue_files.read(path)
                self._read[path.name] = (now, before)
        except (OSError, IssueFault) as error:
            _log.warning("a file is no issue", file=str(path), reason=str(error))
        return before

    def _notice(self, untold: Untold) -> Notice:
        name, data = msgspec.json.decode(untold.payload)

        async def done(_outcome: Mapping[str, Any]) -> None:
            await self._run(lambda: self._store.told(untold.number))

        return Notice(id=untold.id, name=name, data=data, after=done)

    async def _run(self, work: Any) -> Any:
        self._looking = working = asyncio.ensure_future(asyncio.to_thread(work))
        return await asyncio.shield(working)
