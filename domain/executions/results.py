"""What the caller of an execution or session command is told: from its events, or from the state for a repeat."""

from domain import promises as p
from domain.executions import commands as c
from domain.executions import events as e
from domain.executions.decide import question_of, requested_before
from domain.executions.events import ExecutionState
from domain.executions.state import ENDS, Ended, Execution, Executions, promise_id
from domain.messages import HOST, Event, Request, Result


def result(event: Event) -> Result | None:
    """Of an accepted command, from its first event; None for an event of another kind.

    `state`: of the execution now. What the tower's own commands are told is `recorded: true`; false, see `standing`,
    means that it was not its turn, or that it came too late.
    """
    match event:
        case e.ExecutionRequested():
            return _requested(event.execution_id, event.session_id, ExecutionState.REQUESTED, replay=False)
        case e.ExecutionStarted():
            return _recorded(event.execution_id, ExecutionState.RUNNING)
        case e.ExecutionEnd():
            return _recorded(event.execution_id, ENDS[type(event)])
        case e.ExecutionRetryScheduled():
            waits = ExecutionState.REQUESTED if event.due is None else ExecutionState.RETRYING
            return _recorded(event.execution_id, waits)
        case e.ExecutionPaused():
            return _recorded(event.execution_id, ExecutionState.PAUSED)
        case e.ExecutionResumed():
            return _recorded(event.execution_id, ExecutionState.REQUESTED)
        case e.ExecutionCancelRequested():
            return _recorded(event.execution_id, ExecutionState.RUNNING)
        case e.SessionForked():
            return {"session_id": event.session_id, "checkpoint": event.digest, "recorded": True}
        case e.SessionCheckpointRequested() | e.SessionRestoreRequested():
            return {"session_id": event.session_id, "work_id": event.work_id, "recorded": True}
        case e.SessionEmitted():
            return {"session_id": event.session_id, "name": event.name, "recorded": True}
        case e.NamespaceEvent():
            return {"session_id": event.session_id, "recorded": True}
        case e.CapabilityDenied():
            return {"execution_id": event.execution_id, "recorded": True}
        case _:
            return None


def standing(request: Request, state: Executions, promises: p.Promises, origin: str = HOST) -> Result:
    """Of a command that changed nothing."""
    match request:
        case c.ExecutionRequest():
            there = requested_before(request, origin, state)
            if there is None:
                return {}
            execution_id, known = there
            return _requested(execution_id, known.session_id, known.state, replay=True)
        case c.ExecutionAnswer():
            return p.standing(p.PromiseResolve(id=question_of(request, state, promises).promise_id), promises)
        case c.ExecutionCancel():
            return {**_now(request.execution_id, state), "replay": True}
        case c.ExecutionRecordStarted() | c.ExecutionReport() | c.ExecutionRecordRetryDue():
            return {**_now(request.execution_id, state), "recorded": False}
        case c.CapabilityRecordDenied():
            return {"execution_id": request.execution_id, "recorded": False}
        case c.SessionRecordCheckpointed() | c.SessionRecordRestored() | c.SessionRecordWorkFailed():
            return {"session_id": request.session_id, "recorded": False}
        case _:
            return {}


def _requested(execution_id: str, session_id: str, state: ExecutionState, *, replay: bool) -> Result:
    return {
        "execution_id": execution_id,
        "session_id": session_id,
        "promise_id": promise_id(execution_id),
        "state": str(state),
        "replay": replay,
    }


def _recorded(execution_id: str, state: ExecutionState) -> Result:
    return {"execution_id": execution_id, "state": str(state), "recorded": True}


def _now(execution_id: str, state: Executions) -> Result:
    known: Execution | Ended | None = state.open.get(execution_id) or state.ended.get(execution_id)
    return {"execution_id": execution_id, "state": None if known is None else str(known.state)}
