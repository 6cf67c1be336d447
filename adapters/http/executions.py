"""The queries about executions, the operator's alone, and promises, of which a peer sees its own."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from adapters.http import execution_rows as rows
from adapters.http.answers import json_response, page_response
from adapters.http.benches import bench_allowed, for_benches
from adapters.http.documents import responses
from adapters.http.gate import PEER
from adapters.http.parameters import ExecutionsQuery, PromisesQuery, WaitingQuery, no_doubles
from adapters.http.routes import Id, models_as_of
from adapters.http.waiting import settled
from domain.errors import Rejection, unseen

router = APIRouter(prefix="/v1", tags=["executions"], dependencies=[no_doubles, bench_allowed])


@router.get("/executions", responses=responses(rows.ExecutionPage))
async def list_executions(request: Request, query: Annotated[ExecutionsQuery, Query()]) -> Response:
    """Executions: running, requested, retrying and paused ones first, then newest first; without code and value."""
    models = await models_as_of(request, query, "executions")
    return page_response(await models.executions(**query.arguments()))


@router.get("/executions/{execution_id}", responses=responses(rows.Execution, missing=True))
async def show_execution(request: Request, execution_id: Id, query: Annotated[WaitingQuery, Query()]) -> Response:
    """One execution; with `wait` at its end, or as it is when the time is over."""
    models = await models_as_of(request, query, "executions")
    found = await settled(request, query.wait, lambda wait_s: models.execution(execution_id, wait_s=wait_s))
    if found is None:
        raise Rejection("execution_not_found", f"no execution {execution_id}", execution_id=execution_id)
    return json_response(found)


@router.get("/promises", responses=responses(rows.PromisePage))
@for_benches
async def list_promises(request: Request, query: Annotated[PromisesQuery, Query()]) -> Response:
    """Promises: pending ones first, then newest first."""
    models = await models_as_of(request, query, "promises")
    return page_response(await models.promises(**query.arguments()))


@router.get("/promises/{promise_id}", responses=responses(rows.Promise, missing=True))
@for_benches
async def show_promise(request: Request, promise_id: Id, query: Annotated[WaitingQuery, Query()]) -> Response:
    """One promise; with `wait` when it is settled, or as it is when the time is over."""
    models = await models_as_of(request, query, "promises")
    found = await settled(request, query.wait, lambda wait_s: models.promise(promise_id, wait_s=wait_s))
    if found is None:
        missing = Rejection("promise_not_found", f"no promise {promise_id}", promise_id=promise_id)
        raise unseen(request.scope[PEER], missing)
    return json_response(found)
