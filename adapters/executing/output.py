"""What a worker writes to its file descriptors 1 and 2, as text in chunks, in a bounded queue.

Chunks end at UTF-8 boundaries and hold at most 64 KiB; invalid bytes are escaped with a backslash. A full queue makes
the pipe wait (`block`), so that the worker does; the other policies drop, and count what they drop.
"""

import asyncio
import codecs
from collections import deque
from enum import StrEnum
from typing import Final, Generic, Literal, TypeVar

import msgspec

CHUNK_BYTES: Final = 65_536
READ_BYTES: Final = CHUNK_BYTES - 3
"""Read at once: with what was left of a character before it, never more than a chunk."""

QUEUE_CHUNKS: Final = 1_024
QUEUE_CHARACTERS: Final = 4 * 1024 * 1024
"""With `block`, where waiting loses nothing: what may wait, so that a slow consumer costs little memory."""

StreamName = Literal["stdout", "stderr"]
T = TypeVar("T")


class Policy(StrEnum):
    """What becomes of output that nobody takes in time."""

    BLOCK = "block"
    DROP_NEW = "drop_new"
    DROP_OLDEST = "drop_oldest"
    ERROR = "error"


class Chunk(msgspec.Struct, frozen=True):
    """`execution_id` is None for what was written while none ran."""

    stream: StreamName
    text: str
    execution_id: str | None


class OutputLost(Exception):
    """The queue was full and its policy is `error`."""


class Stream(Generic[T]):
    """Output and what else came, in order, for one consumer. Only output counts, waits and is dropped.

    `dropped` counts the bytes of chunks that were dropped, as UTF-8.
    """

    def __init__(self, policy: Policy = Policy.BLOCK, size: int = QUEUE_CHUNKS) -> None:
        self._policy = policy
        self._size = size
        self._items: deque[Chunk | T] = deque()
        self._chunks = 0
        self._characters = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._discarding = False
        self.dropped = 0

    def use(self, policy: Policy) -> None:
        """From now on."""
        self._policy = policy

    def discard(self) -> None:
        """Nobody takes output any more: it is thrown away, and nothing waits for room."""
        self._discarding = True
        self._room.set()

    @property
    def full(self) -> bool:
        """Whether whoever reads the pipe has to wait (`block` only)."""
        if self._policy is not Policy.BLOCK or self._discarding:
            return False
        return self._chunks >= self._size or self._characters >= QUEUE_CHARACTERS

    def write(self, chunk: Chunk) -> None:
        """Raises nothing: with the policy `error` the loss is seen in `dropped`, by whoever ends the execution."""
        if self._discarding:
            return
        if self._policy is not Policy.BLOCK and self._chunks >= self._size:
            if self._policy is not Policy.DROP_OLDEST:
                self.dropped += _size(chunk)
                return
            oldest = next(item for item in self._items if isinstance(item, Chunk))
            self._items.remove(oldest)
            self._chunks -= 1
            self._characters -= len(oldest.text)
            self.dropped += _size(oldest)
        self._chunks += 1
        self._characters += len(chunk.text)
        self._put(chunk)
        if self.full:
            self._room.clear()

    def tell(self, item: T) -> None:
        self._put(item)

    def _put(self, item: Chunk | T) -> None:
        self._items.append(item)
        self._arrived.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._arrived.set()

    async def room(self) -> None:
        """Until it is not full."""
        await self._room.wait()

    async def take(self) -> list[Chunk | T]:
        """What is there, at least one item; [] at the end."""
        while not self._items:
            if self._ended:
                return []
            self._arrived.clear()
            await self._arrived.wait()
        taken = list(self._items)
        self._items.clear()
        self._chunks = self._characters = 0
        self._room.set()
        return taken


def _size(chunk: Chunk) -> int:
    return len(chunk.text.encode("utf-8", "surrogatepass"))


def pieces(text: str) -> list[str]:
    """Cut so that none is longer than a chunk as UTF-8; escapes of invalid bytes can make text longer than it came."""
    if len(text) * 4 <= CHUNK_BYTES or (len(text) <= CHUNK_BYTES and len(text.encode()) <= CHUNK_BYTES):
        return [text] if text else []
    step = CHUNK_BYTES // 4
    return [text[start : start + step] for start in range(0, len(text), step)]


class Decoder:
    """Bytes of one pipe as text; half a character waits for its rest."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def feed(self, data: bytes) -> str:
        return self._decoder.decode(data)

    def end(self) -> str:
        """What was left of half a character, escaped."""
        return self._decoder.decode(b"", final=True)
