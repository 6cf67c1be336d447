"""Requests and events of executions with fixed ids: the execution `x1` in the session `s`, unless said otherwise."""

from typing import Any

from domain.executions import commands as c
from domain.executions import events as e
from domain.messages import HOST, TOWER, Event
from domain.promises import PromiseCancelled, PromiseCreate, PromiseCreated
from tests.unit.builders import facts
from tests.unit.given import Happened, History, given

RAISED = e.ExecutionError(exception_type="ValueError", message="no")
DIED = e.ExecutionError(exception_type="WorkerDied", message="signal 9", code="worker_died", signal=9)
IDS = facts("made-x", "made-s")


def ask(code: str = "1 + 1", execution_id: str | None = "x1", session: str | None = "s", **options: Any) -> Any:
    return c.ExecutionRequest(code=code, id=execution_id, session_id=session, **options)


def requested(execution_id: str = "x1", session: str = "s", code: str = "1 + 1", **options: Any) -> Event:
    return e.ExecutionRequested(
        **{"execution_id": execution_id, "session_id": session, "owner": HOST, "code": code, **options}
    )


def started(execution_id: str = "x1", attempt: int = 1, session: str = "s") -> Event:
    return e.ExecutionStarted(execution_id=execution_id, session_id=session, attempt=attempt)


def running(execution_id: str = "x1", session: str = "s", **options: Any) -> tuple[Event, ...]:
    return requested(execution_id, session, **options), started(execution_id, session=session)


def completed(execution_id: str = "x1", attempt: int = 1, session: str = "s") -> Event:
    return e.ExecutionCompleted(execution_id=execution_id, session_id=session, attempt=attempt, repr="2", value=2)


def cancelled(execution_id: str = "x1", attempt: int = 1, session: str = "s", **more: Any) -> Event:
    return e.ExecutionCancelled(execution_id=execution_id, session_id=session, attempt=attempt, **more)


def lost(attempt: int = 1) -> Event:
    return e.ExecutionLost(execution_id="x1", session_id="s", attempt=attempt)


def failed(attempt: int = 1, error: e.ExecutionError = RAISED) -> Event:
    return e.ExecutionFailed(execution_id="x1", session_id="s", attempt=attempt, error=error)


def paused(attempt: int = 1, reason: Any = "lost", error: e.ExecutionError | None = None) -> Event:
    return e.ExecutionPaused(execution_id="x1", session_id="s", attempt=attempt, reason=reason, error=error)


def resumed(attempt: int = 2, due: bool = False) -> Event:
    return e.ExecutionResumed(execution_id="x1", session_id="s", attempt=attempt, due=due)


def start(execution_id: str = "x1", attempt: int = 1) -> c.ExecutionRecordStarted:
    return c.ExecutionRecordStarted(execution_id=execution_id, attempt=attempt)


def complete(execution_id: str = "x1", attempt: int = 1) -> c.ExecutionRecordCompleted:
    return c.ExecutionRecordCompleted(execution_id=execution_id, attempt=attempt, repr="2", value=2)


def fail(attempt: int = 1, error: e.ExecutionError = RAISED) -> c.ExecutionRecordFailed:
    return c.ExecutionRecordFailed(execution_id="x1", attempt=attempt, error=error)


def lose(attempt: int = 1) -> c.ExecutionRecordLost:
    return c.ExecutionRecordLost(execution_id="x1", attempt=attempt)


def cancel(scope: Any = "execution") -> c.ExecutionCancel:
    return c.ExecutionCancel(execution_id="x1", scope=scope)


def question(n: int = 1, **data: Any) -> PromiseCreate:
    """As the tower asks it."""
    return PromiseCreate(id=f"exec:x1:input:{n}", data={"kind": "input", "execution_id": "x1", **data})


def asked(n: int = 1, **data: Any) -> Event:
    return PromiseCreated(promise_id=f"exec:x1:input:{n}", owner=TOWER, data=question(n, **data).data)


def unasked(n: int = 1) -> Event:
    return PromiseCancelled(promise_id=f"exec:x1:input:{n}")


def told(history: History, request: Any, **more: Any) -> Happened:
    """What the tower itself reports."""
    return history.when(request, origin=TOWER, **more)


RETRY = e.RetryPolicy(safe=True, max_attempts=2, backoff_s=0)


def having_run(*events: Event, **options: Any) -> History:
    """`x1` runs, and then."""
    return given(*running(**options), *events)
