"""Python code in a worker: an instruction is a cell, its names live as long as the session.

What a cell prints is the output, then the `repr` of its last expression, or the traceback, as a person at a prompt
would see it. What it asks by `input()`, the persons at the session are asked; what it asks of the tower is allowed by
the permissions of its bundle. What was said before is not handed over.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from adapters.executing.outcomes import Outcome, State
from adapters.executing.output import Chunk, pieces
from adapters.executing.process import WorkerSettings
from adapters.executing.session import Callbacks, Job, Session
from adapters.executing.sources import Source
from adapters.executing.worker import Asked, Conduct, WorkerFailed
from adapters.runtimes.environment import environment_of, folder_of
from adapters.runtimes.kept import Kept
from adapters.runtimes.permissions import policy_of
from adapters.runtimes.shapes import PythonShape, shaped
from handlers.effects.capabilities import Asking, Policy, Reply
from handlers.execution_ports import AnswerStatus, between_executions
from handlers.session_ports import Output, RuntimeFailed, RuntimeSpec, Turn, TurnError, TurnResult, TurnState

STATES = {
    State.COMPLETED: TurnState.COMPLETED,
    State.FAILED: TurnState.FAILED,
    State.CANCELLED: TurnState.CANCELLED,
    State.TIMED_OUT: TurnState.TIMED_OUT,
}


class Answer(Protocol):
    @property
    def status(self) -> AnswerStatus: ...

    @property
    def value(self) -> str | None: ...


class Questions(Protocol):
    """Asks the persons at a session."""

    async def ask_in_session(self, session_id: str, turn: int, n: int, fields: Mapping[str, Any]) -> Answer:
        """What came of the n-th question in a turn. Cancelling drops it."""
        ...


class Abilities(Protocol):
    """What code asks of the tower besides."""

    def may_ask(self, run: Asking, number: int, /) -> bool: ...

    async def answer(self, run: Asking, number: int, fields: Mapping[str, Any], /) -> Reply: ...


MakeAbilities = Callable[[Policy, str, Mapping[str, str]], Abilities]
"""Of a session with this policy, for commands in this folder with this environment."""


class PythonRuntime:
    """`workers`: the tower's pool, whose workers have `settings`. `environment`: what the tower gives away of its
    own."""

    def __init__(
        self,
        workers: Source,
        settings: WorkerSettings,
        environment: Mapping[str, str],
        questions: Questions,
        make_abilities: MakeAbilities,
    ) -> None:
        self._make_abilities = make_abilities
        self._abilities: Abilities | None = None
        self._workers = workers
        self._settings = settings
        self._environment = environment
        self._questions = questions
        self._session_id = ""
        self._session: Session | None = None
        self._running: asyncio.Task[None] | None = None
        self._turn: _UnderWay | None = None

    async def start(self, spec: RuntimeSpec) -> None:
        shape = shaped(spec.runtime, PythonShape)
        self._session_id = spec.session_id
        folder = folder_of(shape, spec, self._settings.working_dir)
        if not await asyncio.to_thread(Path(folder).is_dir):
            raise RuntimeFailed("runtime_invalid", f"runtime.working_dir: there is no folder {folder}")
        environment = environment_of(self._environment, shape, spec)
        settings = msgspec.structs.replace(
            self._settings,
            working_dir=folder,
            python=shape.python or self._settings.python,
            env=environment,
            limits={**self._settings.limits, **shape.limits},
        )
        policy = await asyncio.to_thread(policy_of, spec.permissions, folder)
        self._abilities = self._make_abilities(policy, folder, environment)
        callbacks = Callbacks(on_output=self._printed, on_asked=self._asked)
        session = Session(settings, callbacks, self._workers, conduct=Conduct(grace_s=shape.grace_s))
        self._session, self._running = session, asyncio.create_task(session.run())
        try:
            await session.start()
        except BaseException as error:
            await self.close()
            if isinstance(error, WorkerFailed):
                raise RuntimeFailed("worker_died", str(error)) from error
            raise

    async def execute(self, turn: Turn, output: Output) -> TurnResult:
        assert self._session is not None
        printed = self._turn = _UnderWay(self._session_id, turn.turn, output)
        job = Job(execution_id=printed.job, code=turn.instruction, timeout_s=turn.timeout_s, default_timeout=False)
        try:
            outcome = await self._session.execute(job)
            await printed.add(_at_the_end(outcome))
        except BaseException:
            self._session.cancel(printed.job)
            raise
        finally:
            self._turn = None
            await printed.drop_questions()
        return _result(outcome, printed.kept)

    async def _printed(self, chunk: Chunk) -> None:
        if self._turn is not None:
            await self._turn.add(chunk.text)

    async def _asked(self, asked: Asked) -> None:
        """Goes on at once: output and the end of the turn are not to wait for an answer."""
        assert self._session is not None
        if self._turn is None:
            self._session.answer(asked, "eof")
        else:
            self._turn.ask(self._answered(asked, self._turn))

    async def _answered(self, asked: Asked, turn: "_UnderWay") -> None:
        """As the permissions of its bundle say."""
        assert self._session is not None
        assert self._abilities is not None
        turn.requests += 1
        number = turn.requests
        try:
            if asked.kind != "input_request":
                reply = await self._abilities.answer(turn, number, asked.fields)
            elif self._abilities.may_ask(turn, number):
                turn.questions += 1
                answer = await self._questions.ask_in_session(
                    self._session_id, turn.attempt, turn.questions, asked.fields
                )
                reply = Reply(answer.status, answer.value)
            else:
                reply = Reply("denied", message="input: people may not be asked")
        except asyncio.CancelledError:
            self._session.answer(asked, "cancelled")
            raise
        self._session.answer(asked, reply.status, value=reply.value, message=reply.message)

    async def cancel(self) -> None:
        if self._session is not None and self._turn is not None:
            self._session.cancel(self._turn.job)

    async def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


class _UnderWay:
    """A turn: what it said, and what it asks. `questions`: of people, and `requests` of the tower and of people."""

    def __init__(self, session_id: str, turn: int, output: Output) -> None:
        self.session_id = session_id
        self.source = between_executions(session_id)
        self.execution_id: str | None = None
        self.attempt = turn
        self.kept = Kept()
        self.questions = 0
        self.requests = 0
        self.denials = 0
        self._output = output
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def job(self) -> str:
        return str(self.attempt)

    async def add(self, text: str) -> None:
        for piece in pieces(text):
            self.kept.add(piece)
            await self._output(piece)

    def ask(self, question: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(question)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def drop_questions(self) -> None:
        asking = tuple(self._asking)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def _at_the_end(outcome: Outcome) -> str:
    if outcome.state is State.COMPLETED:
        return "" if outcome.repr in (None, "None") else f"{outcome.repr}\n"
    return outcome.error.traceback if outcome.error is not None else ""


def _result(outcome: Outcome, kept: Kept) -> TurnResult:
    failure, error = outcome.error, None
    if outcome.state is State.FAILED and failure is not None:
        error = TurnError(type=failure.code or failure.exception_type, message=failure.message)
    return TurnResult(
        state=STATES[outcome.state],
        output=kept.text,
        left_out_bytes=kept.left_out_bytes,
        error=error,
        exit_code=None if failure is None else failure.exit_code,
    )
