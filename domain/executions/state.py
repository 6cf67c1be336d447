"""State of executions and sessions, and who may start.

    from        event              to                     why
    -           requested          requested              accepted
    requested   started            running                its turn, and a worker is there
    requested   cancelled          cancelled              nothing has run
    running     completed          completed
    running     failed             failed                 it raised, or its worker died
    running     cancel_requested   running                it is to end
    running     cancelled          cancelled
    running     timed_out          timed_out
    running     lost               lost                   the tower ended meanwhile
    running     retry_scheduled    retrying | requested   the attempt failed or is lost, the policy allows another
    running     paused             paused                 no attempt is left, the policy pauses
    retrying    resumed            requested              the wait is over
    paused      resumed            requested              somebody resumed it
    retrying, paused  cancelled    cancelled

Ends are final. Those that are requested wait in their session, and under their concurrency key, in the order of
(priority, acceptance); who is first in both lines starts when session and key are free. One order for all lines: the
first of all that wait is first in each of its lines, so they never wait for each other in a circle. One that waits
for a retry or is paused holds nothing and lets others pass.

    promise exec:{id}          pending until the end; completed resolves it, cancelled cancels it, any other rejects it
    promise exec:{id}:input:n  as any promise; what is open when its execution ends, or is to be cancelled, is
                               cancelled with it
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from immutables import Map

from domain.executions import events as e
from domain.executions.events import ExecutionState
from domain.messages import Event
from domain.promises import PromiseState

KEPT_ENDED: Final = 100_000
"""Executions that are remembered after their end, the ones that ended last: by then an id or key is answered with what
is there, later it is a new one."""

KEPT_CHECKPOINTS: Final = 5
"""Of a session, the last ones."""

Turn = tuple[int, int, str]
"""Place in a line: 9 - priority, number, id of the execution or work."""

ENDS: Final[Mapping[type[e.ExecutionEvent], ExecutionState]] = {
    e.ExecutionCompleted: ExecutionState.COMPLETED,
    e.ExecutionFailed: ExecutionState.FAILED,
    e.ExecutionCancelled: ExecutionState.CANCELLED,
    e.ExecutionTimedOut: ExecutionState.TIMED_OUT,
    e.ExecutionLost: ExecutionState.LOST,
}

END_NAMES: Final = frozenset(map(str, ENDS.values()))
"""The last tokens of the subjects of their events: an end is called as the state that it leads to."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The n-th thing that an execution asks for: its promise, and how that was settled with which value. `choices`:
    what may be answered, any text if None. The value of a secret one is `{"secret_digest": …}`, the name of a text."""

    n: int
    secret: bool = False
    choices: tuple[str, ...] | None = None
    state: PromiseState = PromiseState.PENDING
    value: Any = None


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One that has no end yet. `number` gives the order of acceptance. `attempt`: how many were started. `cancel`: the
    scope of the cancel that was asked for. `due`: when the next attempt may start. `digest`: of what was asked, to know
    a repeat by. `questions`: the open ones, and those whose answer a further attempt, or this one, needs."""

    execution_id: str
    session_id: str
    owner: str
    code: str
    number: int
    digest: bytes
    timeout_s: float | None = None
    idempotency_key: str | None = None
    retry: e.RetryPolicy = e.RetryPolicy()
    priority: int = 4
    concurrency_key: str | None = None
    throwaway: bool = False
    transaction: e.Transaction = "commit_always"
    state: ExecutionState = ExecutionState.REQUESTED
    attempt: int = 0
    cancel: e.Scope | None = None
    due: datetime | None = None
    questions: tuple[Question, ...] = ()

    @property
    def turn(self) -> Turn:
        return (9 - self.priority, self.number, self.execution_id)

    @property
    def open_questions(self) -> tuple[Question, ...]:
        return tuple(question for question in self.questions if question.state is PromiseState.PENDING)

    @property
    def may_run_again(self) -> bool:
        """By its policy, at some time."""
        return self.retry.safe or self.retry.then == "pause" or (self.retry.max_attempts or 1) > 1

    def question(self, n: int) -> Question | None:
        return next((question for question in self.questions if question.n == n), None)


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """What a repeat needs of one that has ended."""

    owner: str
    session_id: str
    digest: bytes
    state: ExecutionState
    idempotency_key: str | None
    concurrency_key: str | None


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint, or with `digest` a restore, to be made when its turn comes; making it twice does no harm."""

    work_id: str
    session_id: str
    number: int
    verify: bool = False
    digest: str | None = None
    strategy: e.Strategy = "overwrite"
    clear_existing: bool = False

    @property
    def turn(self) -> Turn:
        # In the middle of the priorities, as an execution that says nothing of it.
        return (5, self.number, self.work_id)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    after: str | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """`line`: who waits, in order. `last`: the execution that ended last. `checkpoints`: oldest first; a new worker
    starts with the names of the last."""

    session_id: str
    throwaway: bool = False
    running: str | None = None
    line: tuple[Turn, ...] = ()
    last: str | None = None
    checkpoints: tuple[Checkpoint, ...] = ()


class Executions(msgspec.Struct, frozen=True, kw_only=True):
    """`open` and `ended` by id; `order` of the ended ones by number, `ends` of them in all. `keys`: (owner, idempotency
    key) -> id. `lines` and `holders` by concurrency key: who waits, who runs. `works` by id."""

    open: Map[str, Execution] = Map()
    ended: Map[str, Ended] = Map()
    order: Map[int, str] = Map()
    ends: int = 0
    keys: Map[tuple[str, str], str] = Map()
    sessions: Map[str, Session] = Map()
    lines: Map[str, tuple[Turn, ...]] = Map()
    holders: Map[str, str] = Map()
    works: Map[str, Work] = Map()
    accepted: int = 0

    @property
    def digests(self) -> frozenset[str]:
        """Of the checkpoints that are kept."""
        return frozenset(checkpoint.digest for session in self.sessions.values() for checkpoint in session.checkpoints)

    @property
    def texts(self) -> frozenset[str]:
        """Digests of the secret answers that an open execution may still need."""
        return frozenset(
            digest
            for execution in self.open.values()
            for question in execution.questions
            if (digest := secret_digest(question.value)) is not None
        )


def forgotten(before: Executions, after: Executions) -> str | None:
    """The execution that `before` remembered and `after`, one event later, does not."""
    if after.ends == before.ends or len(after.order) > len(before.order):
        return None
    return before.order[before.ends - len(before.order)]


def promise_id(execution_id: str) -> str:
    return f"exec:{execution_id}"


def input_id(execution_id: str, n: int) -> str:
    """The promise of its n-th question, from 1."""
    return f"exec:{execution_id}:input:{n}"


def secret_digest(value: Any) -> str | None:
    """Of the text that answered a secret question, from the value of its promise."""
    match value:
        case {"secret_digest": str(digest)}:
            return digest
        case _:
            return None


def asked_by(promise_id: str) -> tuple[str, int] | None:
    """(execution id, n) of an input promise."""
    match promise_id.split(":"):
        case ["exec", execution_id, "input", n] if n.isascii() and n.isdigit() and len(n) < 10:
            return execution_id, int(n)
        case _:
            return None


def state_of(execution_id: str, state: Executions) -> ExecutionState | None:
    """None for one that nobody asked for, or that ended too long ago to be remembered."""
    there = state.open.get(execution_id) or state.ended.get(execution_id)
    return None if there is None else there.state


# --- who may start -------------------------------------------------------------------------------------------------


def next_of(session_id: str, state: Executions) -> Execution | Work | None:
    """What the session may start now: the first in its line, if the session and its concurrency key are free."""
    session = state.sessions.get(session_id)
    if session is None or session.running is not None or not session.line:
        return None
    first = session.line[0][2]
    execution = state.open.get(first)
    if execution is None:
        return state.works.get(first)
    key = execution.concurrency_key
    if key is not None and (key in state.holders or state.lines[key][0][2] != first):
        return None
    return execution


def startable(state: Executions) -> tuple[Execution | Work, ...]:
    """All that may start now, in order; one of each session, at most. Looks at every session: for a start."""
    found = [each for session_id in state.sessions if (each := next_of(session_id, state)) is not None]
    return tuple(sorted(found, key=lambda each: each.turn))


def startable_after(event: Event, state: Executions) -> tuple[Execution | Work, ...]:
    """What may start since this event, the last of `state`: a few look-ups, whatever the history."""
    match event:
        case e.ExecutionEvent() | e.NamespaceEvent():
            sessions = [event.session_id]
        case _:
            return ()
    if isinstance(event, e.ExecutionEvent):
        there = state.open.get(event.execution_id) or state.ended.get(event.execution_id)
        line = state.lines.get(there.concurrency_key) if there is not None and there.concurrency_key else None
        if line:
            sessions.append(state.open[line[0][2]].session_id)
    found = [each for session_id in dict.fromkeys(sessions) if (each := next_of(session_id, state)) is not None]
    return tuple(sorted(found, key=lambda each: each.turn))
