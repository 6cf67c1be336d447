"""Staying with something that goes on: its output above a line that counts the time, and Ctrl-C, which cancels it."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from adapters.cli import output
from adapters.cli.elapsed import Elapsed
from adapters.cli.following import Feed


class Screen:
    """Output as it comes, in half lines too; what is said of it begins a line of its own."""

    def __init__(self, *, quiet: bool) -> None:
        self.elapsed = Elapsed("Ctrl-C cancels it", quiet=quiet)
        self.at_line_start = True

    def write(self, stream: str, text: str) -> bool:
        """`stream`: stdout or stderr. Whether that is a terminal."""
        self.elapsed.hide()
        out = sys.stderr if stream == "stderr" else sys.stdout
        out.buffer.write(text.encode("utf-8", "replace"))
        out.buffer.flush()
        if seen := out.isatty():
            self.at_line_start = text.endswith("\n")
        return seen

    def say(self, text: str) -> None:
        self.elapsed.hide()
        self.fresh_line()
        output.note(text)

    def fresh_line(self) -> None:
        if not self.at_line_start:
            output.note("")
            self.at_line_start = True


class Stopping:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self._asked = self._begun = False

    def begin(self) -> bool:
        """Whether to stop it now: once."""
        begins = self._asked and not self._begun
        self._begun = self._asked
        return begins

    def interrupted(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True


@contextmanager
def stopping(feed: Feed) -> Iterator[Stopping]:
    """The first Ctrl-C makes the loop that selects on `feed` `begin` to stop what it stays with; the second raises
    KeyboardInterrupt at once."""
    asked = Stopping()
    with interrupts(feed, asked.interrupted):
        yield asked


@contextmanager
def interrupts(feed: Feed, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C goes to `handler`, and makes a select on `feed` return, also when it comes just before that begins."""
    before = signal.signal(signal.SIGINT, handler)
    woken = signal.set_wakeup_fd(feed.waker, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGINT, before)
