"""One execution that is waited for: its questions, and its end."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from adapters.executing.outcomes import Outcome
from adapters.executing.protocol import Question
from adapters.remote.ends import outcome_of
from adapters.remote.tower import RemoteTower
from domain.executions import events as e
from domain.executions.state import asked_by, input_id
from domain.messages import Event
from domain.promises import PromiseCreated


class AskedFor:
    """One execution that is waited for."""

    def __init__(self, tower: RemoteTower, execution_id: str, on_question: Callable[[Question], None]) -> None:
        self.execution_id: Final = execution_id
        self.end: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.output_position = 0
        self.has_large_value = False
        self._on_question = on_question
        self._tower = tower
        self._questions = 0

    def heard(self, event: Event) -> None:
        match event:
            case PromiseCreated(data=dict() as data):
                named = asked_by(event.promise_id)
                if named is not None and named[1] > self._questions:
                    self._questions = named[1]
                    self._on_question(_question(self.execution_id, named[1], data))
            case e.ExecutionEnd() if not self.end.done():
                self.output_position = event.output_position
                self.has_large_value = isinstance(event, e.ExecutionCompleted) and event.value_digest is not None
                self.end.set_result(outcome_of(event))
            case _:
                pass

    async def look(self) -> None:
        """What was recorded while nobody listened: its end is its last event, its questions are numbered."""
        last = await self._tower.last_event("execution", self.execution_id)
        if last is not None:
            self.heard(last)
        while not self.end.done():
            promise = await self._tower.last_event("promise", input_id(self.execution_id, self._questions + 1))
            if not isinstance(promise, PromiseCreated):
                return
            self.heard(promise)


def _question(execution_id: str, n: int, data: dict[str, Any]) -> Question:
    choices = data.get("choices")
    return Question(
        execution_id=execution_id,
        n=n,
        prompt=str(data.get("prompt", "")),
        secret=bool(data.get("secret")),
        choices=None if choices is None else tuple(map(str, choices)),
    )
