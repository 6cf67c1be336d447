"""The tower's workers: one process a session, for as long as the session lives.

The `Workers` port. Throw-away sessions take turns: at most `at_once` of them have a worker, the others wait in order.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from adapters.executing.output import Chunk
from adapters.executing.pool import Pool
from adapters.executing.process import Frame, WorkerSettings
from adapters.executing.session import Callbacks, Session
from adapters.executing.session import Job as SessionJob
from adapters.executing.sources import Source
from adapters.executing.worker import Asked, WorkerFailed
from handlers.execution_ports import (
    AnswerStatus,
    Job,
    NamesError,
    Outcome,
    Question,
    Restored,
    Saved,
    SessionListener,
)

AT_ONCE: Final = 10
"""Throw-away sessions with a worker."""

_log = structlog.get_logger("executing")


class SessionWorkers:
    """`run` owns the processes until it is cancelled. `settings`: of the worker of a session, by its id."""

    def __init__(self, settings: Callable[[str], WorkerSettings], *, at_once: int = AT_ONCE) -> None:
        self._settings = settings
        self._pool: Pool | None = None
        self._turns = asyncio.Semaphore(at_once)
        self._seats: dict[str, _Place] = {}
        self._group: asyncio.TaskGroup | None = None

    def of(self, session_id: str) -> "_Place":
        return self._seats[session_id]

    async def open(self, session_id: str, listener: SessionListener, *, throwaway: bool) -> None:
        if session_id in self._seats:
            return
        if throwaway:
            await self._turns.acquire()
        assert self._group is not None
        assert self._pool is not None
        place = _Place(self._settings(session_id), listener, self._pool, throwaway=throwaway)
        self._seats[session_id] = place
        place.start(self._group)

    async def close(self, session_id: str) -> None:
        place = self._seats.pop(session_id, None)
        if place is None:
            return
        await place.stop()
        if place.throwaway:
            self._turns.release()

    async def run(self) -> None:
        async with Pool(self._settings("")) as pool, asyncio.TaskGroup() as group:
            self._group, self._pool = group, pool
            await asyncio.Event().wait()


class _Place:
    """The `WorkerSession` port on a session of this process."""

    def __init__(
        self, settings: WorkerSettings, listener: SessionListener, workers: Source, *, throwaway: bool
    ) -> None:
        self.throwaway = throwaway
        self._listener = listener
        callbacks = Callbacks(on_output=self._output, on_asked=self._asked, starts_with=listener.starts_with)
        self._session = Session(settings, callbacks, workers, throwaway=throwaway)
        self._task: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        self._task = group.create_task(self._session.run())
        self._warming = group.create_task(self._warm())

    async def _warm(self) -> None:
        try:
            await self._session.start()
        except (WorkerFailed, OSError, TimeoutError) as error:
            _log.warning("a worker is not ready; the next execution tries again", reason=str(error))

    async def stop(self) -> None:
        for task in (self._warming, self._task):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task])

    # --- the port --------------------------------------------------------------------------------------------------

    async def execute(self, job: Job) -> Outcome:
        wanted = SessionJob(
            execution_id=job.execution_id, code=job.code, timeout_s=job.timeout_s, transaction=job.transaction
        )
        return await self._session.execute(wanted)

    def cancel(self, execution_id: str, scope: str) -> None:
        self._session.cancel(execution_id, scope)

    def answer(self, question: Question, status: AnswerStatus, *, value: Any = None, message: str = "") -> None:
        asked = Asked(question.request_id, question.execution_id, question.kind, question.fields)
        self._session.answer(asked, status, value=value, message=message)

    async def checkpoint(self, path: str, *, verify: bool = False) -> Saved:
        try:
            frame = await self._session.save(Path(path), verify=verify)
        except WorkerFailed as error:
            raise NamesError(str(error)) from error
        return Saved(
            names=tuple(frame["names"]),
            skipped=_skipped(frame),
            function_count=frame["function_count"],
            class_count=frame["class_count"],
        )

    async def restore(self, path: str, *, strategy: str, clear_existing: bool) -> Restored:
        try:
            frame = await self._session.restore(Path(path), strategy=strategy, clear_existing=clear_existing)
        except WorkerFailed as error:
            raise NamesError(str(error)) from error
        return Restored(names=tuple(frame["names"]), skipped=_skipped(frame))

    # --- what the worker says --------------------------------------------------------------------------------------

    async def _output(self, chunk: Chunk) -> None:
        await self._listener.output(chunk.execution_id, chunk.stream, chunk.text)

    async def _asked(self, asked: Asked) -> None:
        question = Question(
            request_id=asked.request_id, execution_id=asked.execution_id, kind=asked.kind, fields=asked.fields
        )
        await self._listener.asked(question)


def _skipped(frame: Frame) -> tuple[tuple[str, str], ...]:
    return tuple((str(each["name"]), str(each["reason"])) for each in frame.get("skipped", ()))
