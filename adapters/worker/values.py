"""What is told of a value: its repr, within limits, and the value itself where JSON gives it back unchanged."""

import json
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any, Final

REPR_S: Final = 1.0
REPR_BYTES: Final = 1024 * 1024
VALUE_BYTES: Final = 20 * 1024 * 1024
"""As JSON. With the longest repr, escaped, still a frame."""

DEPTH: Final = 64
LARGE: Final = 10_000
"""Items from which on a container's repr is made piece by piece: C code that makes it whole cannot be interrupted."""

BRACKETS: Final[dict[type, str]] = {list: "[]", tuple: "()", set: "{}", dict: "{}", frozenset: "  "}


class _TooSlow(BaseException):
    """Not an Exception: a repr that catches everything must not catch this."""


def tell(value: object) -> dict[str, Any]:
    """`repr`, `truncated`, and `value` where it round-trips."""
    text, truncated = cut(bounded_repr(value), REPR_BYTES)
    fields: dict[str, Any] = {"repr": text, "truncated": truncated}
    match _Plain().look(value, DEPTH):
        case True if len(json.dumps(value)) <= VALUE_BYTES:
            fields["value"] = value
        case False:
            pass
        case _:
            fields["truncated"] = True
    return fields


def cut(text: str, most: int) -> tuple[str, bool]:
    """At most so many bytes of UTF-8, and whether that is less than all."""
    if len(text) * 4 <= most:
        return text, False
    data = text[: most + 1].encode("utf-8", "surrogatepass")
    if len(data) <= most and len(text) <= most:
        return text, False
    end = most
    while end and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[:end].decode("utf-8", "surrogatepass"), True


class _Plain:
    """Whether JSON gives a value back unchanged: no tuples, no integer keys, no NaN, no subclasses. None: it is too
    large to be looked at, or to travel."""

    def __init__(self) -> None:
        self._left = VALUE_BYTES

    def look(self, value: Any, depth: int) -> bool | None:
        self._left -= 2
        if self._left < 0:
            return None
        kind = type(value)
        if value is None or kind is bool:
            return True
        if kind is str:
            self._left -= len(value)
            return True if self._left >= 0 else None
        if kind is int:
            # What other languages read as a number stays exact up to 64 bits.
            return -(2**63) <= value < 2**64
        if kind is float:
            return value - value == 0
        if depth == 0:
            return False
        if kind is list:
            return self._all(value, depth - 1)
        if kind is dict:
            return all(type(key) is str for key in value) and self._all((*value.keys(), *value.values()), depth - 1)
        return False

    def _all(self, values: Iterable[Any], depth: int) -> bool | None:
        for value in values:
            answer = self.look(value, depth)
            if answer is not True:
                return answer
        return True


def bounded_repr(value: object) -> str:
    """The user's own repr with a time limit; `<unrepresentable T>` when it raises or takes too long."""
    name = type(value).__name__
    before = signal.signal(signal.SIGALRM, _late)
    try:
        signal.setitimer(signal.ITIMER_REAL, REPR_S)
        try:
            return _repr(value)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException:  # noqa: BLE001 (whatever the user's own repr raises, or its being too slow)
        return f"<unrepresentable {name}>"
    finally:
        signal.signal(signal.SIGALRM, before)


def _repr(value: Any) -> str:
    kind = type(value)
    if kind in (str, bytes, bytearray) and len(value) > REPR_BYTES:
        return repr(value[: REPR_BYTES + 1])
    if kind in BRACKETS and len(value) > LARGE:
        return _first_items(value, kind)
    return repr(value)


def _first_items(value: Any, kind: type) -> str:
    """Of a large container, as much as is told; its own repr begins like this."""
    opening, closing = BRACKETS[kind]
    pieces = [f"{kind.__name__}({{" if kind is frozenset else opening]
    size, between = 0, ""
    for item in value.items() if kind is dict else value:
        piece = f"{_repr(item[0])}: {_repr(item[1])}" if kind is dict else _repr(item)
        pieces += (between, piece)
        between = ", "
        size += len(piece) + 2
        if size > REPR_BYTES:
            return "".join(pieces)
    pieces.append("})" if kind is frozenset else closing)
    return "".join(pieces)


def _late(_number: int, _frame: FrameType | None) -> None:
    raise _TooSlow
