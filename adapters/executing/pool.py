"""Workers that have started before they are asked for, handed out in the order of asking.

Whoever asks for a session keeps the worker until the session is over. A throw-away session gives it back: it is made as
new and handed out again, up to a number of executions. A session with an interpreter or a user of its own gets a worker
that is started for it.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Final, Self

import msgspec
import structlog

from adapters.executing.process import WorkerSettings
from adapters.executing.sources import Starter
from adapters.executing.worker import Conduct, Listener, Worker, WorkerFailed

MISSED_BEATS: Final = 4
"""After so many an idle worker is replaced by another: nobody loses anything by it."""

_log = structlog.get_logger("executing")


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`most`: workers that are idle, starting, or lent to throw-away sessions; those of lasting sessions are theirs.
    `recycle_after`: executions of one worker in throw-away sessions. `starting`: how many start at once."""

    min_idle: int = 2
    most: int = 10
    idle_timeout_s: float = 300.0
    recycle_after: int = 100
    starting: int = 2


class PoolCounts(msgspec.Struct, frozen=True):
    """Now: `idle`, `starting`, `lent` (to throw-away sessions), `waiting`. Since the start: `handed_out`, those who
    `waited` for it, and how long together."""

    idle: int
    starting: int
    lent: int
    waiting: int
    handed_out: int
    waited: int
    waited_s: float


class _Waiting:
    def __init__(self, throwaway: bool, at: float) -> None:
        self.throwaway = throwaway
        self.at = at
        self.worker: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()


class Pool(Starter):
    """`async with Pool(...)`: workers of one `WorkerSettings`, which others of its `kind` can be had for."""

    def __init__(self, worker: WorkerSettings, settings: PoolSettings | None = None) -> None:
        super().__init__()
        self.worker = worker
        self._settings = settings or PoolSettings()
        self._idle: deque[tuple[float, Worker]] = deque()
        """Since when, the one that has waited longest first."""
        self._lent: set[Worker] = set()
        self._waiting: deque[_Waiting] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._broken = False
        self._closing = False
        self._handed_out = self._waited = 0
        self._waited_s = 0.0
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        self._own(self._look_after())
        self._fill()
        return self

    @property
    def idle(self) -> tuple[Worker, ...]:
        return tuple(worker for _, worker in self._idle)

    @property
    def counts(self) -> PoolCounts:
        waiting = len(self._waiting)
        return PoolCounts(
            len(self._idle), self._starting, len(self._lent), waiting, self._handed_out, self._waited, self._waited_s
        )

    # --- asked for and given back ----------------------------------------------------------------------------------

    async def take(
        self, settings: WorkerSettings, listener: Listener, conduct: Conduct, *, throwaway: bool = False
    ) -> Worker:
        if settings.kind != self.worker.kind:
            return await super().take(settings, listener, conduct)
        waiting = _Waiting(throwaway, self._loop.time())
        self._waiting.append(waiting)
        self._broken = False
        self._fill()
        if not waiting.worker.done():
            self._waited += 1
        try:
            worker = await waiting.worker
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        finally:
            self._waited_s += self._loop.time() - waiting.at
        self._handed_out += 1
        worker.follow(listener, conduct, settings)
        return worker

    def _leave(self, waiting: _Waiting) -> None:
        """Whoever waited has gone; what was meant for it is for the next."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif waiting.worker.done() and not waiting.worker.cancelled() and waiting.worker.exception() is None:
            worker = waiting.worker.result()
            self._lent.discard(worker)
            self._keep(worker)

    def give_back(self, worker: Worker) -> None:
        if worker not in self._lent or not self._as_before(worker):
            worker.kill()
            return
        self._own(self._renew(worker))

    def _as_before(self, worker: Worker) -> bool:
        """What was narrowed cannot be widened again."""
        same = worker.settings.limits == self.worker.limits
        return same and worker.idle and worker.executions < self._settings.recycle_after and not self._closing

    async def _renew(self, worker: Worker) -> None:
        try:
            clean = await worker.reset()
        except WorkerFailed:
            clean = False
        self._lent.discard(worker)
        if clean:
            self._keep(worker)
        else:
            worker.kill()
            self._fill()

    # --- kept ------------------------------------------------------------------------------------------------------

    def _keep(self, worker: Worker) -> None:
        if worker.idle and not self._closing:
            self._idle.append((self._loop.time(), worker))
        else:
            worker.kill()
        self._fill()

    def _fill(self) -> None:
        """Hand out what is there, and start what is missing."""
        while self._idle and (waiting := self._next()) is not None:
            _, worker = self._idle.pop()
            if waiting.throwaway:
                self._lent.add(worker)
            waiting.worker.set_result(worker)
        missing = self._settings.min_idle + len(self._waiting) - len(self._idle) - self._starting
        room = self._settings.most - len(self._idle) - self._starting - len(self._lent)
        if any(not waiting.throwaway for waiting in self._waiting):
            # Its worker leaves the pool at once.
            room = max(room, 1 - self._starting)
        for _ in range(min(missing, room, self._settings.starting - self._starting)):
            if self._broken or self._closing:
                return
            self._starting += 1
            self._own(self._start_one())

    def _next(self) -> _Waiting | None:
        """Who gets the next worker: the first, but that lasting sessions do not wait until others give theirs back."""
        for waiting in self._waiting:
            if not waiting.throwaway or len(self._lent) < self._settings.most:
                self._waiting.remove(waiting)
                return waiting
        return None

    async def _start_one(self) -> None:
        try:
            worker = self.start(self.worker)
            try:
                await worker.ready()
            except BaseException:
                worker.kill()
                raise
        except (WorkerFailed, OSError) as error:
            self._starting -= 1
            self._failed(error)
            return
        except BaseException:
            self._starting -= 1
            raise
        self._starting -= 1
        self._keep(worker)

    def _failed(self, error: Exception) -> None:
        """Told to all who wait; not tried again before somebody asks."""
        self._broken = True
        _log.warning("no worker could be started", error=str(error))
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.worker.done():
                waiting.worker.set_exception(WorkerFailed(f"no worker could be started: {error}"))

    def forget(self, worker: Worker) -> None:
        self._lent.discard(worker)
        self._idle = deque(each for each in self._idle if each[1] is not worker)
        if not self._closing:
            self._fill()

    async def _look_after(self) -> None:
        """Workers that are idle for too long, or give no sign of life, go."""
        every_s = min(self.worker.heartbeat_s, self._settings.idle_timeout_s)
        tick = asyncio.Event()
        while True:
            timer = self._loop.call_later(every_s, tick.set)
            try:
                await tick.wait()
            finally:
                timer.cancel()
            tick.clear()
            now = self._loop.time()
            spare = len(self._idle) - self._settings.min_idle
            for at, (since, worker) in enumerate(tuple(self._idle)):
                silent = now - max(since, worker.beat_at) > MISSED_BEATS * self.worker.heartbeat_s
                if silent or (at < spare and now - since > self._settings.idle_timeout_s):
                    self._idle.remove((since, worker))
                    worker.kill()
            self._fill()

    # --- its own tasks ---------------------------------------------------------------------------------------------

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        self._closing = True
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        for waiting in self._waiting:
            if not waiting.worker.done():
                waiting.worker.set_exception(WorkerFailed("the pool is closed"))
        await super().close()
