"""Workers, the stream of output and the folder of large values, as a world has them.

Code is one word: `value`, `prints`, `fails`, `dies`, `asks`, `loops` (until it is stopped or late), `large`.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Any

from domain.executions.events import ExecutionState
from domain.promises import VALUE_BYTES
from domain.tower import Tower
from handlers.execution_ports import (
    Allowed,
    AnswerStatus,
    Failure,
    Fetched,
    Job,
    MachineError,
    Outcome,
    OutputError,
    Question,
    Ran,
    Restored,
    Saved,
    SessionListener,
    State,
    StreamName,
    Written,
)
from tests.simulation.loop import pause
from tests.simulation.wire import Wire

CODES = ("value", "value", "value", "prints", "fails", "dies", "asks", "asks", "loops", "large")
LONGEST_S = 3.0
RETRY_S = 0.5


class Runs:
    """What ran, in all towers of a world. `expect(holds, what)` reports what must not be."""

    def __init__(self, random: Random, tower: Callable[[], Tower], expect: Callable[[bool, str], None]) -> None:
        self.random = random
        self._tower = tower
        self._expect = expect
        self._begun: Counter[tuple[str, int]] = Counter()

    def begins(self, job: Job) -> None:
        """Code runs only by the log's leave, and once an attempt."""
        execution = self._tower().executions.open.get(job.execution_id)
        allowed = execution is not None and execution.state is ExecutionState.RUNNING
        self._expect(
            allowed and execution is not None and execution.attempt == job.attempt,
            f"execution {job.execution_id} runs as attempt {job.attempt}, and the log says {execution}",
        )
        self._begun[job.execution_id, job.attempt] += 1
        times = self._begun[job.execution_id, job.attempt]
        self._expect(times == 1, f"attempt {job.attempt} of execution {job.execution_id} runs {times} times")
        before = sum(count for (each, _), count in self._begun.items() if each == job.execution_id) - 1
        policy = None if execution is None else execution.retry
        again = policy is not None and (policy.safe or policy.max_attempts is not None)
        self._expect(not before or again, f"execution {job.execution_id} runs again, and nobody said that it may")


class SimulatedWorkers:
    """The `Workers` port of one tower's process."""

    def __init__(self, runs: Runs, wire: Wire) -> None:
        self._runs = runs
        self._wire = wire
        self._sessions: dict[str, SimulatedSession] = {}

    def of(self, session_id: str) -> "SimulatedSession":
        return self._sessions[session_id]

    async def open(self, session_id: str, listener: SessionListener, *, throwaway: bool) -> None:
        await pause(self._runs.random.uniform(0, 0.2))
        self._sessions.setdefault(session_id, SimulatedSession(self._runs, self._wire, listener))

    async def close(self, session_id: str) -> None:
        await pause(self._runs.random.uniform(0, 0.1))
        del self._sessions[session_id]


