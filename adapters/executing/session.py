"""A session: a namespace that lives on, one execution after another, in a worker that is replaced when it dies.

A new worker gets the names of the last checkpoint. One that dies again and again is given up for a while.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from adapters.executing.outcomes import Failure, Outcome, State
from adapters.executing.output import Chunk
from adapters.executing.process import Frame, WorkerSettings
from adapters.executing.protocol import WhenBusy, WorkerBusy
from adapters.executing.sources import Source
from adapters.executing.verifying import verified
from adapters.executing.worker import Asked, Conduct, Worker, WorkerFailed

RESTARTS: Final = 3
RESTARTS_WITHIN_S: Final = 60.0
QUEUED: Final = 1_000
"""Executions that may wait in one session."""

_log = structlog.get_logger("executing")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One execution that was asked for. Without `timeout_s`, a cell that awaits has 30 s unless
    `default_timeout` is off."""

    execution_id: str
    code: str
    timeout_s: float | None = None
    default_timeout: bool = True
    transaction: str = "commit_always"


class Callbacks(msgspec.Struct, frozen=True, kw_only=True):
    """Who follows a session; each may wait, and holds the worker's output up meanwhile."""

    on_output: Callable[[Chunk], Awaitable[None]]
    on_asked: Callable[[Asked], Awaitable[None]]
    starts_with: Callable[[], str | None] = lambda: None
    """The file whose names a new worker gets; None: of the last checkpoint here."""


