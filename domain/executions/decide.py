"""The rules of executions: what is asked. Doing again what is done gives `()`. What the tower saw itself is in
`reports.py`, checkpoints are in `sessions.py`.
"""

import re
from typing import Any, Final

from domain import promises as p
from domain.errors import Rejection
from domain.executions import commands as c
from domain.executions import events as e
from domain.executions.events import ExecutionState
from domain.executions.evolving import digest_of
from domain.executions.state import (
    Ended,
    Execution,
    Executions,
    Question,
    Session,
    asked_by,
    input_id,
)
from domain.messages import TOWER, Event, Facts

MAX_WAITING: Final = 1_000
MAX_OPEN: Final = 10_000
"""Executions that wait at most, in one session and on the whole node; one more is `tower_busy`."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def decide(request: c.Asked, origin: str, facts: Facts, state: Executions, promises: p.Promises) -> tuple[Event, ...]:
    match request:
        case c.ExecutionRequest():
            return request_execution(request, origin, facts, state)
        case c.ExecutionCancel():
            return cancel(request, state)
        case c.ExecutionResume():
            return resume(request, state)
        case c.ExecutionAnswer():
            return answer(request, facts, state, promises)


# --- asking for one ------------------------------------------------------------------------------------------------


def request_execution(request: c.ExecutionRequest, origin: str, facts: Facts, state: Executions) -> tuple[Event, ...]:
    """The same id or key with the same code and options is a repeat; with others it is refused."""
    wanted = _requested(request, origin, facts)
    there = requested_before(request, origin, state)
    if there is not None:
        execution_id, known = there
        if known.owner == origin and known.digest == digest_of(wanted):
            return ()
        key = request.idempotency_key or execution_id
        raise Rejection(
            "idempotency_conflict",
            f"execution {execution_id} was asked for with other code or options",
            idempotency_key=key,
        )
    session = state.sessions.get(wanted.session_id)
    if session is not None:
        check_lasting(session)
        busy = session.running or (session.line[0][2] if session.line else None)
        if busy is not None and request.when_busy == "reject":
            raise Rejection(
                "worker_busy",
                f"session {session.session_id} is busy with {busy}",
                session_id=session.session_id,
                execution_id=busy,
            )
        _check_room(len(session.line), MAX_WAITING, f"in session {session.session_id}")
    _check_room(len(state.open), MAX_OPEN, "on this node")
    return (wanted, *_at_once(wanted, facts, state))


def _at_once(wanted: e.ExecutionRequested, facts: Facts, state: Executions) -> tuple[Event, ...]:
    """Its start, when its session's worker waits and nobody comes before it: one append for both."""
    session, key = state.sessions.get(wanted.session_id), wanted.concurrency_key
    if not facts.worker_waits or session is None or session.running is not None or session.line:
        return ()
    if key is not None and (key in state.holders or state.lines.get(key)):
        return ()
    return (e.ExecutionStarted(execution_id=wanted.execution_id, session_id=wanted.session_id, attempt=1),)


def requested_before(
    request: c.ExecutionRequest, origin: str, state: Executions
) -> tuple[str, Execution | Ended] | None:
    """(id, execution) that this request was given before, by its id or its key."""
    execution_id = request.id
    if execution_id is None and request.idempotency_key is not None:
        execution_id = state.keys.get((origin, request.idempotency_key))
    elif execution_id is not None and request.idempotency_key is not None:
        keyed = state.keys.get((origin, request.idempotency_key))
        if keyed not in (None, execution_id):
            execution_id = keyed
    if execution_id is None:
        return None
    known = state.open.get(execution_id) or state.ended.get(execution_id)
    return None if known is None else (execution_id, known)


def check_lasting(session: Session) -> None:
    """A session that was made for one execution takes nothing else."""
    if session.throwaway:
        message = f"session {session.session_id} ends with its one execution"
        raise Rejection("session_not_found", message, session_id=session.session_id)


