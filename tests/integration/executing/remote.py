"""The remote engine for the bench: a whole tower as a child process, one for all tests of a process."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from adapters.cli.child_tower import ChildTower
from adapters.executing.outcomes import Outcome
from adapters.executing.output import Chunk
from adapters.executing.protocol import Checkpoint, OnOutput, OnQuestion, Question, Strategy
from adapters.remote import RemoteEngine, RemoteTower
from tests.needs import need

NODE = "cells"


@contextmanager
def running_tower() -> Iterator[ChildTower]:
    need("tmux")
    with ChildTower(NODE) as tower:
        tower.start()
        yield tower


def emptied_folder(tower: ChildTower) -> Path:
    """Where code runs on that tower: one folder for all tests, one after another."""
    folder = tower.home / "work"
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return folder


class OneSession:
    """An `Engine` whose ids of executions are its own: on a tower they are of all sessions."""

    def __init__(self, tower: RemoteTower, on_output: OnOutput, on_question: OnQuestion) -> None:
        self._tower = tower
        self._theirs: dict[str, str] = {}
        self._ours: dict[str, str] = {}
        self._on_output = on_output
        self._on_question = on_question
        self.inner = RemoteEngine(tower, on_output=self._output, on_question=self._question)

    async def execute(self, code: str, *, execution_id: str | None = None, **options: Any) -> Outcome:
        theirs = self._tower.new_id()
        ours = execution_id or theirs
        self._theirs[ours], self._ours[theirs] = theirs, ours
        outcome = await self.inner.execute(code, execution_id=theirs, **options)
        return msgspec.structs.replace(outcome, execution_id=ours)

    async def cancel(self, execution_id: str, *, scope: Literal["execution", "session"] = "execution") -> bool:
        return await self.inner.cancel(self._theirs.get(execution_id, execution_id), scope=scope)

    async def answer(self, execution_id: str | None, value: str | None) -> None:
        await self.inner.answer(None if execution_id is None else self._theirs[execution_id], value)

    async def checkpoint(self, *, verify: bool = False) -> Checkpoint:
        return await self.inner.checkpoint(verify=verify)

    async def restore(
        self, reference: str, *, strategy: Strategy = "overwrite", clear_existing: bool = False
    ) -> tuple[str, ...]:
        return await self.inner.restore(reference, strategy=strategy, clear_existing=clear_existing)

    async def _output(self, chunk: Chunk) -> None:
        ours = None if chunk.execution_id is None else self._ours[chunk.execution_id]
        await self._on_output(Chunk(chunk.stream, chunk.text, ours))

    async def _question(self, question: Question) -> None:
        ours = self._ours[question.execution_id or ""]
        await self._on_question(msgspec.structs.replace(question, execution_id=ours))


@asynccontextmanager
async def remote_engine(tower: ChildTower, on_output: OnOutput, on_question: OnQuestion) -> AsyncIterator[OneSession]:
    url = (tower.home / "nats.url").read_text().strip()
    async with RemoteTower(url, node=NODE, http_url=tower.running.http) as connection:
        session = OneSession(connection, on_output, on_question)
        async with session.inner:
            yield session
