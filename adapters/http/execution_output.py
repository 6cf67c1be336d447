"""What executions print, and their values, over HTTP. The operator's alone: nobody knows what a program prints."""

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from adapters.http.answers import json_response
from adapters.http.benches import bench_allowed
from adapters.http.documents import OUTPUT_RESPONSES, VALUE_RESPONSES
from adapters.http.output_stream import OutputStream
from adapters.http.parameters import OutputQuery, Reading, no_doubles
from adapters.http.routes import Id, models_as_of, resumed_after, room_for_a_stream, services_of
from domain.errors import Rejection
from domain.messages import SUBJECT_ID
from handlers.execution_ports import OutputError, between_executions

router = APIRouter(prefix="/v1", tags=["executions"], dependencies=[no_doubles, bench_allowed])


@router.get("/executions/{execution_id}/output", responses=OUTPUT_RESPONSES)
async def show_output(request: Request, execution_id: Id, query: Annotated[OutputQuery, Query()]) -> Response:
    """What an execution printed, then what it prints, until it ends, as server-sent events: `event` is `stdout` or
    `stderr`, `id` the place in the stream of output, `data` the text with the attempt and the number of bytes before
    it. `event: truncated` stands for what was not kept; `event: end` with the state is the last one.

    Resumes behind the `Last-Event-ID` header. What a session prints between its executions is that of the execution
    `session:` with the session's id, without an end. Output is kept for 7 days.
    """
    services, streams, text = services_of(request), room_for_a_stream(request), query.format == "text"
    standing = services.execution(execution_id)
    if standing is None and not _is_between_executions(execution_id):
        raise Rejection("execution_not_found", f"no execution {execution_id}", execution_id=execution_id)
    resumed = resumed_after(request)
    by_now = (text and not query.follow) or (standing is not None and standing.has_ended)
    feed = services.outputs(execution_id, after=resumed or 0, ended=by_now)
    try:
        await feed.open()
    except OutputError as error:
        await feed.aclose()
        raise Rejection("temporarily_unavailable", f"the output cannot be read: {error}", part="output") from error
    return OutputStream(
        feed,
        execution_id,
        None if by_now and standing is not None and not standing.has_ended else standing,
        follow=services.follow,
        wanted=query.stream,
        text=text,
        resumed=resumed is not None,
        streams=streams,
        keep_alive_s=services.keep_alive_s,
    )


@router.get("/executions/{execution_id}/value", responses=VALUE_RESPONSES)
async def show_value(request: Request, execution_id: Id, query: Annotated[Reading, Query()]) -> Response:
    """The value of the last expression, whole, as JSON: also one over 256 KiB, which stands beside the log."""
    models = await models_as_of(request, query, "executions")
    row = await models.execution(execution_id, wait_s=0)
    if row is None:
        raise Rejection("execution_not_found", f"no execution {execution_id}", execution_id=execution_id)
    if row["value_digest"] is not None:
        path = Path(services_of(request).blob(row["value_digest"]))
        if await asyncio.to_thread(path.is_file):
            return FileResponse(path, media_type="application/json")
    elif row["has_value"]:
        return json_response(row["value"])
    reason = "its value is not kept any more" if row["value_digest"] is not None else "it left none that JSON keeps"
    message = f"execution {execution_id} is {row['state']}: {reason}"
    raise Rejection("execution_value_not_found", message, execution_id=execution_id)


def _is_between_executions(execution_id: str) -> bool:
    start, session, session_id = execution_id.partition(between_executions(""))
    return not start and bool(session) and SUBJECT_ID.match(session_id) is not None
