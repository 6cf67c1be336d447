"""The output of a turn, of which beginning and end are kept."""

from collections import deque
from typing import Final

KEPT_CHARACTERS: Final = 512 * 1024
"""Of the beginning, and of the end."""


class Kept:
    """Takes the text as it comes."""

    def __init__(self, most: int = KEPT_CHARACTERS) -> None:
        self._most = most
        self._head: list[str] = []
        self._head_size = 0
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self.left_out_bytes = 0

    def add(self, text: str) -> None:
        room = self._most - self._head_size
        if room:
            self._head.append(text[:room])
            self._head_size += len(self._head[-1])
            text = text[room:]
        if text:
            self._tail.append(text)
            self._tail_size += len(text)
        while self._tail_size > self._most:
            oldest = self._tail.popleft()
            dropped = oldest[: self._tail_size - self._most]
            if len(dropped) < len(oldest):
                self._tail.appendleft(oldest[len(dropped) :])
            self._tail_size -= len(dropped)
            self.left_out_bytes += len(dropped.encode("utf-8", "surrogatepass"))

    @property
    def text(self) -> str:
        """All of it, or both ends with a line between them that says how much is not there."""
        gap = f"\n[{self.left_out_bytes} bytes left out]\n" if self.left_out_bytes else ""
        return "".join([*self._head, gap, *self._tail])
