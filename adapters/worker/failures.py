"""What is told of an exception: type, message, notes, and a traceback that shows the user's own lines only."""

import os
from typing import Any, Final

from .cells import in_cell
from .values import cut

HERE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
MESSAGE_BYTES: Final = 64 * 1024
TRACEBACK_BYTES: Final = 256 * 1024
NOTES: Final = 100
NOTE_BYTES: Final = 4 * 1024


def describe(error: BaseException) -> dict[str, Any]:
    """`exception_type`, `message`, `traceback`, `notes`; `exit_code` for `SystemExit`."""
    fields: dict[str, Any] = {
        "exception_type": _type_name(error),
        "message": cut(_text(error), MESSAGE_BYTES)[0],
        "traceback": _ends_of(_traceback(error)),
        "notes": _notes(error),
    }
    if isinstance(error, SystemExit):
        code = error.code
        fields["exit_code"] = code if isinstance(code, int) else 0 if code is None else 1
    return fields


def _notes(error: BaseException) -> list[str]:
    try:
        return [cut(str(note), NOTE_BYTES)[0] for note in tuple(getattr(error, "__notes__", ()))[:NOTES]]
    except Exception:  # noqa: BLE001 (the user's own notes)
        return []


def _ends_of(text: str) -> str:
    """Of a traceback that is too long, where it begins and what it ends with."""
    half = TRACEBACK_BYTES // 2
    begin, long = cut(text, half)
    if not long:
        return text
    rest = text[len(begin) :]
    end, long = cut(rest[::-1], half)
    return f"{begin}\n[…]\n{end[::-1]}" if long else text


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (the user's own __str__)
        return f"<unprintable {type(error).__name__}>"


def _traceback(error: BaseException) -> str:
    import traceback

    try:
        told = traceback.TracebackException.from_exception(error)
        _strip(told, set())
        return "".join(told.format())
    except (Exception, RecursionError) as second:  # noqa: BLE001 (a broken exception still has a name)
        return f"{type(error).__name__}: {_text(error)}\n(its traceback cannot be shown: {type(second).__name__})\n"


def _strip(told: Any, seen: set[int]) -> None:
    """Take the engine's frames out of a traceback, its causes and its members."""
    import traceback

    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack = traceback.StackSummary.from_list(_of_the_user(list(told.stack)))
    for other in (told.__cause__, told.__context__, *(told.exceptions or () if hasattr(told, "exceptions") else ())):
        _strip(other, seen)


def _of_the_user(frames: list[Any]) -> list[Any]:
    """From the first line of a cell on (what lies before it called the cell), without our own."""
    ours = [frame for frame in frames if not frame.filename.startswith(HERE)]
    first = next((place for place, frame in enumerate(ours) if in_cell(frame.filename)), None)
    if first is None:
        # A cell that could not be compiled, or a library's own thread of work.
        return [] if len(ours) < len(frames) else ours
    return ours[first:]
