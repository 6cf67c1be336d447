"""`LocalEngine`: the engine in the caller's own process, without a broker; the code runs in a worker all the same.

async with LocalEngine() as engine:
    outcome = await engine.execute("1 + 1")
"""

import asyncio
import contextlib
import itertools
import os
import tempfile
from collections import defaultdict, deque
from pathlib import Path
from typing import Literal, NamedTuple, Self

from adapters.executing.outcomes import Outcome
from adapters.executing.output import Chunk
from adapters.executing.process import WorkerSettings
from adapters.executing.protocol import (
    INPUT_S,
    Checkpoint,
    NotAsking,
    OnOutput,
    OnQuestion,
    Question,
    Strategy,
    Transaction,
    WhenBusy,
)
from adapters.executing.session import Callbacks, Job, Session
from adapters.executing.sources import Source, Starter
from adapters.executing.worker import Asked, Conduct


class _Open(NamedTuple):
    """A question that waits for its answer, and the end of its time."""

    asked: Asked
    timer: asyncio.TimerHandle


class LocalEngine:
    """One session, see `protocol.Engine`. Without `on_question` there is no more input. `workers`: a pool that others
    use too; without one, its worker is started at the first execution."""

    def __init__(
        self,
        settings: WorkerSettings | None = None,
        *,
        on_output: OnOutput | None = None,
        on_question: OnQuestion | None = None,
        conduct: Conduct | None = None,
        workers: Source | None = None,
        throwaway: bool = False,
    ) -> None:
        self._on_output = on_output
        self._on_question = on_question
        self._numbers = itertools.count(1)
        self._starter = Starter()
        self.session = Session(
            settings or WorkerSettings(working_dir=os.getcwd()),
            Callbacks(on_output=self._output, on_asked=self._asked),
            workers or self._starter,
            conduct=conduct,
            throwaway=throwaway,
        )
        self._running: asyncio.Task[None] | None = None
        self._open: deque[_Open] = deque()
        self._questions: defaultdict[str | None, int] = defaultdict(int)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.session.run())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._running is not None
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        while self._open:
            self._open.popleft().timer.cancel()
        await self._starter.close()
        if self._folder is not None:
            await asyncio.to_thread(self._folder.cleanup)

    async def execute(
        self,
        code: str,
        *,
        execution_id: str | None = None,
        timeout: float | None = None,
        when_busy: WhenBusy = "queue",
        transaction: Transaction = "commit_always",
    ) -> Outcome:
        job = Job(
            execution_id=execution_id or f"local-{next(self._numbers)}",
            code=code,
            timeout_s=timeout,
            transaction=transaction,
        )
        end = self.session.submit(job, when_busy)
        end.add_done_callback(lambda _: self._forget(job.execution_id))
        return await asyncio.shield(end)

    async def cancel(self, execution_id: str, *, scope: Literal["execution", "session"] = "execution") -> bool:
        return self.session.cancel(execution_id, scope)

    # --- questions -------------------------------------------------------------------------------------------------

    async def answer(self, execution_id: str | None, value: str | None) -> None:
        for each in self._open:
            if each.asked.execution_id == execution_id:
                self._close(each, "eof" if value is None else "ok", value)
                return
        raise NotAsking(f"the execution {execution_id} asks nothing")

    def _forget(self, execution_id: str) -> None:
        """It is over: nothing that it asked is open."""
        self._questions.pop(execution_id, None)
        for each in [each for each in self._open if each.asked.execution_id == execution_id]:
            each.timer.cancel()
            self._open.remove(each)

    def _close(self, question: _Open, status: str, value: str | None = None) -> None:
        question.timer.cancel()
        self._open.remove(question)
        self.session.answer(question.asked, status, value=value)

    async def _asked(self, asked: Asked) -> None:
        if asked.kind != "input_request":
            message = f"{asked.fields.get('capability')}: there is no tower here"
            self.session.answer(asked, "denied", message=message)
            return
        if self._on_question is None:
            self.session.answer(asked, "eof")
            return
        self._expire_at(asked)
        self._questions[asked.execution_id] += 1
        choices = asked.fields.get("choices")
        await self._on_question(
            Question(
                execution_id=asked.execution_id,
                n=self._questions[asked.execution_id],
                prompt=str(asked.fields["prompt"]),
                secret=bool(asked.fields["secret"]),
                choices=None if choices is None else tuple(map(str, choices)),
            )
        )

    def _expire_at(self, asked: Asked) -> None:
        timeout_s = asked.fields.get("timeout")
        expire = lambda: self._close(question, "timeout")  # noqa: E731 (the timer and its question know each other)
        timer = asyncio.get_running_loop().call_later(INPUT_S if timeout_s is None else timeout_s, expire)
        question = _Open(asked, timer)
        self._open.append(question)

    async def _output(self, chunk: Chunk) -> None:
        if self._on_output is not None:
            await self._on_output(chunk)

    # --- names -----------------------------------------------------------------------------------------------------

    async def checkpoint(self, *, verify: bool = False) -> Checkpoint:
        if self._folder is None:
            self._folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="agenttower-")
        path = Path(self._folder.name) / f"{next(self._numbers)}"
        saved = await self.session.checkpoint(path, verify=verify)
        return Checkpoint(
            reference=str(path),
            digest=saved["digest"],
            names=tuple(saved["names"]),
            unsaved={each["name"]: each["reason"] for each in saved["skipped"]},
            function_count=saved["function_count"],
            class_count=saved["class_count"],
            checkpoint_size=saved["checkpoint_size"],
        )

    async def restore(
        self, reference: str, *, strategy: Strategy = "overwrite", clear_existing: bool = False
    ) -> tuple[str, ...]:
        restored = await self.session.restore(Path(reference), strategy=strategy, clear_existing=clear_existing)
        return tuple(restored["names"])
