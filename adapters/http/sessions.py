"""Sessions over HTTP, the operator's alone: spawn, instruct, cancel, resume, end, look, read the transcript."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from adapters.http import session_rows as rows
from adapters.http.answers import json_response, page_response, validation_failed
from adapters.http.benches import bench_allowed
from adapters.http.documents import OUTCOME_RESPONSES, TRANSCRIPT_RESPONSES, command_body_of, responses
from adapters.http.parameters import (
    CommandQuery,
    SessionQuery,
    SessionsQuery,
    TranscriptQuery,
    TurnWaitQuery,
    no_doubles,
)
from adapters.http.routes import Id, ask, models_as_of, services_of, status_of
from adapters.http.waiting import prepared, settled, spawn_wait_s, with_outcome
from domain.errors import Rejection
from handlers import wire

router = APIRouter(prefix="/v1", tags=["sessions"], dependencies=[no_doubles, bench_allowed])

_READABLE: Final = {"user": "> ", "system": "# ", "tool": "= "}


@router.get("/sessions", responses=responses(rows.SessionPage))
async def list_sessions(request: Request, query: Annotated[SessionsQuery, Query()]) -> Response:
    """Sessions: running and waiting ones first, then those that failed or timed out, then newest first."""
    models = await models_as_of(request, query, "sessions")
    return page_response(await models.sessions(**query.arguments()))


@router.get("/sessions/{session_id}", responses=responses(rows.Session, missing=True))
async def show_session(request: Request, session_id: Id, query: Annotated[SessionQuery, Query()]) -> Response:
    """One session with its turns; with `wait` when it has nothing to do, or has ended the `turn`, or as it is when the
    time is over. What it says stands under `/v1/executions/session:{id}/output`."""
    models = await models_as_of(request, query, "sessions")
    found = await settled(
        request, query.wait, lambda wait_s: models.session(session_id, wait_s=wait_s, turn=query.turn)
    )
    if found is None:
        raise _missing(session_id)
    return json_response(found)


@router.get("/sessions/{session_id}/transcript", responses=TRANSCRIPT_RESPONSES)
async def show_transcript(request: Request, session_id: Id, query: Annotated[TranscriptQuery, Query()]) -> Response:
    """What was said in the turns that have ended, oldest first."""
    models = await models_as_of(request, query, "sessions")
    found = await models.session(session_id, wait_s=0, turn=None)
    if found is None:
        raise _missing(session_id)
    digest = found["transcript_digest"]
    try:
        messages = () if digest is None else await services_of(request).transcript(session_id, digest)
    except OSError as error:
        raise Rejection(
            "temporarily_unavailable", f"the transcript cannot be read: {error}", part="transcript"
        ) from error
    if query.format == "text":
        text = "\n".join(_READABLE.get(each.role, "") + each.content for each in messages)
        return Response(text + "\n" if text else "", media_type="text/plain; charset=utf-8")
    said = [{"role": each.role, "content": each.content, "name": each.name} for each in messages]
    return json_response({"session_id": session_id, "digest": digest, "messages": said})


@router.post("/sessions", responses=OUTCOME_RESPONSES, openapi_extra=command_body_of("session.spawn"))
async def spawn_session(request: Request, query: Annotated[CommandQuery, Query()]) -> Response:
    """Spawn a session; the body is the data of `session.spawn`. In the foreground the answer waits for its first
    outcome and holds `output` and `turn_count` too; after `wait` seconds it is as it is then."""
    data = await _body(request)
    return await _asked(request, "spawn", data, spawn_wait_s(query.wait, data))


@router.post(
    "/sessions/{session_id}/instruct", responses=OUTCOME_RESPONSES, openapi_extra=command_body_of("session.instruct")
)
async def instruct_session(request: Request, session_id: Id, query: Annotated[TurnWaitQuery, Query()]) -> Response:
    """Give it a further instruction; with `wait` the answer holds the `output` of that turn."""
    return await _asked(request, "instruct", await _body(request, session_id), query.wait)


@router.post(
    "/sessions/{session_id}/resume", responses=OUTCOME_RESPONSES, openapi_extra=command_body_of("session.resume")
)
async def resume_session(request: Request, session_id: Id, query: Annotated[TurnWaitQuery, Query()]) -> Response:
    """Let it go on after an error or a time-out; with `wait` the answer holds the `output` of the turn."""
    return await _asked(request, "resume", await _body(request, session_id), query.wait)


@router.post(
    "/sessions/{session_id}/cancel", responses=OUTCOME_RESPONSES, openapi_extra=command_body_of("session.cancel")
)
async def cancel_session(request: Request, session_id: Id, query: Annotated[TurnWaitQuery, Query()]) -> Response:
    """End it on purpose, with the foreground sessions below it; with `wait` the answer comes when it has ended."""
    return await _asked(request, "cancel", await _body(request, session_id), query.wait)


@router.post("/sessions/{session_id}/end", responses=OUTCOME_RESPONSES, openapi_extra=command_body_of("session.end"))
async def end_session(request: Request, session_id: Id, query: Annotated[TurnWaitQuery, Query()]) -> Response:
    """Let it take no further instruction; with `wait` the answer comes when what waits is done."""
    return await _asked(request, "end", await _body(request, session_id), query.wait)


async def _asked(request: Request, verb: str, data: Mapping[str, Any], wait_s: float) -> Response:
    asking = partial(ask, request, "session", verb, data)
    outcome = await (prepared(request, wait_s, asking) if verb == "spawn" else asking())
    if outcome["status"] == "accepted":
        outcome = await with_outcome(request, verb, outcome, wait_s)
    return json_response(outcome, status_of(outcome))


async def _body(request: Request, session_id: str | None = None) -> dict[str, Any]:
    """The JSON object of the body; `{}` for an empty one. `session_id` is that of the path."""
    body = await request.body()
    if not body and session_id is not None:
        return {"session_id": session_id}
    try:
        data = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise wire.invalid(error) from error
    # Looked at whole: how many keys there are is not known here.
    wire.refuse_repeated(body, None, -1)
    if session_id is None:
        return data
    if data.setdefault("session_id", session_id) != session_id:
        raise validation_failed("session_id", "another than in the path")
    return data


def _missing(session_id: str) -> Rejection:
    return Rejection("session_not_found", f"no session {session_id}", session_id=session_id)
