"""`LocalEngine`: the engine in the caller's own process, without a broker; the code runs in a worker all the same.

async with LocalEngine() as engine:
    outcome = await engine.execute("1 + 1")
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from adapters.executing.outcomes import Outcome
from adapters.executing.output import Chunk, Policy
from adapters.executing.process import Frame, WorkerSettings
from adapters.executing.session import Callbacks, Job, Session, WhenBusy
from adapters.executing.worker import Asked

OnOutput = Callable[[Chunk], Awaitable[None]]
OnInput = Callable[[str, bool], Awaitable[str | None]]
"""Prompt, and whether the answer is a secret; the answer, None for the end of input."""

INPUT_S = 300.0


class LocalEngine:
    """One session. `on_input` answers `input()`: without it there is no more input."""

    def __init__(
        self,
        settings: WorkerSettings | None = None,
        *,
        on_output: OnOutput | None = None,
        on_input: OnInput | None = None,
        policy: Policy = Policy.BLOCK,
        grace_s: float = 0.5,
    ) -> None:
        self._on_output = on_output
        self._on_input = on_input
        self._numbers = itertools.count(1)
        callbacks = Callbacks(on_output=self._output, on_asked=self._asked)
        settings = settings or WorkerSettings(working_dir=os.getcwd())
        self.session = Session(settings, callbacks, policy=policy, grace_s=grace_s)
        self._tasks: asyncio.TaskGroup | None = None
        self._running: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._running = self._tasks.create_task(self.session.run())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._tasks is not None
        assert self._running is not None
        for task in (self._running, *self._answering):
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def execute(
        self,
        code: str,
        *,
        execution_id: str | None = None,
        timeout: float | None = None,
        when_busy: WhenBusy = "queue",
        transaction: str = "commit_always",
    ) -> Outcome:
        """Its end, whatever it is. `timeout` in seconds. Raises `WorkerBusy` with `when_busy="reject"`."""
        job = Job(
            execution_id=execution_id or f"local-{next(self._numbers)}",
            code=code,
            timeout_s=timeout,
            transaction=transaction,
        )
        return await self.session.execute(job, when_busy)

    def cancel(self, execution_id: str) -> bool:
        return self.session.cancel(execution_id)

    async def checkpoint(self, path: Path) -> Frame:
        return await self.session.checkpoint(path)

    async def restore(self, path: Path, **options: Any) -> Frame:
        return await self.session.restore(path, **options)

    async def _output(self, chunk: Chunk) -> None:
        if self._on_output is not None:
            await self._on_output(chunk)

    async def _asked(self, asked: Asked) -> None:
        assert self._tasks is not None
        # Beside the worker's output, which goes on while a person thinks.
        task = self._tasks.create_task(self._answer(asked))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, asked: Asked) -> None:
        if asked.kind != "input_request":
            message = f"{asked.fields.get('capability')}: there is no tower here"
            self.session.answer(asked, "denied", message=message)
            return
        if self._on_input is None:
            self.session.answer(asked, "eof")
            return
        status, value = "timeout", None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(asked.fields.get("timeout") or INPUT_S):
                value = await self._on_input(str(asked.fields["prompt"]), bool(asked.fields["secret"]))
                status = "eof" if value is None else "ok"
        self.session.answer(asked, status, value=value)
