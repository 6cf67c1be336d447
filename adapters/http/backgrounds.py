"""Background sessions and the firings of their triggers; the operator's alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from adapters.http import background_rows as rows
from adapters.http.answers import json_response, page_response
from adapters.http.benches import bench_allowed
from adapters.http.documents import responses
from adapters.http.parameters import BackgroundsQuery, Reading, TriggersQuery, no_doubles
from adapters.http.routes import Id, models_as_of, services_of
from domain.errors import Rejection

router = APIRouter(prefix="/v1", tags=["background"], dependencies=[no_doubles, bench_allowed])


@router.get("/background-sessions", responses=responses(rows.BackgroundPage))
async def list_background_sessions(request: Request, query: Annotated[BackgroundsQuery, Query()]) -> Response:
    """Background sessions by state (failed, starting, running, stopped), then name."""
    models = await models_as_of(request, query, "background_sessions")
    page = await models.background_sessions(**query.arguments())
    now = services_of(request).now()
    items = [with_lag(row, now) for row in page.items]
    return json_response({"items": items, "next_cursor": page.next_cursor, "position": page.position})


@router.get("/background-sessions/{background}", responses=responses(rows.WholeBackgroundSession, missing=True))
async def show_background_session(request: Request, background: Id, query: Annotated[Reading, Query()]) -> Response:
    """One background session, by its id or its name."""
    models = await models_as_of(request, query, "background_sessions")
    found = await models.background_session(background)
    if found is None:
        raise Rejection("background_not_found", f"no background session {background}", name=background)
    services = services_of(request)
    watching = [{"trigger_index": at, "how": how} for at, how in sorted(services.watching(found["id"]).items())]
    return json_response({**with_lag(found, services.now()), "watching": watching})


@router.get("/triggers", responses=responses(rows.TriggerPage))
async def list_triggers(request: Request, query: Annotated[TriggersQuery, Query()]) -> Response:
    """Firings, the latest first: why each run of a background session ran, and what became of the others."""
    models = await models_as_of(request, query, "triggers")
    return page_response(await models.triggers(**query.arguments()))


def with_lag(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """`lag`: for how many seconds the first firing that waits does so."""
    since = row["waiting_since"]
    waited_s = 0.0 if since is None else (now - datetime.fromisoformat(since)).total_seconds()
    return {**row, "lag": round(max(0.0, waited_s), 3)}
