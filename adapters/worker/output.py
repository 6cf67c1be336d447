"""`sys.stdout` and `sys.stderr`: straight to the file descriptors, so that program order holds with everything else
that writes there."""

import io
import os
import sys
from typing import Any

_spares: dict[int, int] = {}


class Straight(io.RawIOBase):
    """Writes whole, whatever signals interrupt it. Closing it does not close the descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.name = "<stdout>" if fd == 1 else "<stderr>"

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        written = os.write(self._fd, data)
        if written == len(data):
            return written
        view = memoryview(data)
        while written < len(view):
            written += os.write(self._fd, view[written:])
        return written


def take_over_output() -> None:
    """Where they are closed or were never ours, they are made anew."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None or stream.closed or not isinstance(getattr(stream, "buffer", None), Straight):
            setattr(sys, name, _text(fd))


def keep_spares() -> None:
    """So that a cell that closes a descriptor does not end its pipe."""
    for fd in (1, 2):
        _spares[fd] = os.dup(fd)


def renew_closed_output() -> None:
    """After a cell that closed or deleted them."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        try:
            os.fstat(fd)
        except OSError:
            os.dup2(_spares[fd], fd)
        if getattr(getattr(sys, name, None), "closed", True):
            setattr(sys, name, _text(fd))


def flush_output() -> None:
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except Exception:  # noqa: BLE001 (the user's own stream)
            continue


def _text(fd: int) -> io.TextIOWrapper:
    # A raw stream in place of a buffered one: what is written is out.
    return io.TextIOWrapper(Straight(fd), "utf-8", "backslashreplace", newline="\n", write_through=True)
