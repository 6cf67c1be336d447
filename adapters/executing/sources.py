"""Where sessions get their workers from, and the simplest source: a process is started for each who asks."""

import asyncio
from typing import Protocol, Self

import structlog

from adapters.executing.process import WorkerSettings
from adapters.executing.worker import Conduct, Listener, Worker, WorkerFailed

_log = structlog.get_logger("executing")


class Source(Protocol):
    """Where a session gets its workers from."""

    async def take(
        self, settings: WorkerSettings, listener: Listener, conduct: Conduct, *, throwaway: bool = False
    ) -> Worker:
        """One that is ready, with no names of anybody's. Raises `WorkerFailed`."""
        ...

    def give_back(self, worker: Worker) -> None:
        """Of a throw-away session that is over; any other worker is killed by whoever took it."""
        ...


class Starter:
    """Starts a worker for each who asks. Owns them: `close` ends those that are left, and waits."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], Worker] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def start(self, settings: WorkerSettings) -> Worker:
        """One that is not ready yet. Raises `OSError` when there is no such interpreter."""
        worker = Worker(settings)
        task = asyncio.get_running_loop().create_task(worker.run())
        self._tasks[task] = worker
        task.add_done_callback(self._ended)
        return worker

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.forget(self._tasks.pop(task))
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a worker was left alone", error=repr(error))

    def forget(self, worker: Worker) -> None:
        """It has ended."""

    async def take(
        self, settings: WorkerSettings, listener: Listener, conduct: Conduct, *, throwaway: bool = False
    ) -> Worker:
        try:
            worker = self.start(settings)
        except OSError as error:
            raise WorkerFailed(f"it could not be started: {error}") from error
        worker.follow(listener, conduct, settings)
        try:
            await worker.ready()
        except BaseException:
            worker.kill()
            raise
        return worker

    def give_back(self, worker: Worker) -> None:
        worker.kill()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
