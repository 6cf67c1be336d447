"""Runtimes with what they say collected. What is tested on `stage` holds for every runtime."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.executing.process import WorkerSettings
from adapters.executing.sources import Starter
from adapters.runtimes.command import CommandRuntime
from adapters.runtimes.echo import EchoRuntime
from adapters.runtimes.python import PythonRuntime
from handlers.effects.capabilities import Asking, Policy, Reply
from handlers.effects.inputs import Answer
from handlers.session_ports import RUNTIME_ERRORS, Message, Runtime, RuntimeSpec, Turn, TurnResult

AGENT = Path(__file__).with_name("agent.py")
MARK = "test-runtimes"
DEADLINE_S = 30.0


class Person:
    """Asked what code wants to know; answers one after another, then nothing more. `asked`: (turn, n, prompt)."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, str]] = []
        self.answers: list[str] = []
        self.dropped = 0
        self.was_asked = asyncio.Event()

    async def ask_in_session(self, session_id: str, turn: int, n: int, fields: Mapping[str, Any]) -> Answer:
        self.asked.append((turn, n, fields["prompt"]))
        self.was_asked.set()
        if self.answers:
            return Answer("ok", self.answers.pop(0))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        return Answer("eof")


class Able:
    """Answers what code asks of the tower with what is asked, as a policy allows; nothing is done."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def may_ask(self, run: Asking, number: int) -> bool:
        return self._policy.input

    async def answer(self, run: Asking, number: int, fields: Mapping[str, Any]) -> Reply:
        return Reply("ok", [run.source, run.attempt, number, fields["capability"]])


class Stage:
    """One runtime, started. `said` is what it has said, in order; `heard` is set at each piece."""

    def __init__(self, runtime: Runtime, person: Person | None = None) -> None:
        self.runtime = runtime
        self.person = person or Person()
        self.said: list[str] = []
        self.heard = asyncio.Event()
        self._turns = 0

    @property
    def text(self) -> str:
        return "".join(self.said)

    async def output(self, text: str) -> None:
        self.said.append(text)
        self.heard.set()

    async def tell(self, instruction: str, *context: Message, timeout_s: float | None = None) -> TurnResult:
        self._turns += 1
        turn = Turn(turn=self._turns, instruction=instruction, context=context, timeout_s=timeout_s)
        async with asyncio.timeout(DEADLINE_S):
            result = await self.runtime.execute(turn, self.output)
        if result.error is not None and result.error.type.islower():
            assert result.error.type in RUNTIME_ERRORS
        return result

    async def hears(self, text: str) -> None:
        """Until it has said so."""
        async with asyncio.timeout(DEADLINE_S):
            while text not in self.text:
                self.heard.clear()
                await self.heard.wait()


MakeStage = Callable[..., Awaitable[Stage]]


def command_map(**runtime: Any) -> dict[str, Any]:
    return {"kind": "command", "argv": [sys.executable, "-u", str(AGENT)], **runtime}


@pytest.fixture
async def make_stage(tmp_path: Path) -> AsyncIterator[MakeStage]:
    """Starts a runtime of that kind; `environment` is the tower's, the rest its map."""
    made: list[Runtime] = []
    async with Starter() as workers:
        count = 0

        async def make(kind: str, *, environment: dict[str, str] | None = None, **runtime: Any) -> Stage:
            nonlocal count
            count += 1
            tower = {"PATH": "/usr/local/bin:/usr/bin:/bin"} if environment is None else environment
            person = Person()
            settings = WorkerSettings(working_dir=str(tmp_path), env=tower)
            match kind:
                case "command":
                    mark = f"{MARK}:{tmp_path.name}-{count}"
                    one: Runtime = CommandRuntime(tower, working_dir=str(tmp_path), mark=mark)
                    runtime = command_map(**runtime)
                case "python":
                    one = PythonRuntime(workers, settings, tower, person, lambda policy, *_: Able(policy))
                case _:
                    one = EchoRuntime()
            made.append(one)
            await one.start(RuntimeSpec(session_id=f"s{count}", kind=kind, runtime=runtime))
            return Stage(one, person)

        yield make
        for each in made:
            await each.close()
