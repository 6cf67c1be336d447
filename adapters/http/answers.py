"""How answers and errors look: JSON by msgspec, `{"error": {"code", "message", "details"}}` for every refusal."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from adapters.http.services import Page
from adapters.rpc.calling import refused
from domain.errors import Rejection, http_status
from handlers.ports import LogError
from projections.ports import DatabaseTrouble

_log: Final = structlog.get_logger("http")
_encoder: Final = msgspec.json.Encoder()


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encoder.encode(content), status, headers, media_type="application/json")


def page_response(page: Page) -> Response:
    return json_response({"items": page.items, "next_cursor": page.next_cursor, "position": page.position})


def error_response(rejection: Rejection, *, method: str | None = None) -> Response:
    """The body and status of a refusal; a 401 names the scheme, a 405 the methods that are allowed.

    `method`: the name that was called below `/v1/rpc/`, where answers have a form of their own.
    """
    headers: dict[str, str] = {}
    if rejection.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    if rejection.code == "method_not_allowed":
        headers["Allow"] = ", ".join(rejection.details["allowed"])
    if method is not None:
        return json_response(refused(method, rejection), http_status(rejection.code), headers)
    error = {"code": rejection.code, "message": rejection.message, "details": rejection.details}
    return json_response({"error": error}, http_status(rejection.code), headers)


def internal_error() -> Rejection:
    return Rejection("internal_error", "The tower could not answer; its log says why.")


def validation_failed(field: str, reason: str) -> Rejection:
    return Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)


def install_error_handlers(api: FastAPI) -> None:
    """Every refusal of FastAPI, of Starlette and of ours leaves in the same form."""

    async def rejected(request: Request, error: Exception) -> Response:
        assert isinstance(error, Rejection)
        return error_response(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return error_response(_first_problem(error.errors()))

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_response(_of_status(request, error))

    async def database_trouble(request: Request, error: Exception) -> Response:
        return _unavailable("database", error)

    async def log_trouble(request: Request, error: Exception) -> Response:
        return _unavailable("broker", error)

    api.add_exception_handler(Rejection, rejected)
    api.add_exception_handler(DatabaseTrouble, database_trouble)
    api.add_exception_handler(LogError, log_trouble)
    api.add_exception_handler(RequestValidationError, invalid)
    api.add_exception_handler(HTTPException, http_error)


def _unavailable(part: str, error: Exception) -> Response:
    _log.warning("not answered", part=part, reason=str(error))
    message = f"the tower's {part} does not answer at the moment; try again"
    return error_response(Rejection("temporarily_unavailable", message, part=part))


def _first_problem(problems: Sequence[Any]) -> Rejection:
    """The first of pydantic's findings; its location without where it was found (`query`, `path`)."""
    problem = problems[0]
    field = ".".join(str(part) for part in problem["loc"][1:]) or "request"
    if problem["type"] == "extra_forbidden":
        return validation_failed(field, "no such parameter")
    return validation_failed(field, str(problem["msg"]).removeprefix("Value error, "))


def _of_status(request: Request, error: HTTPException) -> Rejection:
    path = request.url.path
    if error.status_code == 404:
        return Rejection("route_not_found", f"nothing is served at {path}", path=path)
    if error.status_code == 405:
        allowed = [method.strip() for method in (error.headers or {}).get("Allow", "").split(",") if method.strip()]
        method = request.method
        return Rejection("method_not_allowed", f"{path} does not take {method}", method=method, allowed=sorted(allowed))
    if error.status_code < 500:
        return validation_failed("request", str(error.detail))
    return internal_error()
