"""A session as a person is shown it: what it says, what it asks, how its turns and the session itself end.

Two streams are told as one, the log's and that of output: what a turn says comes between its start and its end. An
`id` is the place in both, so that a client which comes back is told nothing twice and misses nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, Literal, Self, TypeVar

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from adapters.http.output_stream import Gaps
from adapters.http.services import Feed, Follow, Piece, SessionStanding
from adapters.http.stream import RETRY_MS, LogEnded, Streaming, Streams
from domain import promises as p
from domain.catalogue import UndecodableEvent
from domain.envelope import Recorded, Stored, decode, foreign
from domain.messages import HOST, TOWER
from domain.sessions import events as e
from domain.sessions.ids import asked_in

Policy = Literal["notify", "restart", "ignore"]
"""What a surface wants when the bundle of its session was loaded anew."""

MAX_NUMBER: Final = 2**63 - 1
_LAST: Final = "-end"

_log = structlog.get_logger("http")


class Place(msgspec.Struct):
    """How far a surface was told: `position` in the log, `sequence` in the stream of output, the `turn` under way, 0
    for none; `last`: there is nothing behind it."""

    position: int
    sequence: int = 0
    turn: int = 0
    last: bool = False

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None for what is no place."""
        numbers = text.removesuffix(_LAST).split("-")
        if len(numbers) != 3 or not all(each.isascii() and each.isdigit() for each in numbers):
            return None
        position, sequence, turn = map(int, numbers)
        if max(position, sequence, turn) > MAX_NUMBER:
            return None
        return cls(position, sequence, turn, text.endswith(_LAST))

    def __str__(self) -> str:
        return f"{self.position}-{self.sequence}-{self.turn}{_LAST if self.last else ''}"


class Told(msgspec.Struct, frozen=True):
    """What there is to a session besides what it says: name and data of a server-sent event."""

    event: str
    data: Mapping[str, Any]