def _requested(request: c.ExecutionRequest, origin: str, facts: Facts) -> e.ExecutionRequested:
    size = len(request.code.encode("utf-8", "surrogatepass"))
    if size > c.CODE_BYTES:
        raise invalid("code", f"{size} bytes of UTF-8, not at most {c.CODE_BYTES}")
    return e.ExecutionRequested(
        execution_id=facts.ids[0] if request.id is None else check_id("id", request.id),
        session_id=facts.ids[1] if request.session_id is None else check_id("session_id", request.session_id),
        owner=origin,
        code=request.code,
        timeout_s=request.timeout,
        idempotency_key=request.idempotency_key,
        when_busy=request.when_busy,
        retry=_policy(request.retry),
        priority=request.priority,
        concurrency_key=request.concurrency_key,
        throwaway=request.session_id is None,
        transaction=request.transaction,
    )


def _policy(retry: object) -> e.RetryPolicy:
    match retry:
        case c.Retry():
            return e.RetryPolicy(
                safe=retry.safe, max_attempts=retry.max_attempts, backoff_s=retry.backoff_s, then=retry.then
            )
        case "safe":
            return e.RetryPolicy(safe=True)
        case _:
            return e.RetryPolicy()


def _check_room(there: int, most: int, where: str) -> None:
    if there >= most:
        raise Rejection("tower_busy", f"{there} executions wait {where}; ask again", queued=there)


# --- stopping and going on -----------------------------------------------------------------------------------------


def cancel(request: c.ExecutionCancel, state: Executions) -> tuple[Event, ...]:
    """What does not run ends at once, what runs is told to; one that has ended stays as it ended."""
    execution = state.open.get(request.execution_id)
    if execution is None:
        if _known_end(request.execution_id, state) is ExecutionState.CANCELLED:
            return ()
        raise ended(request.execution_id, state)
    waited_for = cancelled_questions(execution)
    if execution.state is ExecutionState.RUNNING:
        if execution.cancel in (request.scope, "session"):
            return ()
        return (e.ExecutionCancelRequested(**of(execution), scope=request.scope), *waited_for)
    return (e.ExecutionCancelled(**of(execution), attempt=execution.attempt), *waited_for)


def resume(request: c.ExecutionResume, state: Executions) -> tuple[Event, ...]:
    execution = known_execution(request.execution_id, state)
    if execution.state is not ExecutionState.PAUSED:
        raise Rejection(
            "execution_not_paused",
            f"execution {execution.execution_id} is {execution.state}",
            execution_id=execution.execution_id,
            state=str(execution.state),
        )
    return (e.ExecutionResumed(**of(execution), attempt=execution.attempt + 1),)


def cancelled_questions(execution: Execution) -> tuple[p.PromiseCancelled, ...]:
    ids = (input_id(execution.execution_id, question.n) for question in execution.open_questions)
    return tuple(p.PromiseCancelled(promise_id=each) for each in ids)


# --- its questions -------------------------------------------------------------------------------------------------


def answer(request: c.ExecutionAnswer, facts: Facts, state: Executions, promises: p.Promises) -> tuple[Event, ...]:
    """Settles the input promise. The text that answers a secret question is a private file by now."""
    promise = question_of(request, state, promises)
    secret = is_secret(promise.promise_id, state)
    value: Any = request.value
    if secret and request.value is not None and promise.state is p.PromiseState.PENDING:
        if facts.text_digest is None:
            # The question was not open yet when this batch was looked at.
            raise Rejection("tower_busy", f"{promise.promise_id} is only open now; ask again", queued=1)
        value = {"secret_digest": facts.text_digest}
    check_answer(promise.promise_id, value, state)
    return p.settle(p.PromiseResolve(id=promise.promise_id, value=value), promises)


def question_of(request: c.ExecutionAnswer, state: Executions, promises: p.Promises) -> p.Promise:
    """The promise that is answered. Raises `Rejection`."""
    execution = state.open.get(request.execution_id)
    if execution is None:
        raise ended(request.execution_id, state)
    if request.n is not None:
        return p.known_promise(input_id(request.execution_id, request.n), promises)
    if not execution.open_questions:
        raise Rejection(
            "promise_not_found",
            f"execution {request.execution_id} asks nothing now",
            promise_id=input_id(request.execution_id, 1),
        )
    return p.known_promise(input_id(request.execution_id, execution.open_questions[0].n), promises)


