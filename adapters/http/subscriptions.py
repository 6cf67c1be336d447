"""Subscriptions to what sessions tell, as server-sent events, and how far each one is. The operator's alone."""

import asyncio
from contextlib import aclosing
from typing import Annotated, Final

import msgspec
import structlog
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import Send

from adapters.http import background_rows as rows
from adapters.http.answers import json_response, validation_failed
from adapters.http.benches import bench_allowed
from adapters.http.documents import TOLD_RESPONSES, responses
from adapters.http.parameters import NoParameters, Position
from adapters.http.routes import resumed_after, room_for_a_stream, services_of
from adapters.http.services import Follow
from adapters.http.stream import RETRY_MS, Paced, Streaming, Streams
from adapters.http.subscribers import Subscribers
from domain.catalogue import UndecodableEvent
from domain.envelope import Stored
from domain.sessions.hearing import heard
from domain.sessions.telling import Wanted, wrong_patterns

router = APIRouter(prefix="/v1", tags=["sessions"], dependencies=[bench_allowed])

MAX_NAMES: Final = 100
_MANY: Final = ("name", "source")

_log = structlog.get_logger("http")


class SubscriptionQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: list[str] = Field(
        default=["*"],
        max_length=MAX_NAMES,
        description="Names of events: `work:completed`, `work:*`, `*`; may be given several times.",
        examples=[["work:*", "session:error"]],
    )
    source: list[str] = Field(
        default=[],
        max_length=MAX_NAMES,
        description="Only what these sessions tell; may be given several times. All of them without it.",
    )
    after_position: Position | None = Field(None, description="After this position of the log.", examples=[1200])


class SessionEventStream(Streaming):
    """Reads the log at the pace of its client. Until the log cannot be followed any more."""

    media_type = "text/event-stream"

    def __init__(
        self,
        follow: Follow,
        after: int,
        wanted: Wanted,
        *,
        among: Subscribers,
        streams: Streams,
        keep_alive_s: float,
    ) -> None:
        super().__init__(streams)
        self.wanted: Final = wanted
        self.position = after
        self._follow = follow
        self._among = among
        self._keep_alive_s = keep_alive_s

    async def pump(self, send: Send) -> None:
        number = self._among.add(self)
        try:
            await self._pump(send)
        finally:
            self._among.remove(number)

    async def _pump(self, send: Send) -> None:
        opening = b": events after %d\nretry: %d\nid: %d\n\n" % (self.position, RETRY_MS, self.position)
        await send({"type": "http.response.body", "body": opening, "more_body": True})
        clock = asyncio.get_running_loop().time
        sent_at = clock()
        async with aclosing(Paced(self._follow(self.position), self._keep_alive_s)) as batches:
            async for batch in batches:
                position = batch[-1].position if batch else self.position
                body = b"".join(filter(None, (self._frame(stored) for stored in batch)))
                if not body and clock() - sent_at >= self._keep_alive_s:
                    # The id alone moves the place from which the client resumes, past what it did not ask for.
                    body = b": keep-alive\nid: %d\n\n" % position
                if body:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    sent_at = clock()
                self.position = position

    def _frame(self, stored: Stored) -> bytes | None:
        try:
            told = heard(stored, self.wanted)
        except UndecodableEvent as error:
            _log.error("event not readable", position=stored.position, reason=str(error))
            return None
        if told is None:
            return None
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (told.position, told.name.encode(), msgspec.json.encode(told))


@router.get("/session-events/stream", responses=TOLD_RESPONSES)
async def subscribe(request: Request, query: Annotated[SubscriptionQuery, Query()]) -> Response:
    """What sessions tell, as it is recorded, as server-sent events: `event` is its name, `data` {name,
    source_session_id, data, position, time, id, correlation_id}. Beside what they emit, `session:completed` and
    `session:error` {session_id, session_name, bundle_name, turn_count, output, success, trigger?, and error, error_type
    of an error} and `session:end` {session_id, status}. An event is told once, whatever names it is meant by.

    Nothing that is emitted after the first byte of the answer is missed. Starts behind `Last-Event-ID`, else behind
    `after_position`, else at the end of the log. A slow client reads at its own pace and is never cut off.
    """
    _refuse_repeated(request)
    services, streams = services_of(request), room_for_a_stream(request)
    wrong = wrong_patterns(query.name)
    if wrong is not None:
        raise validation_failed("name", f"{query.name[wrong[0]]!r} is not {wrong[1]}")
    return SessionEventStream(
        services.follow,
        await _start(request, query.after_position),
        Wanted(tuple(query.name), tuple(query.source)),
        among=services.subscribers,
        streams=streams,
        keep_alive_s=services.keep_alive_s,
    )


@router.get("/session-events/subscriptions", responses=responses(rows.SubscriptionPage))
async def list_subscriptions(request: Request, query: Annotated[NoParameters, Query()]) -> Response:
    """The subscriptions that are open, here and at the broker, and how many entries each one is behind."""
    services = services_of(request)
    end = await services.last_position()
    found = [*services.subscribers.lags(end), *await services.consumers()]
    return json_response({"items": found, "next_cursor": None, "position": end})


async def _start(request: Request, after_position: int | None) -> int:
    end = await services_of(request).last_position()
    resumed = resumed_after(request)
    field, start = ("after_position", after_position) if resumed is None else ("Last-Event-ID", resumed)
    if start is not None and start > end:
        raise validation_failed(field, f"the log ends at {end}: this position is of another log")
    return end if start is None else start


def _refuse_repeated(request: Request) -> None:
    """Only names and sources are given several times."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen and name not in _MANY:
            raise validation_failed(name, "given more than once")
        seen.add(name)
