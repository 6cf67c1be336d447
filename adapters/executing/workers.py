"""The tower's workers: one process a session, from the pool, for as long as the session lives. The `Workers` port."""

import asyncio
from pathlib import Path
from typing import Any

import structlog

from adapters.executing.output import Chunk
from adapters.executing.pool import Pool, PoolCounts, PoolSettings
from adapters.executing.process import Frame, WorkerSettings
from adapters.executing.session import Callbacks, Session
from adapters.executing.session import Job as SessionJob
from adapters.executing.sources import Source
from adapters.executing.worker import Asked, Conduct, Listener, Worker, WorkerFailed
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

_log = structlog.get_logger("executing")


class SessionWorkers:
    """`run` owns the processes until it is cancelled. `conduct`: of every session."""

    def __init__(
        self, settings: WorkerSettings, *, pool: PoolSettings | None = None, conduct: Conduct | None = None
    ) -> None:
        self._settings = settings
        self._conduct = conduct
        self._pool_settings = pool
        self._pool: Pool | None = None
        self._group: asyncio.TaskGroup | None = None
        self._places: dict[str, _Place] = {}
        self._running = asyncio.Event()

    @property
    def counts(self) -> PoolCounts | None:
        """Of the pool; None before the start."""
        return None if self._pool is None else self._pool.counts

    @property
    def sessions(self) -> int:
        """Sessions that have a worker, or wait for one."""
        return len(self._places)

    def of(self, session_id: str) -> "_Place":
        return self._places[session_id]

    async def open(self, session_id: str, listener: SessionListener, *, throwaway: bool) -> None:
        if session_id in self._places:
            return
        await self._running.wait()
        assert self._group is not None
        assert self._pool is not None
        place = _Place(self._settings, self._pool, listener, throwaway=throwaway, conduct=self._conduct)
        self._places[session_id] = place
        await place.start(self._group)

    async def close(self, session_id: str) -> None:
        place = self._places.pop(session_id, None)
        if place is not None:
            await place.stop()

    async def take(
        self, settings: WorkerSettings, listener: Listener, conduct: Conduct, *, throwaway: bool = False
    ) -> Worker:
        """The `Source` protocol: a worker of the pool for a session that somebody else keeps."""
        await self._running.wait()
        assert self._pool is not None
        return await self._pool.take(settings, listener, conduct, throwaway=throwaway)

    def give_back(self, worker: Worker) -> None:
        assert self._pool is not None
        self._pool.give_back(worker)

    async def run(self) -> None:
        async with Pool(self._settings, self._pool_settings) as pool, asyncio.TaskGroup() as group:
            self._pool, self._group = pool, group
            self._running.set()
            await asyncio.Event().wait()


class _Place:
    """The `WorkerSession` port on a session of this process."""

    def __init__(
        self,
        settings: WorkerSettings,
        workers: Source,
        listener: SessionListener,
        *,
        throwaway: bool,
        conduct: Conduct | None,
    ) -> None:
        self._listener = listener
        callbacks = Callbacks(on_output=self._output, on_asked=self._asked, starts_with=listener.starts_with)
        self._session = Session(settings, callbacks, workers, conduct=conduct, throwaway=throwaway)
        self._task: asyncio.Task[None] | None = None

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Until it has a worker; what keeps it from one is told by the next execution."""
        self._task = group.create_task(self._session.run())
        try:
            await self._session.start()
        except WorkerFailed as error:
            _log.warning("a session has no worker yet", reason=str(error))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

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
