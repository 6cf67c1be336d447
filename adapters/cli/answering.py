"""Reading a person's answers: lines of standard input, from a terminal without echo where they are secret."""

import os
import sys
import termios
from typing import Final, Self

BLOCK: Final = 64 * 1024

Terminal = list[int | list[bytes | int]]


class Lines:
    """Lines of one file descriptor. Select on it while a line is wanted, then `read()`.

    Nothing is read before a line is wanted, so that the rest is left to whoever comes next.
    """

    def __init__(self, descriptor: int | None) -> None:
        """None: there is nobody, every line is the end."""
        self._descriptor = descriptor
        self._held = b""
        self._ended = descriptor is None
        self._before: Terminal | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.echo()

    @property
    def is_terminal(self) -> bool:
        return self._descriptor is not None and os.isatty(self._descriptor)

    @property
    def is_ready(self) -> bool:
        """There is a line, or the end, without another read."""
        return self._ended or b"\n" in self._held

    def fileno(self) -> int:
        assert self._descriptor is not None
        return self._descriptor

    def read(self) -> None:
        """One read, which waits if there is nothing."""
        assert self._descriptor is not None
        try:
            block = os.read(self._descriptor, BLOCK)
        except OSError:
            block = b""  # a terminal that hung up
        self._held += block
        self._ended = not block

    def take(self) -> str | None:
        """The next line without its end; None for the end of input. Only when `is_ready`."""
        line, found, rest = self._held.partition(b"\n")
        if not found and not line:
            # On a terminal Ctrl-D ends this answer, and the next question is asked again.
            self._ended = not self.is_terminal
            return None
        self._held = rest
        return line.decode("utf-8", "replace").removesuffix("\r")

    def hide(self) -> None:
        """What is typed is not shown, until `echo()`."""
        if self.is_terminal and self._before is None:
            self._before = termios.tcgetattr(self.fileno())
            silent = termios.tcgetattr(self.fileno())
            silent[3] &= ~termios.ECHO
            termios.tcsetattr(self.fileno(), termios.TCSAFLUSH, silent)

    def echo(self) -> None:
        if self._before is not None:
            termios.tcsetattr(self.fileno(), termios.TCSADRAIN, self._before)
            self._before = None


def standard_input() -> Lines:
    try:
        return Lines(sys.stdin.fileno())
    except (OSError, ValueError, AttributeError):
        return Lines(None)


def keyboard() -> Lines:
    """The terminal itself, where standard input is used for something else."""
    try:
        return Lines(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError:
        return Lines(None)
