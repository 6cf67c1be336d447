"""One worker and the execution that runs in it: started, fed, timed, stopped; its end is always told.

The ladder of a cancel: ask the code, by a frame and by SIGINT again and again; after the grace, kill the process.
"""

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from adapters.executing import outcomes
from adapters.executing.outcomes import Failure, Outcome, State
from adapters.executing.output import Chunk, Policy, Stream
from adapters.executing.process import Ended, Frame, WorkerProcess, WorkerSettings, descendants

ASYNC_TIMEOUT_S: Final = 30.0
"""Of a cell that awaits at top level, when none is given."""

INTERRUPT_EVERY_S: Final = 0.05
READY_S: Final = 30.0


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


class _Running:
    """The execution in flight."""

    def __init__(self, execution_id: str, timeout_s: float | None, default_timeout: bool) -> None:
        self.execution_id = execution_id
        self.timeout_s = timeout_s
        self.default_timeout = default_timeout
        self.mode, self.blocking = "unknown", tuple[str, ...]()
        self.stopping: State | None = None
        self.killed = False
        self.left_s: float | None = None
        self.since = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.asking = 0
        self.children_before: frozenset[int] = frozenset()
        self.dropped_before = 0


class Worker:
    """One process. `run` owns it until it has ended; `idle` is True when the next execution can begin."""

    def __init__(
        self,
        settings: WorkerSettings,
        listener: Listener,
        *,
        policy: Policy = Policy.BLOCK,
        grace_s: float = 0.5,
    ) -> None:
        self._listener = listener
        self._policy = policy
        self._grace_s = grace_s
        self._stream: Stream[Frame | Ended] = Stream(policy)
        self._numbers = itertools.count(1)
        self._running: _Running | None = None
        self._replies: dict[str, asyncio.Future[Frame]] = {}
        self._ready: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._stopping: asyncio.Task[None] | None = None
        self.ended: Ended | None = None
        self.heartbeat: Frame | None = None
        self._process = WorkerProcess(settings, self._stream, self._arrived, self._stream.tell)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def idle(self) -> bool:
        return self._running is None and self.ended is None

    async def ready(self) -> Frame:
        """Its first frame: Python's version, what it can do. Raises `WorkerFailed`."""
        async with asyncio.timeout(READY_S):
            return await asyncio.shield(self._ready)

    async def run(self) -> Ended:
        """Tell the listener what comes, until the process has ended. Cancelling kills it."""
        try:
            while True:
                for item in await self._stream.take():
                    if isinstance(item, Chunk):
                        await self._listener.output(item)
                    elif isinstance(item, Ended):
                        await self._gone(item)
                        return item
                    else:
                        await self._told(item)
        finally:
            self._process.kill()
            if self._stopping is not None:
                self._stopping.cancel()

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
        running = self._running = _Running(execution_id, timeout_s, default_timeout)
        running.children_before = frozenset(descendants(self.pid))
        running.dropped_before = self._stream.dropped
        self._process.attribute(execution_id)
        self._send("execute", execution_id=execution_id, code=code, transaction=transaction)

    def cancel(self, execution_id: str, *, scope: str = "execution", state: State = State.CANCELLED) -> None:
        """Stop it; its end comes within the grace. Nothing for one that is not running."""
        running = self._running
        if running is None or running.execution_id != execution_id or running.stopping is not None:
            return
        running.stopping = state
        if running.timer is not None:
            running.timer.cancel()
        self._stopping = asyncio.get_running_loop().create_task(self._stop(running, scope))

    async def _stop(self, running: _Running, scope: str) -> None:
        children = set(descendants(self.pid)) - running.children_before
        _signal_all(children, signal.SIGTERM)
        self._send("cancel", execution_id=running.execution_id, scope=scope)
        kill_at = asyncio.get_running_loop().time() + self._grace_s
        while self._running is running and asyncio.get_running_loop().time() < kill_at:
            self._process.interrupt()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERRUPT_EVERY_S):
                    await self._over(running)
        _signal_all((children | set(descendants(self.pid))) - running.children_before, signal.SIGKILL)
        if self._running is running:
            running.killed = True
            self._process.kill()

    async def _over(self, running: _Running) -> None:
        while self._running is running:
            waiter = self._replies.setdefault("over", asyncio.get_running_loop().create_future())
            await asyncio.shield(waiter)

    def answer(self, asked: Asked, status: str, **fields: Any) -> None:
        """To `input_request` (status ok, eof, timeout, cancelled; `value`) or `capability_request`."""
        kind = "input_response" if asked.kind == "input_request" else "capability_response"
        running = self._running
        if running is not None and running.execution_id == asked.execution_id and running.asking:
            running.asking -= 1
            if not running.asking:
                self._run_clock(running)
        self._send(kind, request_id=asked.request_id, status=status, **fields)

    # --- names -----------------------------------------------------------------------------------------------------

    async def checkpoint(self, path: str) -> Frame:
        """Save the namespace into a file; what was saved and what not. Raises `WorkerFailed`. Between executions."""
        return await self._ask("checkpoint", path=path)

    async def restore(self, path: str, *, strategy: str = "overwrite", clear_existing: bool = False) -> Frame:
        return await self._ask("restore", path=path, strategy=strategy, clear_existing=clear_existing)

    async def shutdown(self) -> None:
        """Ask it to end, kill it after the grace."""
        self._send("shutdown")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                while self.ended is None:
                    waiter = self._replies.setdefault("end", asyncio.get_running_loop().create_future())
                    await asyncio.shield(waiter)
        self._process.kill()

    def kill(self) -> None:
        self._process.kill()

    async def _ask(self, kind: str, **fields: Any) -> Frame:
        if self.ended is not None:
            raise WorkerFailed("the worker has ended")
        frame_id = self._send(kind, **fields)
        reply: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
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
                self.heartbeat = frame
                return
            case "started" if running is not None:
                running.mode, running.blocking = frame["mode"], tuple(frame["blocking"])
                awaits = running.default_timeout and running.mode == "top_level_await"
                running.left_s = ASYNC_TIMEOUT_S if running.timeout_s is None and awaits else running.timeout_s
                self._run_clock(running)
                return
            case "input_request" if running is not None:
                running.asking += 1
                self._stop_clock(running)
            case "result" | "error" if running is not None:
                self._stop_clock(running)
                self._process.attribute(None)
            case _:
                pass
        self._stream.tell(frame)

    def _run_clock(self, running: _Running) -> None:
        if running.left_s is not None and running.stopping is None:
            running.since = asyncio.get_running_loop().time()
            loop = asyncio.get_running_loop()
            running.timer = loop.call_later(running.left_s, self._late, running.execution_id)

    def _stop_clock(self, running: _Running) -> None:
        if running.timer is not None and running.left_s is not None:
            running.timer.cancel()
            running.timer = None
            running.left_s = max(0.0, running.left_s - (asyncio.get_running_loop().time() - running.since))

    def _late(self, execution_id: str) -> None:
        self.cancel(execution_id, state=State.TIMED_OUT)

    async def _told(self, frame: Frame) -> None:
        """In order, after the output before it."""
        match frame["type"]:
            case "result" | "error":
                await self._ended_with(frame)
            case "input_request" | "capability_request" as kind:
                fields = {name: value for name, value in frame.items() if name not in ("type", "id", "timestamp")}
                await self._listener.asked(Asked(frame["id"], frame.get("execution_id"), kind, fields))
            case _:
                reply = self._replies.get(str(frame.get("frame_id")))
                if reply is not None and not reply.done():
                    reply.set_result(frame)

    async def _ended_with(self, frame: Frame) -> None:
        running = self._running
        if running is None or frame["execution_id"] != running.execution_id:
            return
        more: dict[str, Any] = {
            "mode": running.mode,
            "blocking": running.blocking,
            "dropped_bytes": self._stream.dropped - running.dropped_before,
        }
        if frame["type"] == "result":
            outcome = outcomes.completed(running.execution_id, frame, **more)
        else:
            stopped = running.stopping if frame.get("cancelled") and running.stopping is not None else None
            outcome = outcomes.failed(running.execution_id, frame, stopped or State.FAILED, **more)
        if self._policy is Policy.ERROR and outcome.dropped_bytes and outcome.state is State.COMPLETED:
            lost = Failure(
                exception_type="OutputLost",
                message=f"{outcome.dropped_bytes} bytes of output came faster than they were taken",
                code="output_lost",
            )
            outcome = msgspec.structs.replace(outcome, state=State.FAILED, error=lost)
        await self._over_with(outcome)

    async def _over_with(self, outcome: Outcome) -> None:
        self._running = None
        self._wake("over")
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
        if running is None:
            return
        self._stop_clock(running)
        memory = None if self.heartbeat is None else self.heartbeat.get("memory_bytes")
        stopped = running.stopping if running.killed else None
        failure = Failure(
            exception_type="WorkerDied" if stopped is None else "KeyboardInterrupt",
            message=_death(ended) if stopped is None else "it did not stop by itself and was killed with its worker",
            code="worker_died" if stopped is None else None,
            exit_code=ended.exit_code,
            signal=ended.signal,
            last_memory_bytes=memory,
        )
        await self._over_with(
            Outcome(
                execution_id=running.execution_id,
                state=stopped or State.FAILED,
                mode=running.mode,
                blocking=running.blocking,
                error=failure,
                worker_restarted=True,
                dropped_bytes=self._stream.dropped - running.dropped_before,
            )
        )

    def _wake(self, name: str) -> None:
        waiter = self._replies.pop(name, None)
        if waiter is not None and not waiter.done():
            waiter.set_result({})


def _death(ended: Ended) -> str:
    if ended.signal is not None:
        return f"the worker was ended by {signal.Signals(ended.signal).name}"
    return f"the worker ended with exit code {ended.exit_code}"


def _signal_all(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