class SurfaceStream(Streaming):
    """`feed(after)`: the output of the session. `standing`: how the session stands now. `replaced` is set when the same
    surface attaches again."""

    media_type = "text/event-stream"

    def __init__(
        self,
        session_id: str,
        place: Place,
        policy: Policy,
        *,
        follow: Follow,
        feed: Callable[[int], Feed],
        standing: Callable[[], SessionStanding],
        replaced: asyncio.Event,
        streams: Streams,
        keep_alive_s: float,
        closed: Callable[[], None],
    ) -> None:
        super().__init__(streams)
        self.headers["x-accel-buffering"] = "no"
        self._begins = (f".session.{session_id}.", f".promise.{asked_in(session_id)}")
        self._place = place
        self._policy = policy
        self._follow = follow
        self._feed = feed
        self._standing = standing
        self._replaced = replaced
        self._keep_alive_s = keep_alive_s
        self._closed = closed
        self._gaps = Gaps(resumed=place.sequence > 0)
        self._output: Ahead[Piece] | None = None
        self._feeding: Feed | None = None
        self._reload: Mapping[str, Any] | None = None
        self._until: int | None = None
        """Where the log was when the session had nothing more to do: what came before is told first."""
        self._send: Callable[[bytes], Awaitable[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closed()

    # --- both streams ----------------------------------------------------------------------------------------------

    async def pump(self, send: Send) -> None:
        async def tell(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        self._send = tell
        await tell(b"retry: %d\n\n" % RETRY_MS)
        replaced = asyncio.ensure_future(self._replaced.wait())
        log = Ahead(self._follow(self._place.position))
        try:
            if self._place.turn:
                await self._listen(self._place.turn)
            while not await self._is_over():
                waiting: set[asyncio.Future[Any]] = {log.next, replaced}
                if self._output is not None:
                    waiting.add(self._output.next)
                done, _ = await asyncio.wait(waiting, timeout=self._keep_alive_s, return_when=asyncio.FIRST_COMPLETED)
                if replaced in done:
                    await self._end("replaced", {})
                    return
                if self._output is not None and self._output.next in done:
                    if not await self._say(self._output.take()):
                        # What it says next belongs to a turn that the log has not come to yet.
                        await self._hush()
                elif log.next in done:
                    await self._tell_of(log.take())
                else:
                    await tell(b": keep-alive\nid: %s\n\n" % str(self._place).encode())
        finally:
            replaced.cancel()
            await self._hush()
            await log.aclose()

    async def _is_over(self) -> bool:
        """Told, when nothing more can come."""
        standing = self._standing()
        restart = self._policy == "restart" and standing.stale and not standing.active
        if not (restart or standing.over):
            self._until = None
            return False
        if self._until is None:
            self._until = standing.position
        if self._place.position < self._until:
            return False
        if restart:
            spawn = {"bundle": standing.bundle, "session_name": standing.session_name}
            await self._end("restart", {**(self._reload or {}), "spawn": spawn})
        else:
            await self._end("end", {})
        return True

    async def _end(self, event: str, data: Mapping[str, Any]) -> None:
        self._place.last = True
        await self._frame(event, data)

    async def _frame(self, event: str, data: Mapping[str, Any]) -> None:
        lines = b"id: %s\nevent: %s\ndata: %s\n\n"
        await self._send(lines % (str(self._place).encode(), event.encode(), msgspec.json.encode(data)))

    # --- what it says ----------------------------------------------------------------------------------------------

    async def _listen(self, turn: int) -> None:
        """From the start of a turn to its end. Raises `OutputError`."""
        await self._hush()
        self._place.turn = turn
        self._feeding = self._feed(self._place.sequence)
        await self._feeding.open()
        self._output = Ahead(self._feeding)

    async def _hush(self) -> None:
        output, self._output, self._feeding = self._output, None, None
        if output is not None:
            await output.aclose()

    async def _say(self, pieces: Sequence[Piece]) -> bool:
        """Whether there may be more of this turn."""
        for piece in pieces:
            if piece.attempt > self._place.turn:
                return False
            if missing := self._gaps.before(piece):
                await self._frame("truncated", {"turn": piece.attempt, "bytes": missing})
            self._place.sequence = piece.sequence
            await self._frame("output", {"turn": piece.attempt, "offset": piece.offset, "text": piece.text})
        return bool(pieces)

    async def _say_the_rest(self, position: int) -> None:
        """Of a turn whose end is in the log: all that it said is in the stream by then."""
        if self._feeding is None or self._output is None:
            return
        self._feeding.finish(position or None)
        with suppress(LogEnded):
            while await self._say(await self._output.taken()):
                pass
        await self._hush()

    # --- what happens ----------------------------------------------------------------------------------------------

    async def _tell_of(self, batch: Sequence[Stored]) -> None:
        for stored in batch:
            recorded = self._own(stored)
            if recorded is not None:
                await self._tell(recorded)
            self._place.position = stored.position

    def _own(self, stored: Stored) -> Recorded | None:
        if not any(begin in stored.subject for begin in self._begins) or foreign(stored) is not None:
            return None
        try:
            return decode(stored)
        except UndecodableEvent as error:
            _log.error("event not readable", position=stored.position, reason=str(error))
            return None

    async def _tell(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, e.TurnEnd) and event.turn is not None and self._place.turn:
            await self._say_the_rest(event.output_position)
            self._place.turn = 0
        self._place.position = recorded.position
        if isinstance(event, e.SessionTurnStarted):
            await self._listen(event.turn)
        if isinstance(event, e.SessionStale):
            self._reload = {"from_digest": event.from_digest, "to_digest": event.to_digest}
            if self._policy != "notify":
                return
        told = told_of(recorded)
        if told is not None:
            await self._frame(told.event, told.data)


def told_of(recorded: Recorded) -> Told | None:
    """An event as a surface is told of it; None for what is no matter of a person's."""
    event, time = recorded.event, recorded.envelope.time
    match event:
        case e.SessionStale():
            name, more = "bundle_reloaded", {"from_digest": event.from_digest, "to_digest": event.to_digest}
        case p.PromiseCreated(data=data, promise_id=promise_id) if event.owner in (HOST, TOWER):
            asked = data.get("kind") if isinstance(data, dict) else None
            name = "approval_requested" if asked == "approval" else "input_requested"
            more = {"promise_id": promise_id, "deadline": event.deadline, "data": data}
        case p.PromiseResolved() | p.PromiseRejected() | p.PromiseCancelled() | p.PromiseTimedOut():
            # Not the answer itself: whoever gave it knows it, and for others it may be a secret.
            name, more = "answered", {"promise_id": event.promise_id, "state": str(p.SETTLED_AS[type(event)])}
        case e.SessionEvent():
            name = recorded.envelope.type.split(".")[2]
            more = {each: value for each, value in msgspec.structs.asdict(event).items() if each in _SHOWN}
        case _:
            return None
    return Told(name, {"time": time, **more})


_SHOWN: Final = frozenset(
    {"turn", "instruction", "output", "output_bytes", "exit_code", "execution_time", "turn_count", "error"}
    | {"error_type", "reason", "session_name", "bundle", "runtime", "background", "parent_session_id", "warnings"}
)
"""Fields of a session's events that are a person's matter."""


T = TypeVar("T")


class Ahead(Generic[T]):
    """The batches of a source, the `next` of which is waited for. `LogEnded` at its end."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.next: asyncio.Future[Sequence[T]] = asyncio.ensure_future(self._next())

    async def _next(self) -> Sequence[T]:
        try:
            return await self._source.__anext__()
        except StopAsyncIteration:
            raise LogEnded("there is no more") from None

    def take(self) -> Sequence[T]:
        batch = self.next.result()
        self.next = asyncio.ensure_future(self._next())
        return batch

    async def taken(self) -> Sequence[T]:
        await asyncio.wait({self.next})
        return self.take()

    async def aclose(self) -> None:
        self.next.cancel()
        await asyncio.gather(self.next, return_exceptions=True)
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()
