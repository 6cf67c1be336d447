"""Ends of executions as they stand in the log, told as the local engine tells them."""

import msgspec

from adapters.executing.outcomes import Failure, Outcome, State
from domain.executions import events as e


def outcome_of(event: e.ExecutionEnd) -> Outcome:
    """As the local engine tells it. One that is lost `failed` with the code `lost`."""
    own = {"execution_id": event.execution_id, "execution_time": event.execution_time}
    match event:
        case e.ExecutionCompleted():
            return Outcome(
                **own,
                state=State.COMPLETED,
                mode=event.mode,
                blocking=event.blocking,
                value=event.value,
                repr=event.repr,
                truncated=event.truncated,
                children=event.children,
            )
        case e.ExecutionFailed():
            error = _failure(event.error)
            died = error.code == "worker_died"
            told = {"mode": event.mode, "blocking": event.blocking, "children": event.children}
            return Outcome(**own, **told, state=State.FAILED, error=error, worker_restarted=died)
        case e.ExecutionCancelled():
            return Outcome(**own, state=State.CANCELLED, worker_restarted=event.worker_restarted)
        case e.ExecutionTimedOut():
            failure = None if event.error is None else _failure(event.error)
            return Outcome(**own, state=State.TIMED_OUT, error=failure, worker_restarted=event.worker_restarted)
        case _:
            message = "the tower ended while it ran: nobody knows how far it came"
            failure = Failure(exception_type="ExecutionLost", message=message, code="lost")
            return Outcome(**own, state=State.FAILED, error=failure, worker_restarted=True)


def _failure(error: e.ExecutionError) -> Failure:
    return msgspec.convert(msgspec.structs.asdict(error), Failure)
