"""How an execution ended."""

from collections.abc import Mapping
from typing import Any

import msgspec

from handlers.execution_ports import Failure, Outcome, State

__all__ = ("Failure", "Outcome", "State", "completed", "failed")


def completed(execution_id: str, frame: Mapping[str, Any], **more: Any) -> Outcome:
    return Outcome(
        execution_id=execution_id,
        state=State.COMPLETED,
        value=frame.get("value", msgspec.UNSET),
        repr=frame["repr"],
        truncated=frame["truncated"],
        execution_time=frame["execution_time"],
        children=frame.get("children", 0),
        **more,
    )


def failed(execution_id: str, frame: Mapping[str, Any], state: State, **more: Any) -> Outcome:
    failure = Failure(
        exception_type=frame["exception_type"],
        message=frame["message"],
        traceback=frame["traceback"],
        notes=tuple(frame["notes"]),
        exit_code=frame.get("exit_code"),
    )
    return Outcome(
        execution_id=execution_id,
        state=state,
        error=failure,
        execution_time=frame["execution_time"],
        children=frame.get("children", 0),
        **more,
    )
