"""Engines with their output collected, on real workers. What is tested on `bench` holds for every engine."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from adapters.cli.child_tower import ChildTower
from adapters.executing.local import LocalEngine
from adapters.executing.outcomes import Outcome, State
from adapters.executing.output import Chunk
from adapters.executing.process import WorkerSettings
from adapters.executing.protocol import Engine, Question
from adapters.executing.worker import Conduct
from tests.integration.executing.remote import emptied_folder, remote_engine, running_tower

MODES = ("local", "remote")
"""The engines that every test of `bench` runs on."""


class Bench:
    """`run` executes; `chunks` is what came out, in order; `answers` are given to questions one after another."""

    def __init__(self, folder: Path, tower: ChildTower | None = None, **options: Any) -> None:
        self.folder = folder if tower is None else emptied_folder(tower)
        self.chunks: list[Chunk] = []
        self.answers: list[str | None] = []
        self.questions: list[Question] = []
        self.on_output: Callable[[Chunk], Awaitable[None]] = self._output
        self.on_question: Callable[[Question], Awaitable[None]] = self._question
        self._context = engine_of(tower, self, **options)
        self.engine: Engine

    async def __aenter__(self) -> Self:
        self.engine = await self._context.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._context.__aexit__(*exc)  # type: ignore[arg-type]

    async def _output(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    async def _question(self, question: Question) -> None:
        self.questions.append(question)
        await self.engine.answer(question.execution_id, self.answers.pop(0) if self.answers else None)

    async def run(self, code: str, **options: Any) -> Outcome:
        return await self.engine.execute(code, **options)

    async def value(self, code: str, **options: Any) -> Any:
        """The value of a cell that must complete."""
        outcome = await self.run(code, **options)
        assert outcome.state is State.COMPLETED, outcome.error
        return None if outcome.value is msgspec.UNSET else outcome.value

    async def fails(self, code: str, **options: Any) -> str:
        """The type of the exception that a cell ends with."""
        outcome = await self.run(code, **options)
        assert outcome.state is State.FAILED, outcome
        assert outcome.error is not None
        return outcome.error.exception_type

    def told(self) -> list[tuple[str, str | None]]:
        """What came out, by whose it was told to be, in order."""
        groups = groupby(self.chunks, key=lambda chunk: chunk.execution_id)
        return [("".join(chunk.text for chunk in chunks), execution_id) for execution_id, chunks in groups]

    def text(self, stream: str = "stdout") -> str:
        """All that came out of one stream so far."""
        return "".join(chunk.text for chunk in self.chunks if chunk.stream == stream)


def engine_of(tower: ChildTower | None, bench: Bench, **options: Any) -> AbstractAsyncContextManager[Engine]:
    """`options`: fields of `WorkerSettings` and `Conduct`; a tower has its own."""

    async def output(chunk: Chunk) -> None:
        await bench.on_output(chunk)

    async def question(asked: Question) -> None:
        await bench.on_question(asked)

    if tower is not None:
        assert not options, "take make_local_bench"
        return remote_engine(tower, output, question)
    conduct = Conduct(**{name: options.pop(name) for name in ("policy", "grace_s") if name in options})
    settings = WorkerSettings(working_dir=str(bench.folder), **options)
    return LocalEngine(settings, on_output=output, on_question=question, conduct=conduct)


@pytest.fixture(scope="session")
def tower() -> Iterator[ChildTower]:
    with running_tower() as tower:
        yield tower


@pytest.fixture(params=MODES)
def make_bench(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Bench]:
    """A bench, to be entered."""
    tower = None if request.param == "local" else request.getfixturevalue("tower")
    return lambda: Bench(tmp_path, tower)


@pytest.fixture
def make_local_bench(tmp_path: Path) -> Callable[..., Bench]:
    """For what only a caller sees that has the worker beneath it."""
    return lambda **options: Bench(tmp_path, **options)


@pytest.fixture
async def bench(make_bench: Callable[[], Bench]) -> AsyncIterator[Bench]:
    async with make_bench() as bench:
        yield bench


@pytest.fixture
async def local_bench(make_local_bench: Callable[..., Bench]) -> AsyncIterator[Bench]:
    async with make_local_bench() as bench:
        yield bench
