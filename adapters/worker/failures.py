"""What is told of an exception: type, message, notes, and a traceback that shows the user's own lines only."""

import os
from typing import Any, Final

from .cells import in_cell

HERE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
TEXT_LIMIT: Final = 1024 * 1024


def describe(error: BaseException) -> dict[str, Any]:
    """`exception_type`, `message`, `traceback`, `notes`; `exit_code` for `SystemExit`."""
    fields: dict[str, Any] = {
        "exception_type": _type_name(error),
        "message": _text(error)[:TEXT_LIMIT],
        "traceback": _traceback(error)[-TEXT_LIMIT:],
        "notes": [str(note)[:TEXT_LIMIT] for note in getattr(error, "__notes__", ())],
    }
    if isinstance(error, SystemExit):
        code = error.code
        fields["exit_code"] = code if isinstance(code, int) else 0 if code is None else 1
    return fields


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
