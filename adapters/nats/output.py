"""The output of executions on its way into `TOWER_OUTPUT_{node}`, subject `tower.log.{node}.{execution_id}.{stream}`.

A message is a piece of output as UTF-8. Its headers: `Tower-Attempt`, and `Tower-Offset`, how many bytes of output the
attempt had written before it, so that a reader sees where something is missing.

Chunks are sent ahead of their acknowledgements, a few of each source; those that wait meanwhile are joined. After an
error or a broken connection, the last chunk that the stream holds says where to go on; `Nats-Msg-Id` is for those that
were still on their way then. Of more than `max_output_bytes`, first half and last half are kept: readers who follow see
all, and what leaves the last half is deleted from the stream.
"""

import asyncio
import base64
import secrets
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from adapters.nats import subjects
from adapters.nats.connection import ApiError, js_api, raise_api_error
from adapters.nats.wire import NoAnswer, NoResponders, WireClient, header_block, headers_of, publication
from handlers.execution_ports import StreamName, Written

ATTEMPT_HEADER: Final = "Tower-Attempt"
OFFSET_HEADER: Final = "Tower-Offset"

MIB: Final = 1024 * 1024
MAX_OUTPUT_BYTES: Final = 64 * MIB
CHUNK_BYTES: Final = 64 * 1024
WAITING_BYTES: Final = MIB
"""Of one source, until whoever writes has to wait."""

AHEAD: Final = 8
AHEAD_OF_ALL: Final = 64
"""Chunks of one source, and of all, that are sent and not acknowledged yet."""

ANSWER_S: Final = 10.0
RETRY_S: Final = 1.0
SLACK_BYTES: Final = 2 * MIB
"""By how much the last half may be too long before it is shortened."""

DELETED_AT_ONCE: Final = 64

NO_MESSAGE_CODES: Final = frozenset({10037, 10043, 10057})
"""There is no such message: never stored, or gone already."""

NO_STREAM: Final = b'{"error":{"description":"no stream takes output"}}'

STREAMS: Final[tuple[StreamName, ...]] = ("stdout", "stderr")

_log = structlog.get_logger("output")


class _Chunk:
    """What was sent once is not added to: the stream may hold it. `refused`: it does not."""

    def __init__(self, number: int, stream: StreamName, offset: int, data: bytes) -> None:
        self.number: Final = number
        self.stream: Final = stream
        self.offset: Final = offset
        self.data = bytearray(data)
        self.was_sent = self.refused = False


class _Kept:
    """Sequence and size of the messages behind the first half, oldest first; eight bytes each."""

    def __init__(self) -> None:
        self._packed = array("Q")
        self._first = 0
        self.size = 0

    def add(self, sequence: int, size: int) -> None:
        self._packed.append(sequence << 24 | size)
        self.size += size

    def beyond(self, limit: int, at_most: int) -> list[tuple[int, int]]:
        """The oldest, without which the rest is not larger than `limit`. `size` is for the caller to reduce."""
        taken: list[tuple[int, int]] = []
        left = self.size
        while left > limit and len(taken) < at_most:
            packed = self._packed[self._first]
            self._first += 1
            sequence, size = packed >> 24, packed & 0xFFFFFF
            left -= size
            taken.append((sequence, size))
        if self._first > len(self._packed) // 2:
            del self._packed[: self._first]
            self._first = 0
        return taken