class SimulatedSession:
    """The `WorkerSession` port."""

    def __init__(self, runs: Runs, wire: Wire, listener: SessionListener) -> None:
        self._runs = runs
        self._wire = wire
        self._listener = listener
        self._busy = False
        self._stopped = asyncio.Event()
        self._answered: asyncio.Future[tuple[AnswerStatus, Any]] | None = None

    async def execute(self, job: Job) -> Outcome:
        # A killed process starts nothing.
        if not self._wire.process.alive:
            raise asyncio.CancelledError
        assert not self._busy, "one execution in flight a worker"
        self._busy = True
        self._stopped.clear()
        self._runs.begins(job)
        self._wire.faults.trace.add(self._wire.process.name, f"runs {job.code} as attempt {job.attempt}")
        try:
            return await self._run(job)
        finally:
            self._busy = False

    async def _run(self, job: Job) -> Outcome:
        execution_id, code = job.execution_id, job.code
        await pause(self._runs.random.uniform(0, LONGEST_S))
        match code:
            case "prints":
                await self._listener.output(execution_id, "stdout", "printed\n")
            case "fails":
                failure = Failure(exception_type="ValueError", message="as asked")
                return Outcome(execution_id=execution_id, state=State.FAILED, error=failure)
            case "dies":
                failure = Failure(exception_type="WorkerDied", message="as asked", code="worker_died", signal=9)
                return Outcome(execution_id=execution_id, state=State.FAILED, error=failure, worker_restarted=True)
            case "asks":
                return await self._ask(execution_id)
            case "loops":
                return await self._loop(execution_id, job.timeout_s or LONGEST_S)
            case "large":
                return Outcome(execution_id=execution_id, state=State.COMPLETED, value="x" * VALUE_BYTES, repr="x")
            case _:
                pass
        return Outcome(execution_id=execution_id, state=State.COMPLETED, value=1, repr="1")

    async def _ask(self, execution_id: str) -> Outcome:
        self._answered = asyncio.get_running_loop().create_future()
        fields = {"prompt": "?", "timeout": 5.0}
        question = Question(request_id="q", execution_id=execution_id, kind="input_request", fields=fields)
        await self._listener.asked(question)
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([stopped, self._answered], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self._stopped.is_set():
            return Outcome(execution_id=execution_id, state=State.CANCELLED)
        status, value = self._answered.result()
        if status == "ok":
            return Outcome(execution_id=execution_id, state=State.COMPLETED, value=value, repr=repr(value))
        failure = Failure(exception_type={"timeout": "TimeoutError", "eof": "EOFError"}[status], message="")
        return Outcome(execution_id=execution_id, state=State.FAILED, error=failure)

    async def _loop(self, execution_id: str, timeout_s: float) -> Outcome:
        try:
            async with asyncio.timeout(timeout_s):
                await self._stopped.wait()
        except TimeoutError:
            return Outcome(execution_id=execution_id, state=State.TIMED_OUT)
        return Outcome(execution_id=execution_id, state=State.CANCELLED)

    def cancel(self, execution_id: str, scope: str) -> None:
        self._stopped.set()

    def answer(self, question: Question, status: AnswerStatus, *, value: Any = None, message: str = "") -> None:
        if status != "cancelled" and self._answered is not None and not self._answered.done():
            self._answered.set_result((status, value))

    async def checkpoint(self, path: str, *, verify: bool = False) -> Saved:
        return Saved(names=())

    async def restore(self, path: str, *, strategy: str, clear_existing: bool) -> Restored:
        return Restored(names=())


class SimulatedOutput:
    """The `OutputLog` port."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._written: Counter[tuple[str, int]] = Counter()

    async def write(self, execution_id: str, attempt: int, stream: StreamName, text: str) -> None:
        self._written[execution_id, attempt] += len(text)

    async def finish(self, execution_id: str, attempt: int) -> Written:
        written = self._written[execution_id, attempt]
        told = Written(position=1, written_bytes=written)
        while True:
            try:
                return await self._wire.call("output.finish", lambda: told, OutputError, detail=execution_id)
            except OutputError:
                await pause(RETRY_S)


class SimulatedBlobs:
    """The `Blobs` port on the tower's disk."""

    def __init__(self, files: dict[str, bytes], wire: Wire) -> None:
        self._files = files
        self._wire = wire

    async def put(self, data: bytes) -> str:
        digest = hashlib.blake2b(data, digest_size=32).hexdigest()

        def keep() -> str:
            self._files[digest] = data
            return digest

        return await self._wire.call("blobs.put", keep, OSError)

    async def get(self, digest: str) -> bytes | None:
        return self._files.get(digest)

    async def scratch(self, name: str) -> str:
        return name

    async def take(self, path: str) -> tuple[str, int]:
        return await self.put(path.encode()), len(path)

    def path(self, digest: str) -> str:
        return digest

    async def drop(self, digest: str) -> None:
        self._files.pop(digest, None)

    async def prune(self, kept: Container[str], before: datetime) -> None:
        """Nothing is old enough here."""


class NoMachine:
    """The `Machine` port of a world in which code may do nothing by itself."""

    async def read_file(self, path: str, allowed: Allowed) -> str:
        raise MachineError("not here")

    async def write_file(self, path: str, text: str, allowed: Allowed) -> None:
        raise MachineError("not here")

    async def fetch(
        self, url: str, method: str, headers: Mapping[str, str], body: str | None, allowed: Allowed
    ) -> Fetched:
        raise MachineError("not here")

    async def run(self, argv: Sequence[str]) -> Ran:
        raise MachineError("not here")
