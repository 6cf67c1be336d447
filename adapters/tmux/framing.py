"""The wire form of a tmux control-mode connection: answers between `%begin` and `%end`, notifications outside.

A block ends only at the very `time number flags` that it began with, so pane text that looks like a marker stays text.
"""

from dataclasses import dataclass

MAX_BLOCK_BYTES = 32 * 1024 * 1024


class BadFraming(Exception):
    """The other side does not speak control mode, or sends more than `MAX_BLOCK_BYTES` at once."""


@dataclass(frozen=True, slots=True)
class Block:
    """One command's answer. `ours` is False for commands that the server ran by itself (attach, hooks)."""

    lines: tuple[str, ...]
    failed: bool
    ours: bool


class Framer:
    """Bytes in, blocks out. `ended` turns True when the server says that the connection is over (`%exit`)."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = bytearray()
        self._stamp: bytes | None = None
        self._lines: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Block]:
        blocks: list[Block] = []
        self._rest += data
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            block = self._line(line)
            if block is not None:
                blocks.append(block)
        if self._size + len(self._rest) > MAX_BLOCK_BYTES:
            raise BadFraming("an answer larger than any of tmux's")
        return blocks

    def _line(self, line: bytes) -> Block | None:
        if self._stamp is None:
            self._outside(line)
            return None
        for marker in (b"%end ", b"%error "):
            if line == marker + self._stamp:
                ours = not self._stamp.endswith(b" 0")
                block = Block(tuple(self._lines), marker == b"%error ", ours)
                self._stamp, self._lines, self._size = None, [], 0
                return block
        self._size += len(line)
        self._lines.append(line.decode("utf-8", "replace"))
        return None

    def _outside(self, line: bytes) -> None:
        if line.startswith(b"%begin "):
            self._stamp = line.removeprefix(b"%begin ")
        elif line == b"%exit" or line.startswith(b"%exit "):
            self.ended = True
        elif line and not line.startswith(b"%"):
            raise BadFraming(f"not control mode: {line[:80]!r}")
