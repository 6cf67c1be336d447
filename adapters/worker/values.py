"""What is told of a value: its repr, within limits, and the value itself where JSON gives it back unchanged."""

import json
import signal
from types import FrameType
from typing import Any, Final

REPR_S: Final = 1.0
REPR_BYTES: Final = 1024 * 1024
VALUE_BYTES: Final = 8 * 1024 * 1024


class _TooSlow(BaseException):
    """Not an Exception: a repr that catches everything must not catch this."""


def tell(value: object) -> dict[str, Any]:
    """`repr`, `truncated`, and `value` where it round-trips."""
    text = bounded_repr(value)
    fields: dict[str, Any] = {"repr": text[:REPR_BYTES], "truncated": len(text) > REPR_BYTES}
    if is_plain(value, 64):
        encoded = json.dumps(value)
        if len(encoded) <= VALUE_BYTES:
            fields["value"] = value
        else:
            fields["truncated"] = True
    return fields


def is_plain(value: Any, depth: int) -> bool:
    """Whether JSON gives it back unchanged: no tuples, no integer keys, no NaN, no subclasses."""
    kind = type(value)
    if value is None or kind in (bool, str):
        return True
    if kind is int:
        # What other languages read as a number stays exact up to 64 bits.
        return -(2**63) <= value < 2**64
    if kind is float:
        return value - value == 0
    if depth == 0:
        return False
    if kind is list:
        return all(is_plain(item, depth - 1) for item in value)
    if kind is dict:
        return all(type(key) is str and is_plain(item, depth - 1) for key, item in value.items())
    return False


def bounded_repr(value: object) -> str:
    """The user's own repr with a time limit; `<unrepresentable T>` when it raises or takes too long."""
    name = type(value).__name__
    before = signal.signal(signal.SIGALRM, _late)
    try:
        signal.setitimer(signal.ITIMER_REAL, REPR_S)
        try:
            return repr(value)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException:  # noqa: BLE001 (whatever the user's own repr raises, or its being too slow)
        return f"<unrepresentable {name}>"
    finally:
        signal.signal(signal.SIGALRM, before)


def _late(_number: int, _frame: FrameType | None) -> None:
    raise _TooSlow