class _Source:
    """One attempt of an execution, or a session between its executions."""

    def __init__(self, prefix: str, attempt: int) -> None:
        self.prefix: Final = prefix
        self.attempt: Final = attempt
        self.token: Final = secrets.token_hex(8)
        self.waiting: deque[_Chunk] = deque()
        self.sent: dict[int, _Chunk] = {}
        """By the number of the reply subject, in the order in which they were sent."""
        self.kept = _Kept()
        self.number = self.bytes = self.pending_bytes = self.truncated_bytes = self.position = 0
        self.finishing = False
        self.changed = asyncio.Event()

    def add(self, stream: StreamName, data: bytes) -> None:
        last = self.waiting[-1] if self.waiting else None
        fits = last is not None and last.stream == stream and len(last.data) + len(data) <= CHUNK_BYTES
        if last is not None and fits and not last.was_sent:
            last.data += data
        else:
            self.number += 1
            self.waiting.append(_Chunk(self.number, stream, self.bytes, data))
        self.bytes += len(data)
        self.pending_bytes += len(data)

    def stored(self, chunk: _Chunk, sequence: int, head_bytes: int) -> None:
        self.pending_bytes -= len(chunk.data)
        self.position = max(self.position, sequence)
        if sequence and chunk.offset + len(chunk.data) > head_bytes:
            self.kept.add(sequence, len(chunk.data))
        self.changed.set()

    async def change(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    def message(self, chunk: _Chunk, reply: str) -> bytes:
        block = header_block(
            {
                "Nats-Msg-Id": f"{self.token}-{chunk.number}",
                ATTEMPT_HEADER: str(self.attempt),
                OFFSET_HEADER: str(chunk.offset),
            }
        )
        return publication(f"{self.prefix}.{chunk.stream}", bytes(chunk.data), reply=reply, block=block)


class _Sent(NamedTuple):
    source: _Source
    at: float


class BrokerOutput:
    """The `OutputLog` port. Somebody owns `run`, which does all the sending; without it nothing arrives."""

    def __init__(self, client: WireClient, node: str, *, max_output_bytes: int = MAX_OUTPUT_BYTES) -> None:
        """`client` is the tower user's connection."""
        self._client = client
        self._node = subjects.checked_node(node)
        self._stream = subjects.output_stream(node)
        self._head_bytes = max_output_bytes // 2
        self._tail_bytes = max_output_bytes - self._head_bytes
        self._sources: dict[tuple[str, int], _Source] = {}
        self._ready: dict[str, _Source] = {}
        """Those with something to do, by token, who waits longest first."""
        self._flying: dict[int, _Sent] = {}
        self._replies = 0
        self._inbox = ""
        self._wake = asyncio.Event()
        self._trouble = ""
        self.written_bytes = 0
        """Since the start, of all executions."""

    async def write(self, execution_id: str, attempt: int, stream: StreamName, text: str) -> None:
        key = execution_id, attempt
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = _Source(subjects.output_prefix(self._node, execution_id), attempt)
        before = source.bytes
        for data in _pieces(text.encode("utf-8", "backslashreplace")):
            source.add(stream, data)
        self.written_bytes += source.bytes - before
        self._has_to_do(source)
        while source.pending_bytes > WAITING_BYTES:
            await source.change()

    async def finish(self, execution_id: str, attempt: int) -> Written:
        source = self._sources.get((execution_id, attempt))
        if source is None:
            return Written(position=0, written_bytes=0)
        source.finishing = True
        self._has_to_do(source)
        while source.pending_bytes or source.kept.size > self._tail_bytes:
            await source.change()
        self._sources.pop((execution_id, attempt), None)
        return Written(position=source.position, written_bytes=source.bytes, truncated_bytes=source.truncated_bytes)

    def _has_to_do(self, source: _Source) -> None:
        self._ready[source.token] = source
        self._wake.set()

    # --- sending: one task -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send what is written, until cancelled."""
        self._inbox = self._client.new_inbox() + "."
        subscription = await self._client.subscribe_raw(self._inbox + "*", self._acknowledged)
        self._client.reconnected.append(self._reconnected)
        try:
            while True:
                await self._something_to_do()
                if self._trouble:
                    await self._find_out_what_is_stored()
                else:
                    await self._do_it()
        finally:
            self._client.reconnected.remove(self._reconnected)
            await self._client.unsubscribe_raw(subscription)

    async def _something_to_do(self) -> None:
        oldest = next(iter(self._flying.values()), None)
        try:
            async with asyncio.timeout_at(None if oldest is None else oldest.at + ANSWER_S):
                await self._wake.wait()
        except TimeoutError:
            self._in_trouble("no acknowledgement")
        self._wake.clear()

    async def _do_it(self) -> None:
        while self._ready and not self._trouble:
            room = AHEAD_OF_ALL - len(self._flying)
            if room <= 0:
                return
            source = self._ready.pop(next(iter(self._ready)))
            await self._send(source, min(room, AHEAD - len(source.sent)))
            await self._shorten(source)

    async def _send(self, source: _Source, at_most: int) -> None:
        messages: list[bytes] = []
        now = asyncio.get_running_loop().time()
        while source.waiting and len(messages) < at_most:
            chunk = source.waiting.popleft()
            self._replies += 1
            source.sent[self._replies] = chunk
            self._flying[self._replies] = _Sent(source, now)
            chunk.was_sent, chunk.refused = True, False
            messages.append(source.message(chunk, f"{self._inbox}{self._replies}"))
        if messages:
            try:
                await self._client.send(b"".join(messages))
            except NoAnswer as error:
                self._in_trouble(str(error))

    def _acknowledged(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        number = int(subject[len(self._inbox) :])
        sent = self._flying.pop(number, None)
        if sent is None:
            return
        source = sent.source
        try:
            answer: dict[str, Any] = msgspec.json.decode(payload or NO_STREAM)
            raise_api_error(answer)
        except ApiError as error:
            source.sent[number].refused = True
            self._in_trouble(str(error))
            return
        source.stored(source.sent.pop(number), int(answer["seq"]), self._head_bytes)
        self._has_to_do(source)

    def _reconnected(self) -> None:
        if self._flying:
            self._in_trouble("the connection was lost")

    def _in_trouble(self, why: str) -> None:
        if not self._trouble:
            _log.warning("output will be sent again", reason=why)
            self._trouble = why
        self._wake.set()

    async def _find_out_what_is_stored(self) -> None:
        """And send the rest again. While the broker does not tell, all waits."""
        sources = [source for source in self._sources.values() if source.sent]
        refused = any(chunk.refused for source in sources for chunk in source.sent.values())
        if refused or not self._client.is_connected:
            await self._client.reconnected_within(RETRY_S)
        try:
            for source in sources:
                self._again(source, *await self._last_stored(source))
        except (ApiError, NoAnswer, NoResponders) as error:
            self._trouble = str(error)
            await self._client.reconnected_within(RETRY_S)
        else:
            self._trouble = ""
        self._wake.set()

    def _again(self, source: _Source, last_number: int, sequence: int) -> None:
        for number, chunk in reversed(source.sent.items()):
            self._flying.pop(number, None)
            if chunk.refused or chunk.number > last_number:
                source.waiting.appendleft(chunk)
            else:
                source.stored(chunk, sequence if chunk.number == last_number else 0, self._head_bytes)
        source.sent.clear()
        self._has_to_do(source)

    async def _last_stored(self, source: _Source) -> tuple[int, int]:
        """Number and sequence of the last chunk of this source in the stream; (0, 0) for none."""
        last = 0, 0
        for stream in STREAMS:
            request = {"last_by_subj": f"{source.prefix}.{stream}"}
            try:
                answer = await js_api(self._client, f"STREAM.MSG.GET.{self._stream}", request)
            except ApiError as error:
                if error.err_code not in NO_MESSAGE_CODES:
                    raise
                continue
            message = answer["message"]
            token, _, number = headers_of(base64.b64decode(message.get("hdrs", "")))["Nats-Msg-Id"].partition("-")
            if token == source.token:
                last = max(last, (int(number), int(message["seq"])))
        return last

    # --- no more than is kept of one -------------------------------------------------------------------------------

    async def _shorten(self, source: _Source) -> None:
        slack = 0 if source.finishing and not source.pending_bytes else SLACK_BYTES
        if source.kept.size > self._tail_bytes + slack:
            await self._delete(source, source.kept.beyond(self._tail_bytes, DELETED_AT_ONCE))
            self._has_to_do(source)

    async def _delete(self, source: _Source, messages: Sequence[tuple[int, int]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for sequence, _ in messages:
                    group.create_task(self._delete_one(sequence))
        except* (NoAnswer, NoResponders, ApiError) as errors:
            # They stay until the stream's own limits take them.
            _log.warning("output was not shortened", reason=str(errors.exceptions[0]))
        deleted = sum(size for _, size in messages)
        source.kept.size -= deleted
        source.truncated_bytes += deleted
        source.changed.set()

    async def _delete_one(self, sequence: int) -> None:
        try:
            await js_api(self._client, f"STREAM.MSG.DELETE.{self._stream}", {"seq": sequence, "no_erase": True})
        except ApiError as error:
            if error.err_code not in NO_MESSAGE_CODES:
                raise


def _pieces(data: bytes) -> Iterator[bytes]:
    """At most `CHUNK_BYTES` each, cut between characters."""
    start = 0
    while start < len(data):
        end = min(start + CHUNK_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[start:end]
        start = end
