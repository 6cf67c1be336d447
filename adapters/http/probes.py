"""What machines ask: is it alive, is it ready, what are its figures."""

from collections.abc import Mapping
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from adapters.http import rows
from adapters.http.answers import json_response
from adapters.http.benches import bench_allowed, bench_of, for_benches
from adapters.http.documents import METRICS_RESPONSES, READY_RESPONSES
from adapters.http.routes import services_of
from adapters.http.services import Check

router = APIRouter(tags=["probes"], dependencies=[bench_allowed])

_log: Final = structlog.get_logger("http")


@router.get("/healthz", responses={200: {"description": "A tower listens.", "model": rows.Health}})
@for_benches
async def healthz(request: Request) -> Response:
    return json_response({"node": services_of(request).node, "ok": True})


@router.get("/readyz", responses=READY_RESPONSES)
@for_benches
async def readyz(request: Request) -> Response:
    """Whether commands are decided and queries are up to date, and if not, why (told to the operator)."""
    checks = await _checks(request)
    if bench_of(request) is not None:
        checks = {name: Check(ok=check["ok"]) for name, check in checks.items()}
    ready = all(check["ok"] for check in checks.values())
    return json_response({"ready": ready, "checks": checks}, 200 if ready else 503)


async def _checks(request: Request) -> Mapping[str, Check]:
    try:
        return await services_of(request).ready()
    except Exception as error:  # noqa: BLE001 -- what keeps the tower from looking at itself makes it not ready
        _log.warning("readiness not known", kind=type(error).__name__, reason=str(error))
        return {"tower": {"ok": False, "reason": "it could not be looked at; the tower's log says why"}}


@router.get("/metrics", responses=METRICS_RESPONSES)
async def metrics(request: Request) -> Response:
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    registry: Any = services_of(request).metrics
    return Response(encode(registry), media_type=None, headers={"content-type": content_type})
