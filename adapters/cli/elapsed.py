"""One line on stderr that says how long something takes, on a terminal only, below whatever else is printed."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

FIRST_S: Final = 0.5
"""What is done by then shows no line at all."""

TICK_S: Final = 0.1
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Elapsed:
    """`hide()` before anything else is printed, `show()` after it, at the start of a line."""

    def __init__(self, hint: str, *, quiet: bool) -> None:
        from adapters.cli.output import console
        from adapters.system import SystemClock

        out = console(stderr=True)
        self._out: Console | None = None if quiet or not out.is_terminal or out.is_dumb_terminal else out
        self._hint = hint
        self._clock = SystemClock()
        self._since = self._clock.monotonic()
        self._shown = False

    @property
    def tick_s(self) -> float | None:
        """How often to show it; None for never."""
        return None if self._out is None else TICK_S

    @property
    def seconds(self) -> float:
        return self._clock.monotonic() - self._since

    def show(self, doing: str) -> None:
        if self._out is None or self.seconds < FIRST_S:
            return
        from rich.text import Text

        frame = _FRAMES[int(self.seconds / TICK_S) % len(_FRAMES)]
        line = Text.assemble((frame, "yellow"), f" {doing} ", (spent(self.seconds), "bold"), (f"  {self._hint}", "dim"))
        line.truncate(self._out.width - 1, overflow="ellipsis")
        self._erase()
        self._out.print(line, end="")
        self._out.file.flush()
        self._shown = True

    def hide(self) -> None:
        if self._shown:
            self._erase()
            self._shown = False

    def _erase(self) -> None:
        if self._out is not None:
            self._out.file.write("\r\x1b[2K")
            self._out.file.flush()


def spent(seconds: float) -> str:
    """`12 ms`, `0.8 s`, `12.4 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
