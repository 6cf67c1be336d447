"""The event log on JetStream: fenced appends, fast reads, an endless follow."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, Protocol

import msgspec

from adapters.nats import subjects
from adapters.nats.connection import ApiError, js_api, raise_api_error
from adapters.nats.pulling import Lost, StreamReader, open_again
from adapters.nats.tail import Tail
from adapters.nats.wire import NoAnswer, NoResponders, WireClient, header_block, headers_of, publication
from domain.envelope import Stored
from handlers.ports import Entry, LogError, LogFull, LogUnavailable, WrongLastPosition

MAX_BATCH: Final = 1000
FEW: Final = 2
FEW_ON_DISK: Final = 8
"""So many at most are faster by themselves, one behind the other, than as an atomic batch that is staged in memory, or
on a disk."""

APPEND_TIMEOUT_S: Final = 10.0

EXPECTED_LAST: Final = "Nats-Expected-Last-Sequence"

LOOK_S: Final = 2.0
"""How often a follower of our own appends looks whether somebody else appended."""

WRONG_LAST_CODES: Final = frozenset({10071, 10164})
"""The stream's last sequence is not the expected one: of a plain publish or a batch (10071), of a batch in a
cluster (10164)."""

FULL_CODES: Final = frozenset({10077, 10023, 10047, 10176})
"""Maximum bytes or messages reached with discard new; no storage left for the server; a batch that it could not keep
(what a full disk does to a batch). Nothing was recorded."""


def log_error(error: ApiError) -> LogError:
    """What a refused publish means for the writer: the only place where the broker's codes are read."""
    if error.err_code in WRONG_LAST_CODES:
        return WrongLastPosition(error.description)
    if error.err_code in FULL_CODES:
        return LogFull(error.description)
    if error.code in (408, 500, 503):
        return LogUnavailable(str(error))
    return LogError(str(error))


def stored_headers(block: bytes) -> dict[str, str]:
    """The headers as appended: what the broker and the fence added (`Nats-…`) is left out."""
    headers: dict[str, str] = {}
    for line in block.decode().split("\r\n")[1:-2]:
        if not line.startswith("Nats-"):
            name, _, value = line.partition(": ")
            headers[name] = value
    return headers


def _stored(sequence: int, _stamp: bytes, subject: bytes, header: bytes, payload: bytes) -> Stored:
    return Stored(sequence, subject.decode(), payload, stored_headers(header) if header else {})


class Store(Protocol):
    """What is known of the store under the log. Asked before an append, while none is under way."""

    def shortage(self) -> str | None:
        """Why nothing may be appended now; None while there is room."""
        ...

    def stages_in_memory(self) -> bool:
        """Whether the broker keeps an atomic batch in memory until it commits it."""
        ...


class UnknownStore:
    """Of a broker that runs elsewhere."""

    def shortage(self) -> str | None:
        return None

    def stages_in_memory(self) -> bool:
        return False


