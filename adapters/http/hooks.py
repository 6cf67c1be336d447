"""`POST /v1/hooks/{name}`: the door for deliveries of other systems. The signature of the body lets them in."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from adapters.http.answers import json_response
from adapters.http.benches import bench_allowed
from adapters.http.documents import HOOK_RESPONSES
from adapters.http.routes import services_of
from domain.errors import Rejection

router = APIRouter(prefix="/v1", dependencies=[bench_allowed])


@router.post("/hooks/{name}", tags=["triggers"], responses=HOOK_RESPONSES)
async def deliver(request: Request, name: Annotated[str, Path(max_length=64)]) -> Response:
    """Fire the `webhook` triggers of this name. No token: the body, of at most 1 MiB, is signed with their secret,
    HMAC-SHA256 as `sha256=<hex>` in `X-Hub-Signature-256`. Answered after the commit; a delivery that comes again, by
    the id in its header, fires nothing."""
    if not request.app.state.takes_commands:
        raise Rejection("temporarily_unavailable", "the tower is stopping", part="writer")
    headers = {key.lower(): value for key, value in request.headers.items()}
    return json_response(await services_of(request).hook(name, headers, await request.body()))
