"""The queries about bundles, the operator's alone."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from adapters.bundle_view import shown
from adapters.http import bundle_rows as rows
from adapters.http.answers import json_response, page_response
from adapters.http.benches import bench_allowed
from adapters.http.documents import responses
from adapters.http.parameters import BundlesQuery, Reading, no_doubles
from adapters.http.routes import models_as_of, services_of
from domain.errors import Rejection

router = APIRouter(prefix="/v1", tags=["bundles"], dependencies=[no_doubles, bench_allowed])


@router.get("/bundles", responses=responses(rows.BundlePage))
async def list_bundles(request: Request, query: Annotated[BundlesQuery, Query()]) -> Response:
    """Bundles: those that serve first, then by name."""
    models = await models_as_of(request, query, "bundles")
    return page_response(await models.bundles(**query.arguments()))


@router.get("/bundles/{bundle:path}", responses=responses(rows.WholeBundle, missing=True))
async def show_bundle(
    request: Request,
    bundle: Annotated[str, Path(description="Its id, name or URI.", max_length=2_000)],
    query: Annotated[Reading, Query()],
) -> Response:
    """One bundle, with the plan, instruction and context that serve."""
    models = await models_as_of(request, query, "bundles")
    found = await models.bundle(bundle)
    if found is None:
        raise Rejection("bundle_not_found", f"no bundle {bundle} is known", bundle=bundle, searched=[])
    serving = services_of(request).bundle(found["id"])
    return json_response({**found, "serving": None if serving is None else shown(serving)})
