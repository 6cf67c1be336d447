"""What an execution prints: as server-sent events, or as text; all of it, then what comes, until the execution ends.

`event: stdout` or `stderr`, `id:` the place in the stream of output, `data:` {text, attempt, offset}. `event:
truncated` {bytes} stands for what was not kept; the last is `event: end` {state}.
"""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from starlette.types import Send

from adapters.http.services import ExecutionStanding, Feed, Follow, Piece
from adapters.http.stream import RETRY_MS, LogEnded, Paced, Streaming, Streams
from domain.executions.state import END_NAMES


class OutputStream(Streaming):
    """`standing`: how the execution stood when `feed` was made; None when its end is not to be waited for."""

    def __init__(
        self,
        feed: Feed,
        execution_id: str,
        standing: ExecutionStanding | None,
        *,
        follow: Follow,
        wanted: str | None,
        text: bool,
        resumed: bool,
        streams: Streams,
        keep_alive_s: float,
    ) -> None:
        self.media_type = "text/plain" if text else "text/event-stream"
        super().__init__(streams)
        # A browser that follows shows each part at once.
        self.headers["x-accel-buffering"] = "no"
        self._feed = feed
        self._execution_id = execution_id
        self._standing = standing
        self._follow = follow
        self._wanted = wanted
        self._text = text
        self._keep_alive_s = keep_alive_s
        self._gaps = Gaps(resumed=resumed)
        self._state = "" if standing is None else str(standing.state)

    async def pump(self, send: Send) -> None:
        async def tell(body: bytes) -> None:
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": True})

        await tell(b"" if self._text else b"retry: %d\n\n" % RETRY_MS)
        async with asyncio.TaskGroup() as group, aclosing(Paced[Piece](self._feed, self._keep_alive_s)) as batches:
            watching = group.create_task(self._watch_for_the_end())
            with suppress(LogEnded):
                async for pieces in batches:
                    if not pieces and not self._text:
                        await tell(b": keep-alive\n\n")
                    await tell(b"".join(self._told(pieces)))
            watching.cancel()
        if not self._text:
            await tell(_frame("end", {"state": self._state}))

    async def _watch_for_the_end(self) -> None:
        standing = self._standing
        if standing is None or standing.has_ended:
            return
        begin = f".execution.{self._execution_id}."
        following: Any = self._follow(standing.position)
        async with aclosing(following) as batches:
            async for batch in batches:
                for stored in batch:
                    _, found, name = stored.subject.partition(begin)
                    if found and name in END_NAMES:
                        self._state = name
                        self._feed.finish()
                        return

    def _told(self, pieces: Iterable[Piece]) -> Iterable[bytes]:
        for piece in pieces:
            if missing := self._gaps.before(piece):
                text = f"[{missing} bytes were not kept]\n".encode()
                yield text if self._text else _frame("truncated", {"bytes": missing})
            if self._wanted in (None, piece.stream):
                yield piece.text.encode() if self._text else _told(piece)


class Gaps:
    """What was not kept of the output, seen by where its pieces begin."""

    def __init__(self, *, resumed: bool) -> None:
        # Of what was before a client came back nothing is known here.
        self._attempt = -1 if resumed else 0
        self._read = 0

    def before(self, piece: Piece) -> int:
        """How many bytes the attempt had written between what was told and this."""
        if piece.attempt != self._attempt:
            missing = 0 if self._attempt < 0 else piece.offset
        else:
            missing = max(0, piece.offset - self._read)
        self._attempt, self._read = piece.attempt, piece.end
        return missing


def _told(piece: Piece) -> bytes:
    data = {"text": piece.text, "attempt": piece.attempt, "offset": piece.offset}
    return b"id: %d\n" % piece.sequence + _frame(piece.stream, data)


def _frame(event: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event.encode(), msgspec.json.encode(data))
