"""What an attempt's outcome is in the log: within the limits of one event, and of what JSON can hold."""

from typing import Any, Final, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from domain.executions import commands as ec
from domain.executions.events import ExecutionError
from domain.promises import VALUE_BYTES
from handlers.execution_ports import Failure, Outcome, State, Written

REPR_CHARACTERS: Final = 1024 * 1024
MESSAGE_CHARACTERS: Final = 64 * 1024
TRACEBACK_CHARACTERS: Final = 256 * 1024
NOTES: Final = 100
NOTE_CHARACTERS: Final = 4 * 1024
"""A worker's own limits: what one tells that keeps to them is told whole."""

NO_OUTPUT: Final = Written(position=0, written_bytes=0)
NAMES: Final = 50
"""Of the calls that block, in one event."""

CUT: Final = "…"


class _Common(TypedDict):
    """What every end says."""

    execution_id: str
    attempt: int
    execution_time: float
    output_position: int
    truncated_bytes: int | UnsetType


def report(outcome: Outcome, attempt: int, output: Written) -> ec.Ended:
    """The command that tells it. Its value stands as it is: `with_value` makes it fit."""
    common = _Common(
        execution_id=outcome.execution_id,
        attempt=attempt,
        execution_time=outcome.execution_time,
        output_position=output.position,
        truncated_bytes=output.truncated_bytes or UNSET,
    )
    match outcome.state:
        case State.COMPLETED:
            shown = shortened(outcome.repr or "", REPR_CHARACTERS)
            return ec.ExecutionRecordCompleted(
                **common,
                repr=None if outcome.repr is None else shown,
                value=outcome.value,
                mode=outcome.mode,
                truncated=outcome.truncated or len(shown) < len(outcome.repr or ""),
                children=outcome.children,
                blocking=blocking(outcome),
            )
        case State.FAILED:
            return ec.ExecutionRecordFailed(
                **common,
                error=error_of(outcome.error or Failure(exception_type="Exception", message="")),
                mode=outcome.mode,
                children=outcome.children,
                blocking=blocking(outcome),
            )
        case State.CANCELLED:
            return ec.ExecutionRecordCancelled(
                **common,
                worker_restarted=outcome.worker_restarted,
            )
        case State.TIMED_OUT:
            return ec.ExecutionRecordTimedOut(
                **common,
                worker_restarted=outcome.worker_restarted,
                error=None if outcome.error is None else error_of(outcome.error),
            )


def encoded(value: Any) -> bytes | None:
    """The value as JSON; None for what a reader of JSON would not get back (lone surrogates, huge integers)."""
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError, RecursionError):
        return None


def with_value(ended: ec.ExecutionRecordCompleted, value: bytes | None, digest: str | None) -> ec.Ended:
    """`value` as JSON where it stands in the event, or has its own file under `digest`."""
    if value is None:
        return msgspec.structs.replace(ended, value=UNSET)
    if len(value) <= VALUE_BYTES:
        return ended
    if digest is None:
        return msgspec.structs.replace(ended, value=UNSET, truncated=True)
    return msgspec.structs.replace(ended, value=UNSET, value_digest=digest, value_bytes=len(value))


def error_of(failure: Failure) -> ExecutionError:
    return ExecutionError(
        exception_type=shortened(failure.exception_type, NOTE_CHARACTERS),
        message=shortened(failure.message, MESSAGE_CHARACTERS),
        code=failure.code,
        traceback=shortened_within(failure.traceback, TRACEBACK_CHARACTERS),
        notes=tuple(shortened(note, NOTE_CHARACTERS) for note in failure.notes[:NOTES]),
        exit_code=failure.exit_code,
        signal=failure.signal,
        last_memory_bytes=failure.last_memory_bytes,
    )


def blocking(outcome: Outcome) -> tuple[str, ...]:
    return tuple(shortened(name, NOTE_CHARACTERS) for name in outcome.blocking[:NAMES])


def shortened(text: str, characters: int) -> str:
    """Its beginning, as text that UTF-8 can hold."""
    text = encodable(text)
    return text if len(text) <= characters else text[: characters - len(CUT)] + CUT


def shortened_within(text: str, characters: int) -> str:
    """Its beginning and its end: of a traceback, where it came from and what was raised."""
    text = encodable(text)
    if len(text) <= characters:
        return text
    half = (characters - len(CUT)) // 2
    return f"{text[:half]}\n{CUT}\n{text[-half:]}"


def encodable(text: str) -> str:
    """Lone surrogates as their escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text
