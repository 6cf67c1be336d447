"""Surfaces: whoever shows a session to a person, over server-sent events. The operator's alone."""

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from adapters.http.answers import validation_failed
from adapters.http.benches import bench_allowed
from adapters.http.documents import SURFACE_RESPONSES
from adapters.http.parameters import no_doubles
from adapters.http.routes import Id, room_for_a_stream, services_of
from adapters.http.services import HttpServices, SessionStanding
from adapters.http.surface_stream import Place, Policy, SurfaceStream
from domain.errors import Rejection
from handlers.execution_ports import between_executions

router = APIRouter(prefix="/v1", tags=["sessions"], dependencies=[no_doubles, bench_allowed])


class SurfaceQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bundle_reloaded: Policy = Field(
        "notify",
        description="When the bundle of the session was loaded anew: `notify` tells so, `restart` also ends the stream "
        "once the session has nothing to do, with what to spawn in its place, `ignore` does nothing.",
    )
    surface: str | None = Field(
        None,
        description="A name for who attaches. Attaching again under it ends the stream that was there.",
        min_length=1,
        max_length=128,
    )
    last_event_id: str | None = Field(
        None, description="In place of the header `Last-Event-ID`, for a page that was loaded anew.", max_length=100
    )


class Surfaces:
    """Those that have a name, by session and name: when one attaches again, the one before it is ended."""

    def __init__(self) -> None:
        self._attached: dict[tuple[str, str], asyncio.Event] = {}

    def attach(self, session_id: str, name: str | None) -> asyncio.Event:
        """Set when another takes its place."""
        replaced = asyncio.Event()
        if name is not None:
            before = self._attached.get((session_id, name))
            if before is not None:
                before.set()
            self._attached[session_id, name] = replaced
        return replaced

    def detach(self, session_id: str, name: str | None, replaced: asyncio.Event) -> None:
        if name is not None and self._attached.get((session_id, name)) is replaced:
            del self._attached[session_id, name]


@router.get("/sessions/{session_id}/stream", responses=SURFACE_RESPONSES)
async def attach_surface(request: Request, session_id: Id, query: Annotated[SurfaceQuery, Query()]) -> Response:
    """A session as it goes on, from its beginning, as server-sent events: `output` {turn, offset, text}, `truncated`
    {turn, bytes} for what was not kept; `spawned`, `instructed`, `turn_started`, `turn_completed`, `completed`,
    `error`, `cancelled`, `timed_out`, `resumed`, `ended` with the fields of those events; `input_requested` and
    `approval_requested` {promise_id, deadline, data}, to be answered by `promise.resolve`, then `answered`
    {promise_id, state}; `bundle_reloaded` {from_digest, to_digest}; `stop_requested` {reason}. What a turn says comes
    between its start and its end.

    The last one is `end` when the session can be given nothing more to do, `restart` {spawn, from_digest, to_digest}
    by the policy of that name, or `replaced`. Behind the `id` of one of these there is nothing: 204.

    Resumes behind `Last-Event-ID`, with nothing told twice and nothing left out.
    """
    services, streams = services_of(request), room_for_a_stream(request)
    standing = services.session(session_id)
    if standing is None:
        raise Rejection("session_not_found", f"no session {session_id}", session_id=session_id)
    place = await _place(request, services, session_id, query)
    if place.last:
        return Response(status_code=204)
    surfaces: Surfaces = request.app.state.surfaces
    replaced = surfaces.attach(session_id, query.surface)
    return SurfaceStream(
        session_id,
        place,
        query.bundle_reloaded,
        follow=services.follow,
        feed=lambda after: services.outputs(between_executions(session_id), after=after, ended=False),
        standing=partial(_now, services, session_id),
        replaced=replaced,
        streams=streams,
        keep_alive_s=services.keep_alive_s,
        closed=partial(surfaces.detach, session_id, query.surface, replaced),
    )


async def _place(request: Request, services: HttpServices, session_id: str, query: SurfaceQuery) -> Place:
    """Where the client was, else the beginning of the session."""
    resumed = request.headers.get("last-event-id") or query.last_event_id
    if resumed:
        place = Place.read(resumed)
        if place is None:
            raise validation_failed("Last-Event-ID", "not a place in the stream of a session")
        if place.position > await services.last_position():
            raise validation_failed("Last-Event-ID", "behind the end of the log: this place is of another log")
        return place
    nothing: dict[str, Any] = {"type": "session.spawned", "actor": None, "correlation_id": None, "since": None}
    page = await services.read_models.events(
        kind="session", id=session_id, until=None, after_position=None, limit=1, cursor=None, **nothing
    )
    first = page.items[0]["position"] - 1 if page.items else page.position
    return Place(first)


def _now(services: HttpServices, session_id: str) -> SessionStanding:
    standing = services.session(session_id)
    assert standing is not None, "a session is remembered for ever"
    return standing
