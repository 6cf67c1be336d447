"""`evolve`: the state of executions and sessions after an event. Total: what does not fit changes nothing."""

import hashlib
from bisect import bisect, bisect_left
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from immutables import Map
from msgspec.structs import asdict, replace

from domain.executions import events as e
from domain.executions.events import ExecutionState
from domain.executions.state import (
    ENDS,
    KEPT_CHECKPOINTS,
    KEPT_ENDED,
    Checkpoint,
    Ended,
    Execution,
    Executions,
    Question,
    Session,
    Turn,
    Work,
    asked_by,
)
from domain.messages import Event
from domain.promises import SETTLED_AS, PromiseCreated, PromiseEvent, PromiseState

K = TypeVar("K")
V = TypeVar("V")


def evolve(state: Executions, event: Event) -> Executions:
    match event:
        case e.ExecutionRequested():
            return _requested(state, event)
        case e.ExecutionStarted():
            return _started(state, event)
        case e.ExecutionEnd():
            return _ended(state, event, ENDS[type(event)])
        case e.ExecutionRetryScheduled():
            to = ExecutionState.REQUESTED if event.due is None else ExecutionState.RETRYING
            return _interrupted(state, event.execution_id, to, event.due)
        case e.ExecutionPaused():
            return _interrupted(state, event.execution_id, ExecutionState.PAUSED, None)
        case e.ExecutionResumed():
            return _resumed(state, event)
        case e.ExecutionCancelRequested():
            return _changed(state, event.execution_id, cancel=event.scope)
        case PromiseEvent():
            return _asked(state, event)
        case e.NamespaceEvent():
            return _of_session(state, event)
        case _:
            return state


def digest_of(event: e.ExecutionRequested) -> bytes:
    """Of what was asked, whoever made up the ids."""
    asked = msgspec.structs.replace(event, execution_id="", session_id="" if event.throwaway else event.session_id)
    return hashlib.blake2b(msgspec.json.encode(asked), digest_size=16).digest()


def _requested(state: Executions, event: e.ExecutionRequested) -> Executions:
    if event.execution_id in state.open or event.execution_id in state.ended:
        return state
    fields = asdict(event)
    del fields["when_busy"]
    execution = Execution(**fields, number=state.accepted, digest=digest_of(event))
    keys = state.keys
    if event.idempotency_key is not None:
        keys = keys.set((event.owner, event.idempotency_key), event.execution_id)
    made = replace(state, keys=keys, accepted=state.accepted + 1)
    if event.session_id not in made.sessions:
        session = Session(session_id=event.session_id, throwaway=event.throwaway)
        made = replace(made, sessions=made.sessions.set(event.session_id, session))
    return _queued(made, execution)


def _queued(state: Executions, execution: Execution) -> Executions:
    """`execution` waits in its lines."""
    execution = replace(execution, state=ExecutionState.REQUESTED, due=None)
    session = _session(state, execution.session_id)
    session = replace(session, line=_inserted(session.line, execution.turn))
    lines, key = state.lines, execution.concurrency_key
    if key is not None:
        lines = lines.set(key, _inserted(lines.get(key, ()), execution.turn))
    return replace(
        state,
        open=state.open.set(execution.execution_id, execution),
        sessions=state.sessions.set(session.session_id, session),
        lines=lines,
    )


def _without_turn(state: Executions, execution: Execution) -> tuple[Session, Map[str, tuple[Turn, ...]], Map[str, str]]:
    """Its session, the lines and the holders of keys when `execution` has left its lines and holds nothing."""
    session = _session(state, execution.session_id)
    running = None if session.running == execution.execution_id else session.running
    session = replace(session, running=running, line=_without(session.line, execution.turn))
    lines, holders, key = state.lines, state.holders, execution.concurrency_key
    if key is not None:
        left = _without(lines.get(key, ()), execution.turn)
        lines = lines.set(key, left) if left else _deleted(lines, key)
        if holders.get(key) == execution.execution_id:
            holders = holders.delete(key)
    return session, lines, holders


def _started(state: Executions, event: e.ExecutionStarted) -> Executions:
    execution = state.open.get(event.execution_id)
    if execution is None or execution.state is not ExecutionState.REQUESTED:
        return state
    session, lines, holders = _without_turn(state, execution)
    session, key = replace(session, running=execution.execution_id), execution.concurrency_key
    if key is not None:
        holders = holders.set(key, execution.execution_id)
    started = replace(execution, state=ExecutionState.RUNNING, attempt=event.attempt)
    return replace(
        state,
        open=state.open.set(execution.execution_id, started),
        sessions=state.sessions.set(session.session_id, session),
        lines=lines,
        holders=holders,
    )


def _interrupted(state: Executions, execution_id: str, to: ExecutionState, due: datetime | None) -> Executions:
    execution = state.open.get(execution_id)
    if execution is None or execution.state is not ExecutionState.RUNNING:
        return state
    session, lines, holders = _without_turn(state, execution)
    sessions = state.sessions.set(session.session_id, session)
    state = replace(state, sessions=sessions, lines=lines, holders=holders)
    if to is ExecutionState.REQUESTED:
        return _queued(state, execution)
    return replace(state, open=state.open.set(execution_id, replace(execution, state=to, due=due)))


def _resumed(state: Executions, event: e.ExecutionResumed) -> Executions:
    execution = state.open.get(event.execution_id)
    if execution is None or execution.state not in (ExecutionState.RETRYING, ExecutionState.PAUSED):
        return state
    return _queued(state, execution)


