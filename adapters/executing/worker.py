"""One worker and the execution that runs in it: started, fed, timed, stopped; its end is always told.

The ladder of a cancel: ask the code, by a frame and by SIGINT again and again; after the grace, kill the process.
"""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
import structlog

from adapters.executing.children import Doomed, descendants
from adapters.executing.outcomes import Outcome, State
from adapters.executing.output import Chunk, Policy, Stream
from adapters.executing.process import Ended, Frame, WorkerProcess, WorkerSettings
from adapters.executing.running import Running

INTERRUPT_EVERY_S: Final = 0.05
READY_S: Final = 30.0
WATCH_MEMORY_EVERY_S: Final = 1.0

_log = structlog.get_logger("executing")


class WorkerFailed(Exception):
    """The worker could not do what it was asked (checkpoint, restore), or is gone: says why."""


class Asked(msgspec.Struct, frozen=True):
    """What user code asks from outside: `input_request` or `capability_request`, with the frame's own fields."""

    request_id: str
    execution_id: str | None
    kind: str
    fields: Mapping[str, Any]


class Listener(Protocol):
    """Who follows a worker. Called in order, from one task; may wait, and the worker's output waits with it."""

    async def output(self, chunk: Chunk) -> None: ...

    async def asked(self, asked: Asked) -> None: ...

    async def ended(self, outcome: Outcome) -> None: ...


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """`policy`: of output that nobody takes in time. `grace_s`: between asking to stop and killing."""

    policy: Policy = Policy.BLOCK
    grace_s: float = 0.5


