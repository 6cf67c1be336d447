"""What the tower saw of executions itself: started, ended, interrupted. What comes too late, or of an earlier attempt,
changes nothing."""

from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import asdict

from domain.executions import commands as c
from domain.executions import events as e
from domain.executions.decide import cancelled_questions, of
from domain.executions.events import ExecutionState
from domain.executions.state import Execution, Executions, next_of
from domain.messages import Event, Facts

SAFE_ATTEMPTS: Final = 3
"""Of one that is safe to run again and says no number."""

CUT_SHORT: Final = frozenset({"worker_died", "worker_crash_loop"})
"""Failures by which nobody knows how far the code came."""


def report(request: c.Reported, facts: Facts, state: Executions) -> tuple[Event, ...]:
    execution = state.open.get(request.execution_id or "")
    if execution is None:
        return ()
    match request:
        case c.ExecutionRecordStarted():
            return _start(request, execution, state)
        case c.ExecutionRecordRetryDue():
            return _resume(request, facts, execution)
        case c.CapabilityRecordDenied():
            return (e.CapabilityDenied(**of(execution), capability=request.capability, reason=request.reason),)
        case c.SessionRecordEmitted():
            return (e.SessionEmitted(**of(execution), name=request.name, data=request.data),)
        case _:
            if execution.state is not ExecutionState.RUNNING or request.attempt != execution.attempt:
                return ()
            return _end(request, facts.at, execution)


def _start(request: c.ExecutionRecordStarted, execution: Execution, state: Executions) -> tuple[Event, ...]:
    """Only when it is its turn, as the attempt that is next."""
    if request.attempt != execution.attempt + 1 or next_of(execution.session_id, state) is not execution:
        return ()
    return (e.ExecutionStarted(**of(execution), attempt=request.attempt),)


def _resume(request: c.ExecutionRecordRetryDue, facts: Facts, execution: Execution) -> tuple[Event, ...]:
    """Nothing before the time (a clock that stepped)."""
    waits = execution.state is ExecutionState.RETRYING and request.attempt == execution.attempt + 1
    if not waits or (execution.due is not None and facts.at < execution.due):
        return ()
    return (e.ExecutionResumed(**of(execution), attempt=request.attempt, due=True),)


def _end(request: c.Ended, at: datetime, execution: Execution) -> tuple[Event, ...]:
    event: Event
    match request:
        case c.ExecutionRecordFailed():
            again = _again(execution, "failed", at, request.error)
            event = again or e.ExecutionFailed(**of(execution), **_fields(request))
        case c.ExecutionRecordLost() if execution.cancel is not None:
            # It ended with the tower, which is what was asked for.
            again, event = None, e.ExecutionCancelled(**of(execution), **_fields(request), worker_restarted=True)
        case c.ExecutionRecordLost():
            again = _again(execution, "lost", at, None)
            event = again or e.ExecutionLost(**of(execution), **_fields(request))
        case c.ExecutionRecordCompleted():
            again, event = None, e.ExecutionCompleted(**of(execution), **_fields(request))
        case c.ExecutionRecordCancelled():
            again, event = None, e.ExecutionCancelled(**of(execution), **_fields(request))
        case c.ExecutionRecordTimedOut():
            again, event = None, e.ExecutionTimedOut(**of(execution), **_fields(request))
    # The next attempt asks the same questions: they stay open for it.
    return (event,) if again is not None else (event, *cancelled_questions(execution))


def _again(
    execution: Execution, reason: e.Interruption, at: datetime, error: e.ExecutionError | None
) -> e.ExecutionRetryScheduled | e.ExecutionPaused | None:
    """What comes instead of the end, by the policy; None if it ends. Not after a cancel was asked for."""
    if execution.cancel is not None:
        return None
    policy, attempt = execution.retry, execution.attempt
    cut_short = reason == "lost" or (error is not None and error.code in CUT_SHORT)
    if cut_short:
        most = (policy.max_attempts or SAFE_ATTEMPTS) if policy.safe else 1
    else:
        most = policy.max_attempts or 1
    if attempt < most:
        due = at + timedelta(seconds=_wait_s(policy.backoff_s, attempt)) if policy.backoff_s else None
        return e.ExecutionRetryScheduled(**of(execution), attempt=attempt, reason=reason, due=due, error=error)
    if policy.then == "pause":
        return e.ExecutionPaused(**of(execution), attempt=attempt, reason=reason, error=error)
    return None


def _wait_s(backoff_s: float, attempt: int) -> float:
    return min(backoff_s * 2 ** (attempt - 1), c.MAX_BACKOFF_S)


def _fields(request: c.Ended) -> dict[str, Any]:
    fields = asdict(request)
    del fields["execution_id"]
    return fields