def is_secret(promise_id: str, state: Executions) -> bool:
    """Whether it is an open question whose answer may not be recorded."""
    question = _open_question(promise_id, state)
    return question is not None and question.secret


def check_answer(promise_id: str, value: Any, state: Executions) -> None:
    """`value` may resolve this question: text or null, one of the choices if it has any."""
    question = _open_question(promise_id, state)
    if question is None or value is None or question.secret:
        return
    if not isinstance(value, str):
        raise invalid("value", "the answer to a question is text, or null for the end of input")
    if len(value.encode("utf-8", "surrogatepass")) > c.ANSWER_BYTES:
        raise invalid("value", f"more than {c.ANSWER_BYTES} bytes of UTF-8")
    if question.choices is not None and value not in question.choices:
        raise invalid("value", f"not one of {', '.join(question.choices)[:200]}")


def _open_question(promise_id: str, state: Executions) -> Question | None:
    named = asked_by(promise_id)
    execution = None if named is None else state.open.get(named[0])
    if named is None or execution is None:
        return None
    question = execution.question(named[1])
    return None if question is None or question.state is not p.PromiseState.PENDING else question


# --- promises that belong to executions ----------------------------------------------------------------------------


def guard_promise(request: p.Asked, origin: str, state: Executions) -> None:
    """What `promise.*` may not do to the promises of executions. Raises `Rejection`."""
    match request:
        case p.PromiseCreate(id=str(asked)) if p.reserved(asked):
            _guard_made(asked, origin, state)
        case p.PromiseResolve() | p.PromiseReject() | p.PromiseCancel() if _known_end_or_open(request.id, state):
            hint = ": cancel the execution" if isinstance(request, p.PromiseCancel) else ""
            raise invalid("id", f"settles with its execution{hint}")
        case p.PromiseResolve() if is_secret(request.id, state):
            raise invalid("id", "a secret question: execution.answer keeps the answer out of the log")
        case p.PromiseResolve():
            check_answer(request.id, request.value, state)
        case _:
            pass


def _guard_made(asked: str, origin: str, state: Executions) -> None:
    if origin != TOWER:
        raise invalid("id", "ids that begin with exec: or spawn: are the tower's own")
    named = asked_by(asked)
    if named is not None and named[0] not in state.open:
        raise ended(named[0], state)


def _known_end_or_open(promise: str, state: Executions) -> bool:
    kind, _, execution_id = promise.partition(":")
    return kind == "exec" and (execution_id in state.open or execution_id in state.ended)


# --- shared --------------------------------------------------------------------------------------------------------


def of(execution: Execution) -> dict[str, Any]:
    """What each of its events carries."""
    return {"execution_id": execution.execution_id, "session_id": execution.session_id}


def known_execution(execution_id: str, state: Executions) -> Execution:
    execution = state.open.get(execution_id)
    if execution is None:
        raise ended(execution_id, state)
    return execution


def ended(execution_id: str, state: Executions) -> Rejection:
    """For one that is not open: it has ended, or there is none."""
    end = _known_end(execution_id, state)
    if end is None:
        return Rejection("execution_not_found", f"no execution {execution_id}", execution_id=execution_id)
    message = f"execution {execution_id} has ended: {end}"
    return Rejection("execution_already_ended", message, execution_id=execution_id, state=str(end))


def _known_end(execution_id: str, state: Executions) -> ExecutionState | None:
    end = state.ended.get(execution_id)
    return None if end is None else end.state


def check_id(field: str, value: str) -> str:
    """`value` if it is a well-formed id of an execution or a session."""
    if _ID.match(value) is None:
        raise invalid(field, "1 to 64 characters of A-Z a-z 0-9 _ -")
    return value


def invalid(field: str, reason: str) -> Rejection:
    return Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)