class Session:
    """`run` owns the queue until cancelled; `execute` may be called from any task of the loop. Its workers are those of
    `workers`; that of a throw-away session is given back to them."""

    def __init__(
        self,
        settings: WorkerSettings,
        callbacks: Callbacks,
        workers: Source,
        *,
        conduct: Conduct | None = None,
        throwaway: bool = False,
    ) -> None:
        self._settings = settings
        self._callbacks = callbacks
        self._workers = workers
        self._conduct = conduct or Conduct()
        self._throwaway = throwaway
        self._worker: Worker | None = None
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._outcomes: dict[str, asyncio.Future[Outcome]] = {}
        self._changed = asyncio.Event()
        self._deaths: deque[float] = deque(maxlen=RESTARTS + 1)
        self._checkpoint: Path | None = None
        self._names = asyncio.Lock()

    # --- executions ------------------------------------------------------------------------------------------------

    def submit(self, job: Job, when_busy: WhenBusy = "queue") -> asyncio.Future[Outcome]:
        """The future of its one end. Raises `WorkerBusy`."""
        busy = self._current is not None or bool(self._waiting)
        if busy and (when_busy == "reject" or len(self._waiting) >= QUEUED):
            raise WorkerBusy("an execution is running" if when_busy == "reject" else f"{QUEUED} executions wait")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._outcomes[job.execution_id] = future
        worker = self._worker
        if busy or worker is None or worker.ended is not None or self._names.locked():
            self._waiting.append(job)
            self._changed.set()
        else:
            self._begin(worker, job)
        return future

    async def execute(self, job: Job, when_busy: WhenBusy = "queue") -> Outcome:
        """As `submit`; a caller that goes away cancels nothing."""
        return await asyncio.shield(self.submit(job, when_busy))

    def cancel(self, execution_id: str, scope: str = "execution") -> bool:
        """Stop it, or take it out of the queue; False for one that is over or unknown."""
        for job in self._waiting:
            if job.execution_id == execution_id:
                self._waiting.remove(job)
                self._over(Outcome(execution_id=execution_id, state=State.CANCELLED))
                return True
        if self._current is None or self._current.execution_id != execution_id or self._worker is None:
            return False
        self._worker.cancel(execution_id, scope=scope)
        return True

    def answer(self, asked: Asked, status: str, **fields: object) -> None:
        if self._worker is not None:
            self._worker.answer(asked, status, **fields)

    async def run(self) -> None:
        try:
            while True:
                while self._current is not None or not self._waiting:
                    self._changed.clear()
                    await self._changed.wait()
                await self._next()
        finally:
            await self._close()

    async def _next(self) -> None:
        try:
            async with self._names:
                worker = await self._living()
        except WorkerFailed as error:
            if self._waiting:
                job = self._waiting.popleft()
                failure = Failure(exception_type="WorkerFailed", message=str(error), code=self._why())
                self._over(Outcome(execution_id=job.execution_id, state=State.FAILED, error=failure))
            return
        if self._waiting:
            self._begin(worker, self._waiting.popleft())

    def _begin(self, worker: Worker, job: Job) -> None:
        self._current = job
        worker.execute(
            job.execution_id,
            job.code,
            timeout_s=job.timeout_s,
            default_timeout=job.default_timeout,
            transaction=job.transaction,
        )

    def _over(self, outcome: Outcome) -> None:
        future = self._outcomes.pop(outcome.execution_id, None)
        if self._current is not None and self._current.execution_id == outcome.execution_id:
            self._current = None
            if self._waiting:
                self._changed.set()
        if future is not None and not future.done():
            future.set_result(outcome)

    # --- what the worker tells -------------------------------------------------------------------------------------

    async def output(self, chunk: Chunk) -> None:
        await self._callbacks.on_output(chunk)

    async def asked(self, asked: Asked) -> None:
        await self._callbacks.on_asked(asked)

    async def ended(self, outcome: Outcome) -> None:
        self._over(outcome)

    # --- the worker ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Have a worker before the first execution. Raises `WorkerFailed`."""
        async with self._names:
            await self._living()

    async def _living(self) -> Worker:
        if self._worker is not None:
            if self._worker.ended is None:
                return self._worker
            if not self._worker.killed:
                self._deaths.append(asyncio.get_running_loop().time())
            self._worker = None
        if self._crash_loop():
            raise WorkerFailed(f"its worker died {RESTARTS + 1} times within {RESTARTS_WITHIN_S:g} s")
        worker = await self._workers.take(self._settings, self, self._conduct, throwaway=self._throwaway)
        names = self._callbacks.starts_with() or self._checkpoint
        if names is not None:
            try:
                restored = await worker.restore(str(names))
                _log.info("names restored after the worker's end", names=len(restored["names"]))
            except WorkerFailed as error:
                _log.warning("the last checkpoint could not be restored", error=str(error))
            except BaseException:
                # Whoever waited has gone: a worker with half of somebody's names is nobody's.
                worker.kill()
                raise
        self._worker = worker
        return worker

    def _crash_loop(self) -> bool:
        recent = [at for at in self._deaths if at > asyncio.get_running_loop().time() - RESTARTS_WITHIN_S]
        return len(recent) > RESTARTS

    def _why(self) -> str:
        return "worker_crash_loop" if self._crash_loop() else "worker_died"

    async def checkpoint(self, path: Path, *, verify: bool = False) -> Frame:
        """Save the names; the next worker starts with them. With `verify`, only what a fresh process can load counts
        as saved. Raises `WorkerFailed`. Not while an execution runs."""
        saved = await self.save(path, verify=verify)
        self._checkpoint = path
        return saved

    async def save(self, path: Path, *, verify: bool = False) -> Frame:
        """As `checkpoint`, for somebody else: the next worker does not start with them by itself."""
        async with self._names:
            worker = await self._living()
            return await (verified(worker, path, self._workers) if verify else worker.checkpoint(str(path)))

    async def restore(self, path: Path, *, strategy: str = "overwrite", clear_existing: bool = False) -> Frame:
        async with self._names:
            worker = await self._living()
            return await worker.restore(str(path), strategy=strategy, clear_existing=clear_existing)

    async def _close(self) -> None:
        while self._waiting:
            self._over(Outcome(execution_id=self._waiting[0].execution_id, state=State.CANCELLED))
            self._waiting.popleft()
        worker, self._worker = self._worker, None
        if worker is not None and self._throwaway:
            self._workers.give_back(worker)
        elif worker is not None:
            worker.kill()
