"""How an execution ended."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class State(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What was raised, or `worker_died`, `worker_crash_loop`, `output_lost`, `timeout` as `code` for what is ours."""

    exception_type: str
    message: str
    code: str | None = None
    traceback: str = ""
    notes: tuple[str, ...] = ()
    exit_code: int | None = None
    signal: int | None = None
    last_memory_bytes: int | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is there only when JSON gives it back unchanged, `repr` for every completed execution; seconds in
    `execution_time`. `children`: processes that it left running. `worker_restarted`: the names are those of the last
    checkpoint now. `dropped_bytes` of output were dropped by the queue's policy."""

    execution_id: str
    state: State
    mode: str = "unknown"
    blocking: tuple[str, ...] = ()
    value: Any = msgspec.UNSET
    repr: str | None = None
    truncated: bool = False
    error: Failure | None = None
    execution_time: float = 0.0
    children: int = 0
    worker_restarted: bool = False
    dropped_bytes: int = 0


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