def _changed(state: Executions, execution_id: str, **fields: Any) -> Executions:
    execution = state.open.get(execution_id)
    if execution is None:
        return state
    return replace(state, open=state.open.set(execution_id, replace(execution, **fields)))


def _ended(state: Executions, event: e.ExecutionEnd, to: ExecutionState) -> Executions:
    execution = state.open.get(event.execution_id)
    if execution is None:
        return state
    session, lines, holders = _without_turn(state, execution)
    if execution.throwaway and not session.line:
        sessions = _deleted(state.sessions, session.session_id)
    else:
        last = execution.execution_id if execution.attempt else session.last
        sessions = state.sessions.set(session.session_id, replace(session, last=last))
    end = Ended(
        execution.owner,
        execution.session_id,
        execution.digest,
        to,
        execution.idempotency_key,
        execution.concurrency_key,
    )
    return _forgetful(
        replace(
            state,
            open=state.open.delete(execution.execution_id),
            ended=state.ended.set(execution.execution_id, end),
            order=state.order.set(state.ends, execution.execution_id),
            ends=state.ends + 1,
            sessions=sessions,
            lines=lines,
            holders=holders,
        )
    )


def _forgetful(state: Executions) -> Executions:
    """Without the one that ended first, if too many are remembered."""
    if len(state.order) <= KEPT_ENDED:
        return state
    number = state.ends - len(state.order)
    execution_id = state.order[number]
    end = state.ended[execution_id]
    keys = state.keys
    if end.idempotency_key is not None:
        keys = _deleted(keys, (end.owner, end.idempotency_key))
    return replace(state, ended=state.ended.delete(execution_id), order=state.order.delete(number), keys=keys)


def _asked(state: Executions, event: PromiseEvent) -> Executions:
    """Its questions: asked, settled."""
    named = asked_by(event.promise_id)
    execution = None if named is None else state.open.get(named[0])
    if named is None or execution is None:
        return state
    n = named[1]
    there, others = execution.question(n), tuple(each for each in execution.questions if each.n != n)
    match event:
        case PromiseCreated() if there is None:
            changed: Question | None = _question(n, event.data)
        case PromiseCreated():
            return state
        case _ if there is None or there.state is not PromiseState.PENDING:
            return state
        case _ if execution.may_run_again or there.secret:
            changed = replace(there, state=SETTLED_AS[type(event)], value=getattr(event, "value", None))
        case _:
            changed = None
    kept = others if changed is None else (*others, changed)
    return _changed(state, named[0], questions=tuple(sorted(kept, key=lambda each: each.n)))


def _question(n: int, data: Any) -> Question:
    fields = cast(dict[str, Any], data) if isinstance(data, dict) else {}
    choices = fields.get("choices")
    texts = tuple(str(choice) for choice in cast(list[Any], choices)) if isinstance(choices, list) else None
    return Question(n=n, secret=bool(fields.get("secret")), choices=texts)


def _of_session(state: Executions, event: e.NamespaceEvent) -> Executions:
    session = state.sessions.get(event.session_id)
    match event:
        case e.SessionCheckpointRequested() if session is not None:
            work = Work(work_id=event.work_id, session_id=event.session_id, number=state.accepted, verify=event.verify)
            return _with_work(state, session, work)
        case e.SessionRestoreRequested() if session is not None:
            work = Work(
                work_id=event.work_id,
                session_id=event.session_id,
                number=state.accepted,
                digest=event.digest,
                strategy=event.strategy,
                clear_existing=event.clear_existing,
            )
            return _with_work(state, session, work)
        case e.SessionCheckpointed() if session is not None:
            made = Checkpoint(digest=event.digest, after=event.after)
            others = tuple(each for each in session.checkpoints if each.digest != event.digest)
            session = replace(session, checkpoints=(*others, made)[-KEPT_CHECKPOINTS:])
            return _without_work(state, session, event.work_id)
        case e.SessionRestored() | e.SessionWorkFailed() if session is not None:
            return _without_work(state, session, event.work_id)
        case e.SessionForked() if session is None:
            made_anew = Session(session_id=event.session_id, checkpoints=(Checkpoint(digest=event.digest),))
            return replace(state, sessions=state.sessions.set(event.session_id, made_anew))
        case _:
            return state


def _with_work(state: Executions, session: Session, work: Work) -> Executions:
    if work.work_id in state.works:
        return state
    session = replace(session, line=_inserted(session.line, work.turn))
    return replace(
        state,
        works=state.works.set(work.work_id, work),
        sessions=state.sessions.set(session.session_id, session),
        accepted=state.accepted + 1,
    )


def _without_work(state: Executions, session: Session, work_id: str) -> Executions:
    work = state.works.get(work_id)
    if work is not None and work.session_id == session.session_id:
        session = replace(session, line=_without(session.line, work.turn))
        state = replace(state, works=state.works.delete(work_id))
    return replace(state, sessions=state.sessions.set(session.session_id, session))


def _session(state: Executions, session_id: str) -> Session:
    return state.sessions.get(session_id) or Session(session_id=session_id)


def _inserted(line: tuple[Turn, ...], turn: Turn) -> tuple[Turn, ...]:
    place = bisect(line, turn)
    return (*line[:place], turn, *line[place:])


def _without(line: tuple[Turn, ...], turn: Turn) -> tuple[Turn, ...]:
    place = bisect_left(line, turn)
    return (*line[:place], *line[place + 1 :]) if line[place : place + 1] == (turn,) else line


def _deleted(of: Map[K, V], key: K) -> Map[K, V]:
    return of.delete(key) if key in of else of
