"""Asks people what code wants to know: `input()`, `tower.input`, `getpass`.

Listens to the events of promises; sends `promise.create` and `promise.cancel`. The promise of a question is
`exec:{id}:input:{n}`: a second attempt that asks its n-th question finds the n-th promise, so that nobody is asked
twice. In a turn of a session it is `session:{id}:turn:{turn}:input:{n}`.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import structlog

from domain import promises as p
from domain.executions.state import Execution, input_id, secret_digest
from domain.messages import Event
from domain.sessions import ids
from domain.tower import Tower
from handlers.effects.ends import encodable, shortened
from handlers.effects.follow_ups import FollowUps
from handlers.execution_ports import AnswerStatus
from handlers.ports import Texts

INPUT_S: Final = 300.0
"""How long a person has for an answer, unless the code says otherwise."""

LONGEST_INPUT_S: Final = float(p.MAX_TIMEOUT_S)
PROMPT_CHARACTERS: Final = 8 * 1024
CHOICES: Final = 200
CHOICE_CHARACTERS: Final = 1_000

_log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    status: AnswerStatus
    value: str | None = None


class Inputs:
    """`state` gives the state as the writer has it now."""

    def __init__(self, *, follow_ups: FollowUps, texts: Texts, state: Callable[[], Tower]) -> None:
        self._follow_ups = follow_ups
        self._texts = texts
        self._state = state
        self._waiting: dict[str, asyncio.Future[Answer | Mapping[str, Any]]] = {}

    def told(self, event: Event) -> None:
        """Of each event of a promise."""
        if not isinstance(event, p.PromiseEvent):
            return
        waiter = self._waiting.get(event.promise_id)
        if waiter is None or waiter.done():
            return
        match event:
            case p.PromiseResolved(value=value):
                waiter.set_result(_resolved(value))
            case p.PromiseRejected() | p.PromiseCancelled() | p.PromiseTimedOut():
                waiter.set_result(Answer(_STATUS[type(event)]))
            case _:
                pass

    async def ask(self, execution_id: str, n: int, fields: Mapping[str, Any]) -> Answer:
        """What came of the n-th question of an execution, now or at an earlier attempt."""
        promise_id = input_id(execution_id, n)
        waiter = self._waiting[promise_id] = asyncio.get_running_loop().create_future()
        try:
            there = self._state().promises.known.get(promise_id)
            if there is None:
                await self._create(promise_id, execution_id, {"execution_id": execution_id}, fields)
                # Not the outcome: that of a command which the log had already may be unknown for now.
                there = self._state().promises.known.get(promise_id)
            if there is None:
                # The execution's end came first.
                return Answer("cancelled")
            if there.state is not p.PromiseState.PENDING and not waiter.done():
                return await self._opened(self._settled(execution_id, n, there.state))
            return await self._opened(await waiter)
        finally:
            del self._waiting[promise_id]

    async def ask_in_session(self, session_id: str, turn: int, n: int, fields: Mapping[str, Any]) -> Answer:
        """What came of the n-th question in a turn of a session; it is dropped when nobody waits for it any more. A
        secret one finds the end of input: its answer would stand in the log."""
        if fields.get("secret"):
            return Answer("eof")
        promise_id = ids.input_id(session_id, turn, n)
        waiter = self._waiting[promise_id] = asyncio.get_running_loop().create_future()
        try:
            await self._create(promise_id, session_id, {"session_id": session_id}, fields)
            known = promise_id in self._state().promises.known
            return await self._opened(await waiter) if known else Answer("cancelled")
        except asyncio.CancelledError:
            self._follow_ups.send(promise_id, "dropped", p.PromiseCancel(id=promise_id))
            raise
        finally:
            del self._waiting[promise_id]

    async def _create(
        self, promise_id: str, because_of: str, asker: Mapping[str, str], fields: Mapping[str, Any]
    ) -> None:
        request = p.PromiseCreate(
            id=promise_id, timeout=_seconds(fields.get("timeout")), data={**_data(fields), **asker}
        )
        await self._follow_ups.ask(promise_id, "created", request, because_of=because_of)

    def _settled(self, execution_id: str, n: int, state: p.PromiseState) -> Answer | Mapping[str, Any]:
        """Of a promise that an earlier attempt has waited for."""
        if state is not p.PromiseState.RESOLVED:
            return Answer(_ENDED[state])
        execution: Execution | None = self._state().executions.open.get(execution_id)
        question = None if execution is None else execution.question(n)
        return _resolved(None if question is None else question.value)

    async def _opened(self, answer: "Answer | Mapping[str, Any]") -> Answer:
        """The text of a secret answer stands in a private file."""
        if isinstance(answer, Answer):
            return answer
        digest = secret_digest(answer)
        try:
            text = None if digest is None else await self._texts.get(digest)
        except OSError as error:
            _log.error("a secret answer cannot be read", reason=str(error))
            text = None
        return Answer("eof") if text is None else Answer("ok", text)


_STATUS: Final[Mapping[type[Event], AnswerStatus]] = {
    p.PromiseRejected: "eof",
    p.PromiseCancelled: "cancelled",
    p.PromiseTimedOut: "timeout",
}
_ENDED: Final[Mapping[p.PromiseState, AnswerStatus]] = {
    p.PromiseState.REJECTED: "eof",
    p.PromiseState.CANCELLED: "cancelled",
    p.PromiseState.TIMED_OUT: "timeout",
}


def _resolved(value: Any) -> "Answer | Mapping[str, Any]":
    if secret_digest(value) is not None:
        return value
    return Answer("eof") if value is None else Answer("ok", value if isinstance(value, str) else str(value))


def _seconds(asked: Any) -> float:
    """As long as code wants to wait; 0 and less ends at once."""
    wanted = asked if isinstance(asked, int | float) and not isinstance(asked, bool) else INPUT_S
    return min(max(float(wanted), 0.001), LONGEST_INPUT_S)


def _data(fields: Mapping[str, Any]) -> dict[str, Any]:
    choices = fields.get("choices")
    return {
        "kind": "input",
        "prompt": shortened(str(fields.get("prompt") or ""), PROMPT_CHARACTERS),
        "secret": bool(fields.get("secret")),
        "choices": None
        if choices is None
        else [encodable(str(each))[:CHOICE_CHARACTERS] for each in list(choices)[:CHOICES]],
    }
