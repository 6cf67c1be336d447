"""A local engine with its output collected, on a real worker."""

from collections.abc import AsyncIterator, Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.executing.local import LocalEngine
from adapters.executing.outcomes import Outcome, State
from adapters.executing.output import Chunk
from adapters.executing.process import WorkerSettings

DEADLINE_S = 60.0


class Bench:
    """`run` executes; `chunks` is what came out, in order; `answers` are given to `input()` one after another."""

    def __init__(self, folder: Path, **options: Any) -> None:
        limits: Mapping[str, int] = options.pop("limits", {})
        self.folder = folder
        self.chunks: list[Chunk] = []
        self.answers: list[str | None] = []
        self.prompts: list[tuple[str, bool]] = []
        self.engine = LocalEngine(
            WorkerSettings(working_dir=str(folder), limits=limits),
            on_output=self._output,
            on_input=self._input,
            **options,
        )

    async def _output(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    async def _input(self, prompt: str, secret: bool) -> str | None:
        self.prompts.append((prompt, secret))
        return self.answers.pop(0) if self.answers else None

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


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    async with bench.engine:
        yield bench


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., Bench]:
    """A bench with other settings; enter its `engine`."""
    return lambda **options: Bench(tmp_path, **options)