class JetStreamLog:
    """The `EventLog` port over `TOWER_EVENTS_{node}`. One append at a time; reads are independent of each other."""

    def __init__(
        self,
        client: WireClient,
        node: str,
        *,
        append_timeout_s: float = APPEND_TIMEOUT_S,
        store: Store | None = None,
    ) -> None:
        self._client = client
        self._stream = subjects.events_stream(subjects.checked_node(node))
        self._append_timeout_s = append_timeout_s
        self._store = store or UnknownStore()
        # Two fenced appends in flight could both be right about the position and arrive in either order.
        self._appending = asyncio.Lock()
        self._together = False
        self._tail = Tail()

    async def append(self, entries: Sequence[Entry], *, expected_last: int) -> int:
        try:
            last = await self._append(entries, expected_last)
        except LogFull:
            raise
        except BaseException:
            self._tail.lost()
            raise
        self._tail.appended(entries, last)
        return last

    async def _append(self, entries: Sequence[Entry], expected_last: int) -> int:
        if not 1 <= len(entries) <= MAX_BATCH:
            raise ValueError(f"an append holds 1 to {MAX_BATCH} entries, not {len(entries)}")
        if (reason := self._store.shortage()) is not None:
            raise LogFull(reason)
        singly = self._goes_singly(entries)
        before, last_subject, last_block = (_singly if singly else _together)(entries, expected_last)
        async with self._appending:
            try:
                reply = await self._client.ask(
                    last_subject,
                    entries[-1].payload,
                    block=last_block,
                    before=before,
                    timeout_s=self._append_timeout_s,
                )
            except (NoAnswer, NoResponders) as error:
                raise LogUnavailable(str(error)) from error
        answer: dict[str, Any] = msgspec.json.decode(reply.payload)
        try:
            raise_api_error(answer)
        except ApiError as error:
            if singly and len(entries) > 1:
                # Only the last one answers: what became of those before it, and why, a batch will tell.
                self._together = True
                raise LogUnavailable(f"one of {len(entries)} entries was refused: {error}") from error
            raise log_error(error) from error
        self._together = False
        if not singly and len(entries) > 1 and answer.get("count") != len(entries):
            raise LogError(f"the broker committed {answer.get('count')} of {len(entries)} messages: no atomic batches?")
        return int(answer["seq"])

    def _goes_singly(self, entries: Sequence[Entry]) -> bool:
        if len(entries) == 1:
            return True
        apart = not self._together and not any(entry.joined for entry in entries)
        if apart and len(entries) <= FEW:
            return True
        in_memory = self._store.stages_in_memory()
        return apart and not in_memory and len(entries) <= FEW_ON_DISK

    async def last_position(self) -> int:
        state = await self._state()
        return int(state["last_seq"])

    async def first_position(self) -> int:
        """The first position still held (1 unless older ones were pruned; last + 1 for an empty log)."""
        state = await self._state()
        return int(state["first_seq"])

    async def _state(self) -> dict[str, Any]:
        try:
            return (await js_api(self._client, f"STREAM.INFO.{self._stream}"))["state"]
        except (NoAnswer, NoResponders) as error:
            raise LogUnavailable(str(error)) from error
        except ApiError as error:
            raise log_error(error) from error

    async def get(self, position: int) -> Stored | None:
        if position < 1:
            return None
        try:
            reply = await self._client.ask(f"$JS.API.DIRECT.GET.{self._stream}", b'{"seq":%d}' % position)
        except (NoAnswer, NoResponders) as error:
            raise LogUnavailable(str(error)) from error
        if reply.status == 404:
            return None
        if reply.status:
            raise LogError(f"direct get answered {reply.header[9:60].decode('utf-8', 'replace')}")
        subject = headers_of(reply.header)["Nats-Subject"]
        return Stored(position, subject, reply.payload, stored_headers(reply.header))

    async def read(self, after: int, until: int | None = None) -> AsyncGenerator[Sequence[Stored]]:
        last = await self.last_position()
        end = last if until is None else min(until, last)
        if after >= end:
            return
        reader = StreamReader(self._client, self._stream, _stored, after=after)
        try:
            await self._open(reader)
            while not reader.exhausted:
                try:
                    batch = await reader.next(whole=True)
                except Lost as lost:
                    await self._open_again(reader, str(lost))
                    continue
                if batch[-1].position >= end:
                    yield [stored for stored in batch if stored.position <= end]
                    return
                yield batch
        finally:
            await reader.close()

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Stored]]:
        """Entries after `after` as they come, for ever, in batches of up to 500; survives the broker's restarts.

        Close it (`contextlib.aclosing`) when done. A slow reader holds back only itself. What was appended through this
        object is taken from memory, everything else from the broker.
        """
        position = after
        reader: StreamReader[Stored] | None = None
        try:
            while True:
                batch = self._tail.after(position)
                if batch is None:
                    if reader is None:
                        reader = StreamReader(self._client, self._stream, _stored, after=position)
                        await self._open_again(reader, "start")
                    batch = await self._next(reader)
                elif reader is not None:
                    await reader.close()
                    reader = None
                if batch:
                    position = batch[-1].position
                    yield batch
                elif reader is None and not await self._tail.changed(LOOK_S):
                    await self._look_for_others(position)
        finally:
            if reader is not None:
                await reader.close()

    async def _next(self, reader: StreamReader[Stored]) -> list[Stored]:
        """[] when the consumer had to be made anew."""
        try:
            return await reader.next()
        except Lost as lost:
            await self._open_again(reader, str(lost))
            return []

    async def _look_for_others(self, position: int) -> None:
        """Nothing was appended here for a while: did another tower?"""
        try:
            if await self.last_position() > position:
                self._tail.lost()
        except LogUnavailable:
            # Nothing can be appended by anyone until the broker is back.
            return

    async def _open(self, reader: StreamReader[Stored]) -> None:
        try:
            await reader.open()
        except (NoAnswer, NoResponders) as error:
            raise LogUnavailable(str(error)) from error
        except ApiError as error:
            raise log_error(error) from error

    async def _open_again(self, reader: StreamReader[Stored], why: str) -> None:
        try:
            await open_again(reader, why)
        except ApiError as error:
            raise log_error(error) from error


_Publications = tuple[bytes, str, bytes]
"""The publications before the last one, the last one's subject and its header block."""


def _singly(entries: Sequence[Entry], expected_last: int) -> _Publications:
    """Each expects its predecessor right before it, so that none is taken after one that was not: by its message id,
    for a position alone another writer's entry could have filled."""
    append_id = secrets.token_hex(8)
    fence = {EXPECTED_LAST: str(expected_last)}
    parts: list[bytes] = []
    for number, entry in enumerate(entries[:-1], 1):
        message_id = f"{append_id}-{number}"
        block = header_block({**_own(entry), **fence, "Nats-Msg-Id": message_id})
        parts.append(publication(entry.subject, entry.payload, block=block))
        fence = {"Nats-Expected-Last-Msg-Id": message_id}
    return b"".join(parts), entries[-1].subject, header_block({**_own(entries[-1]), **fence})


def _together(entries: Sequence[Entry], expected_last: int) -> _Publications:
    """All or nothing. Only the first carries the expectation."""
    batch_id = secrets.token_hex(16)
    parts: list[bytes] = []
    block = b""
    for number, entry in enumerate(entries, 1):
        headers = {**_own(entry), "Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
        if number == 1:
            headers[EXPECTED_LAST] = str(expected_last)
        if number == len(entries):
            headers["Nats-Batch-Commit"] = "1"
        block = header_block(headers)
        if number < len(entries):
            parts.append(publication(entry.subject, entry.payload, block=block))
    return b"".join(parts), entries[-1].subject, block


def _own(entry: Entry) -> dict[str, str]:
    """Whoever appends decides about `Nats-` headers here and nowhere else."""
    own = dict(entry.headers)
    if any(name.startswith("Nats-") for name in own):
        raise ValueError("an entry must not carry Nats- headers")
    return own