class Worker:
    """One process. `run` owns it until it has ended; `idle` is True when the next execution can begin."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self._listener: Listener | None = None
        self._conduct = Conduct()
        self._stream: Stream[Frame | Ended] = Stream()
        self._numbers = itertools.count(1)
        self._running: Running | None = None
        self._replies: dict[str, asyncio.Future[Frame]] = {}
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Frame] = self._loop.create_future()
        self._stopping: asyncio.Task[None] | None = None
        self._watching: asyncio.TimerHandle | None = None
        self.ended: Ended | None = None
        self.killed = False
        """Whether this side ended it."""
        self.executions = 0
        self.beat_at = self._loop.time()
        self.heartbeat: Frame | None = None
        self._memory_bytes: int | None = None
        self._process = WorkerProcess(settings, self._stream, self._arrived, self._stream.tell)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def idle(self) -> bool:
        return self._running is None and self.ended is None

    async def ready(self) -> Frame:
        """Its first frame: Python's version, what it can do. Raises `WorkerFailed`."""
        try:
            async with asyncio.timeout(READY_S):
                return await asyncio.shield(self._ready)
        except TimeoutError as error:
            raise WorkerFailed(f"it was not ready within {READY_S:g} s") from error

    def follow(self, listener: Listener, conduct: Conduct, settings: WorkerSettings) -> None:
        """Hand it out, before its first execution; `settings` of the same `kind` as those it was started with."""
        self._listener, self._conduct = listener, conduct
        self._stream.use(conduct.policy)
        if settings != self.settings:
            self.settings = settings
            env = None if settings.env is None else self._process.environment(settings)
            self._send("begin", env=env, **settings.config())

    async def run(self) -> None:
        """Tell the listener what comes, until the process has ended. Cancelling kills it."""
        try:
            while self.ended is None:
                for item in await self._stream.take():
                    await self._take(item)
        finally:
            self.kill()
            if self._watching is not None:
                self._watching.cancel()
            if self._stopping is not None:
                self._stopping.cancel()
            await self._process.ended()

    async def _take(self, item: Chunk | Frame | Ended) -> None:
        try:
            if isinstance(item, Chunk):
                if self._listener is not None:
                    await self._listener.output(item)
            elif isinstance(item, Ended):
                await self._gone(item)
            else:
                await self._told(item)
        except Exception:  # noqa: BLE001 (of whoever follows)
            # Its end is told all the same, when the process is gone.
            _log.exception("what a worker told was not taken; it is ended", pid=self.pid)
            self.kill()

    # --- executions ------------------------------------------------------------------------------------------------

    def execute(
        self,
        execution_id: str,
        code: str,
        *,
        timeout_s: float | None = None,
        default_timeout: bool = True,
        transaction: str = "commit_always",
    ) -> None:
        """Begin; one at a time. Without `timeout_s`, a cell that awaits has 30 s unless `default_timeout` is False."""
        assert self.idle, "one execution in flight a worker"
        running = self._running = Running(execution_id, timeout_s, default_timeout, self._late)
        running.children_before = frozenset(descendants(self.pid))
        running.dropped_before = self._stream.dropped
        self.executions += 1
        self._watching = self._loop.call_later(WATCH_MEMORY_EVERY_S, self._watch_memory)
        self._process.attribute(execution_id)
        timed = timeout_s is not None
        self._send("execute", execution_id=execution_id, code=code, transaction=transaction, timed=timed)

    def cancel(self, execution_id: str, *, scope: str = "execution", state: State = State.CANCELLED) -> None:
        """Stop it; its end comes within the grace. Nothing for one that is not running."""
        running = self._running
        if running is None or running.execution_id != execution_id or running.stopping is not None:
            return
        running.stopping = state
        running.stop_clock()
        self._stopping = self._loop.create_task(self._stop(running, scope))

    async def _stop(self, running: Running, scope: str) -> None:
        children = Doomed(descendants(self.pid) - running.children_before)
        try:
            self._send("cancel", execution_id=running.execution_id, scope=scope)
            # Before its children: code that waits for one would be done when that has ended.
            self._process.interrupt()
            children.send(signal.SIGTERM)
            kill_at = self._loop.time() + self._conduct.grace_s
            while not running.over.is_set() and self._loop.time() < kill_at:
                self._process.interrupt()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INTERRUPT_EVERY_S):
                        await running.over.wait()
            if running.over.is_set():
                left_behind = Doomed(running.left_behind)
                try:
                    await left_behind.end(kill_at - self._loop.time())
                finally:
                    left_behind.close()
            else:
                running.killed = True
                self.kill()
        finally:
            children.send(signal.SIGKILL)
            children.close()

    def answer(self, asked: Asked, status: str, **fields: Any) -> None:
        """To `input_request` (status ok, eof, timeout, cancelled; `value`) or `capability_request`."""
        kind = "input_response" if asked.kind == "input_request" else "capability_response"
        running = self._running
        if asked.kind == "input_request" and running is not None and running.execution_id == asked.execution_id:
            running.answered()
        self._send(kind, request_id=asked.request_id, status=status, **fields)

    # --- names -----------------------------------------------------------------------------------------------------

    async def checkpoint(self, path: str, **options: Any) -> Frame:
        """Save the namespace into a file; what was saved and what not. Raises `WorkerFailed`. Between executions."""
        return await self._ask("checkpoint", path=path, **options)

    async def restore(self, path: str, *, strategy: str = "overwrite", clear_existing: bool = False) -> Frame:
        return await self._ask("restore", path=path, strategy=strategy, clear_existing=clear_existing)

    async def probe(self, path: str) -> Frame:
        """Which names of a file of single names do not load here: `failed` [{name, reason}]."""
        return await self._ask("probe", path=path)

    async def reset(self) -> bool:
        """Make it as new, for another session; False when something of the last one is left in it."""
        self._listener = None
        return bool((await self._ask("reset"))["clean"])

    async def shutdown(self) -> None:
        """Ask it to end, kill it after the grace."""
        with contextlib.suppress(TimeoutError, WorkerFailed):
            async with asyncio.timeout(self._conduct.grace_s):
                await self._ask("shutdown")
        self.kill()

    def kill(self) -> None:
        if self.ended is None:
            self.killed = True
            self._process.kill()

    async def _ask(self, kind: str, **fields: Any) -> Frame:
        if self.ended is not None:
            raise WorkerFailed("the worker has ended")
        frame_id = self._send(kind, **fields)
        reply: asyncio.Future[Frame] = self._loop.create_future()
        self._replies[frame_id] = reply
        try:
            frame = await reply
        finally:
            self._replies.pop(frame_id, None)
        if frame["type"] == "failed":
            raise WorkerFailed(frame["message"])
        return frame

    def _send(self, kind: str, **fields: Any) -> str:
        frame_id = f"p{next(self._numbers)}"
        self._process.send(kind, frame_id, **fields)
        return frame_id

    # --- what comes ------------------------------------------------------------------------------------------------

    def _arrived(self, frame: Frame) -> None:
        """At once, before the listener has seen what came earlier: clocks, and whose output comes next."""
        running = self._running
        match frame["type"]:
            case "ready":
                self._ready.set_result(frame)
                return
            case "heartbeat":
                self.beat_at = self._loop.time()
                self.heartbeat = frame
                self._memory_bytes = frame["memory_bytes"]
                return
            case "started" if running is not None:
                running.started(frame)
                return
            case "input_request" if running is not None:
                running.asks()
            case "result" | "error" if running is not None:
                running.stop_clock()
                self._process.attribute(None)
            case _:
                pass
        self._stream.tell(frame)

    def _late(self, execution_id: str) -> None:
        self.cancel(execution_id, state=State.TIMED_OUT)

    def _watch_memory(self) -> None:
        """While code runs that lets no heartbeat through."""
        self._memory_bytes = self._process.memory_bytes or self._memory_bytes
        self._watching = self._loop.call_later(WATCH_MEMORY_EVERY_S, self._watch_memory)

    async def _told(self, frame: Frame) -> None:
        """In order, after the output before it."""
        match frame["type"]:
            case "result" | "error":
                running = self._running
                if running is not None and frame["execution_id"] == running.execution_id:
                    if running.stopping is not None:
                        running.left_behind = frozenset(descendants(self.pid) - running.children_before)
                    loss_fails = self._conduct.policy is Policy.ERROR
                    await self._over_with(running, running.ended_by(frame, self._stream.dropped, loss_fails=loss_fails))
            case "input_request" | "capability_request" as kind:
                fields = {name: value for name, value in frame.items() if name not in ("type", "id", "timestamp")}
                asked = Asked(frame["id"], frame.get("execution_id"), kind, fields)
                if self._listener is None:
                    self.answer(asked, "cancelled", message="the session is over")
                else:
                    await self._listener.asked(asked)
            case _:
                reply = self._replies.get(str(frame.get("frame_id")))
                if reply is not None and not reply.done():
                    reply.set_result(frame)

    async def _over_with(self, running: Running, outcome: Outcome) -> None:
        self._running = None
        running.over.set()
        if self._watching is not None:
            self._watching.cancel()
        if self._listener is not None:
            await self._listener.ended(outcome)

    async def _gone(self, ended: Ended) -> None:
        self.ended = ended
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(WorkerFailed(_death(ended)))
                reply.exception()
        if not self._ready.done():
            self._ready.set_exception(WorkerFailed(f"it ended before it was ready: {_death(ended)}"))
            self._ready.exception()
        running = self._running
        if running is not None:
            running.stop_clock()
            outcome = running.ended_with_worker(
                _death(ended),
                self._stream.dropped,
                exit_code=ended.exit_code,
                number=ended.signal,
                memory_bytes=self._memory_bytes,
            )
            await self._over_with(running, outcome)


def _death(ended: Ended) -> str:
    if ended.signal is not None:
        known = ended.signal in {each.value for each in signal.Signals}
        return f"the worker was ended by {signal.Signals(ended.signal).name if known else f'signal {ended.signal}'}"
    return f"the worker ended with exit code {ended.exit_code}"
