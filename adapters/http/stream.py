"""Events as they are recorded, as server-sent events: `id:` the position, `event:` the type, `data:` the CloudEvent.

Every client reads the log itself, at its own pace: a slow one holds back nobody and is never cut off.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final, Generic, Protocol, TypeVar

import msgspec
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.http.parameters import StreamQuery
from adapters.http.services import ContainerOf, Follow
from domain import catalogue
from domain.catalogue import UndecodableEvent
from domain.envelope import Envelope, Recorded, Stored, decode, encode, encode_data, foreign
from domain.node import CommandRejected

RETRY_MS: Final = 1000
"""What a client is told to wait before it connects again."""

LAST_WORD_S: Final = 0.5
"""How long a client that does not read may hold up the end of its stream."""

UNDECODABLE: Final = "undecodable"
"""Type of the server-sent event that stands for a log entry that cannot be read."""

FOREIGN: Final = "foreign"
"""Type of the one that stands for a log entry that the tower did not write; its payload is not passed on."""

_log = structlog.get_logger("http")


class Streams:
    """The open streams of one server: at most `limit`; `stop()` ends them all.

    `cut` breaks the connection of a client address: the server puts its own in.
    """

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self.open = 0
        self.cut: Callable[[object], None] = lambda client: None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def stopped(self) -> None:
        await self._stopping.wait()


class Streaming(Response, ABC):
    """Runs until the client goes, the server stops, or `pump` has sent all."""

    def __init__(self, streams: Streams) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._streams = streams

    @abstractmethod
    async def pump(self, send: Send) -> None:
        """Send parts of the body, the last one as well with `more_body`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.open += 1
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            ends = [
                asyncio.create_task(self.pump(send)),
                asyncio.create_task(_gone(receive)),
                asyncio.create_task(self._streams.stopped()),
            ]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in ends:
                    task.cancel()
                results = await asyncio.gather(*ends, return_exceptions=True)
            failed = results[0]
            if isinstance(failed, Exception):
                _log.warning("stream ended", reason=str(failed), kind=type(failed).__name__)
            await self._last_word(scope, receive, send)
        finally:
            self._streams.open -= 1

    async def _last_word(self, scope: Scope, receive: Receive, send: Send) -> None:
        """End the response; a client that does not even take that would hold up the stop, so it is cut off."""
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self._streams.cut(scope.get("client"))
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):
                    await _gone(receive)


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Source(Protocol[T_co]):
    def __anext__(self) -> Awaitable[Sequence[T_co]]: ...


class EventStream(Streaming):
    """Until the log cannot be followed any more."""

    media_type = "text/event-stream"

    def __init__(
        self,
        follow: Follow,
        after: int,
        wanted: StreamQuery,
        *,
        streams: Streams,
        keep_alive_s: float,
        own: "Own | None" = None,
    ) -> None:
        """`own` narrows the stream to what a container's peer may see."""
        super().__init__(streams)
        self._follow = follow
        self._after = after
        self._wanted = wanted
        self._keep_alive_s = keep_alive_s
        self._own = own

    async def pump(self, send: Send) -> None:
        position, clock = self._after, asyncio.get_running_loop().time
        opening = b": events after %d\nretry: %d\nid: %d\n\n" % (position, RETRY_MS, position)
        await send({"type": "http.response.body", "body": opening, "more_body": True})
        sent_at = clock()
        async with aclosing(Paced(self._follow(position), self._keep_alive_s)) as batches:
            async for batch in batches:
                body = b"".join(filter(None, (server_sent(stored, self._wanted, self._own) for stored in batch)))
                position = batch[-1].position if batch else position
                if not body and clock() - sent_at >= self._keep_alive_s:
                    # The id alone moves the place from which the client resumes, past what it did not ask for.
                    body = b": keep-alive\nid: %d\n\n" % position
                if body:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    sent_at = clock()


class Paced(Generic[T]):
    """The batches of `source`, and an empty one whenever `interval_s` passed without any. `LogEnded` at its end."""

    def __init__(self, source: Source[T], interval_s: float) -> None:
        self._source = source
        self._interval_s = interval_s
        self._next: asyncio.Task[Sequence[T]] | None = None

    def __aiter__(self) -> "Paced[T]":
        return self

    async def __anext__(self) -> Sequence[T]:
        if self._next is None:
            self._next = asyncio.ensure_future(_next_of(self._source))
        await asyncio.wait({self._next}, timeout=self._interval_s)
        if not self._next.done():
            return ()
        done, self._next = self._next, None
        return done.result()

    async def aclose(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


async def _next_of(source: Source[T]) -> Sequence[T]:
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        raise LogEnded("the log is not followed any more") from None


class LogEnded(Exception):
    """The log's iterator ended, which it does only when the tower stops."""


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Own:
    """The events of one container: those that name it, and those of its layouts, panes and agents.

    `container_of` tells by the tower's state, which an entry of the log may be a moment ahead of: what was seen to be
    made in the container is its own all the same.
    """

    def __init__(self, container_id: str, container_of: ContainerOf) -> None:
        self._container_id = container_id
        self._container_of = container_of
        self._made: set[str] = set()

    def has(self, recorded: Recorded) -> bool:
        envelope, event = recorded.envelope, recorded.event
        if isinstance(event, CommandRejected):
            return envelope.actor == self._container_id
        found = self._container_of(event)
        if found is None:
            return envelope.subject in self._made
        if found == self._container_id and getattr(event, "container_id", None) == found:
            self._made.add(envelope.subject)
        return found == self._container_id


def server_sent(stored: Stored, wanted: StreamQuery, own: Own | None = None) -> bytes | None:
    """One entry of the log as a server-sent event; None if it was not asked for, or is not for who asks."""
    if (reason := foreign(stored)) is not None:
        told = {"position": stored.position, "subject": stored.subject, "reason": reason}
        return None if own is not None else _frame(stored.position, FOREIGN, msgspec.json.encode(told))
    try:
        recorded = decode(stored)
        envelope, payload = _current(stored, recorded)
    except UndecodableEvent as error:
        if own is not None:
            return None
        _log.error("event not readable", position=stored.position, reason=str(error))
        event, data = UNDECODABLE, msgspec.json.encode({"position": stored.position, "reason": str(error)})
        return _frame(stored.position, event, data)
    if not matches(envelope, wanted) or (own is not None and not own.has(recorded)):
        return None
    return _frame(stored.position, envelope.type, payload[:-1] + b',"position":%d}' % stored.position)


def _frame(position: int, event: str, data: bytes) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (position, event.encode(), data)


def _current(stored: Stored, recorded: Recorded) -> tuple[Envelope, bytes]:
    """Envelope and JSON of an entry, in today's version of its type."""
    envelope, current = recorded.envelope, catalogue.event_type(recorded.event).wire_name
    if envelope.type == current and b"\n" not in stored.payload:
        return envelope, stored.payload
    envelope = msgspec.structs.replace(envelope, type=current, data=encode_data(recorded.event))
    return envelope, encode(envelope)


def matches(envelope: Envelope, wanted: StreamQuery) -> bool:
    """Whether an event meets every condition given but `after_position`."""
    return (
        wanted.kind in (None, envelope.kind)
        and wanted.id in (None, envelope.subject)
        and wanted.type in (None, envelope.type)
        and wanted.actor in (None, envelope.actor)
        and wanted.correlation_id in (None, envelope.correlationid)
        and (wanted.since is None or envelope.time >= wanted.since)
        and (wanted.until is None or envelope.time < wanted.until)
    )
