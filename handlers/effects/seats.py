"""The place of one session: who runs there now, and the ear for what its worker says."""

import asyncio
from collections.abc import Callable

from domain.executions.state import Execution
from handlers.execution_ports import OutputLog, Question, StreamName, between_executions


class Run:
    """One attempt under way. `wrote`: it has had output. `questions`: inputs it has asked for, one after another, and
    `requests` all that it asked of the tower; `denials` of them were denied."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.session_id = execution.session_id
        self.execution_id = self.source = execution.execution_id
        self.attempt = execution.attempt
        self.wrote = False
        self.questions = 0
        self.requests = 0
        self.denials = 0
        self.answering: set[asyncio.Task[None]] = set()


class Seat:
    """Listens to the worker. `opened`: there is one. `working`: its names are saved or restored."""

    def __init__(
        self,
        session_id: str,
        *,
        throwaway: bool,
        output: OutputLog,
        ask: Callable[["Seat", Question], None],
        names: Callable[[str], str | None],
    ) -> None:
        self.session_id = session_id
        self.throwaway = throwaway
        self.opened = False
        self.working = False
        self.closing = False
        self.run: Run | None = None
        self._output = output
        self._ask = ask
        self._names = names

    @property
    def free(self) -> bool:
        return self.opened and not self.working and not self.closing and self.run is None

    def runs(self, execution_id: str | None) -> Run | None:
        """The attempt of this execution that is under way here."""
        return self.run if self.run is not None and self.run.execution_id == execution_id else None

    async def output(self, execution_id: str | None, stream: StreamName, text: str) -> None:
        run = self.runs(execution_id)
        if run is None:
            await self._output.write(between_executions(self.session_id), 0, stream, text)
            return
        run.wrote = True
        await self._output.write(run.execution_id, run.attempt, stream, text)

    async def asked(self, question: Question) -> None:
        self._ask(self, question)

    def starts_with(self) -> str | None:
        return self._names(self.session_id)
