"""What is told of a value: its repr, within limits, and the value itself where JSON gives it back unchanged."""

import contextlib
import json
import signal
from collections.abc import Iterable
from types import FrameType
from typing import Any, Final

REPR_S: Final = 1.0
REPR_BYTES: Final = 1024 * 1024
VALUE_BYTES: Final = 8 * 1024 * 1024
"""As JSON. Whoever reads it has other things to do meanwhile."""

ITEM_BYTES: Final = 3
"""The least that an item of a list is as JSON."""

DEPTH: Final = 64
LARGE: Final = 10_000
"""Items from which on a repr is made piece by piece: C code that makes it whole cannot be interrupted."""

BRACKETS: Final[dict[type, tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    dict: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
TEXTS: Final = (str, bytes, bytearray)


class _TooSlow(BaseException):
    """Not an Exception: a repr that catches everything must not catch this."""


def tell(value: object) -> dict[str, Any]:
    """`repr`, `truncated`, and `value` where it round-trips."""
    looked = _Plain()
    plain = looked.look(value, DEPTH)
    # Only what is of Python's own kinds and not large is plain: nothing of the user's takes part in its repr.
    text, truncated = cut(repr(value) if plain else bounded_repr(value), REPR_BYTES)
    fields: dict[str, Any] = {"repr": text, "truncated": truncated}
    match plain:
        case True if looked.surely_fits or len(json.dumps(value)) <= VALUE_BYTES:
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

    @property
    def surely_fits(self) -> bool:
        """What was counted is the least; escaped, a character or a number takes up to twelve times as much."""
        return (VALUE_BYTES - self._left) * 12 <= VALUE_BYTES

    def look(self, value: Any, depth: int) -> bool | None:
        self._left -= ITEM_BYTES
        if self._left < 0:
            return None
        kind = type(value)
        if kind in (list, dict) and len(value) * ITEM_BYTES > self._left:
            return None
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
    if not _is_large(value):
        return repr(value)
    pieces = _Pieces()
    with contextlib.suppress(_Enough):
        pieces.add(value)
    return "".join(pieces.texts)


def _is_large(value: Any) -> bool:
    """Whether containers and strings of Python's own hold much, at whatever depth."""
    left, waiting = LARGE, [value]
    while waiting:
        each = waiting.pop()
        if type(each) in BRACKETS:
            left -= len(each) + 1
            if left < 0:
                return True
            waiting += each.values() if type(each) is dict else each
        elif type(each) in TEXTS and len(each) > REPR_BYTES:
            return True
    return False


class _Enough(Exception):
    """As much as is told of it."""


class _Pieces:
    """Python's own repr, as far as it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._left = REPR_BYTES
        self._within: set[int] = set()

    def _put(self, text: str) -> None:
        self.texts.append(text)
        self._left -= len(text)
        if self._left < 0:
            raise _Enough

    def add(self, value: Any) -> None:
        kind = type(value)
        if kind in TEXTS:
            self._put(repr(value[: self._left + 1]))
        elif kind not in BRACKETS or not value:
            self._put(repr(value))
        elif id(value) in self._within:
            self._put(BRACKETS[kind][0] + "..." + BRACKETS[kind][1])
        else:
            self._within.add(id(value))
            self._add_items(value, kind)
            self._within.discard(id(value))

    def _add_items(self, value: Any, kind: type) -> None:
        opening, closing = BRACKETS[kind]
        self._put(opening)
        between = ""
        for item in value:
            self._put(between)
            self.add(item)
            if kind is dict:
                self._put(": ")
                self.add(value[item])
            between = ", "
        self._put("," + closing if kind is tuple and len(value) == 1 else closing)


def _late(_number: int, _frame: FrameType | None) -> None:
    raise _TooSlow
