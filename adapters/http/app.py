"""The HTTP interface as one ASGI application."""

from typing import Any

from fastapi import FastAPI

from adapters.http import (
    backgrounds,
    bundles,
    documents,
    execution_output,
    executions,
    hooks,
    launching,
    probes,
    routes,
    sessions,
    subscriptions,
    surfaces,
)
from adapters.http.admission import ByKernel, ByToken
from adapters.http.answers import install_error_handlers
from adapters.http.gate import Admit, Gate
from adapters.http.services import HttpServices
from adapters.http.stream import Streams
from adapters.rpc.calling import Calls


def create_api() -> FastAPI:
    """The routes alone, without anything behind them: what the OpenAPI document is made from."""
    # No /docs: those pages load their scripts from other hosts. No redirects: a wrong path is a wrong path.
    api = FastAPI(
        title=documents.TITLE,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    install_error_handlers(api)
    api.include_router(routes.v1)
    api.include_router(bundles.router)
    api.include_router(executions.router)
    api.include_router(execution_output.router)
    api.include_router(surfaces.router)
    api.include_router(subscriptions.router)
    api.include_router(backgrounds.router)
    api.include_router(sessions.router)
    api.include_router(launching.router)
    api.include_router(hooks.router)
    api.include_router(probes.router)

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = documents.openapi(api)
        return api.openapi_schema

    api.openapi = openapi
    return api


def create_app(services: HttpServices) -> FastAPI:
    """The application over `services` for a TCP listener: the token there is the operator's. `HttpServer` ends its
    event streams when it stops."""
    return _create(services, ByToken(services.token, services.bound_host, services.allowed_hosts))


def create_bench_app(services: HttpServices) -> FastAPI:
    """The same application for the bench socket, where the kernel says who asks."""
    return _create(services, ByKernel(services.containers))


def _create(services: HttpServices, admit: Admit) -> FastAPI:
    app = create_api()
    app.state.services = services
    app.state.streams = Streams(services.max_streams)
    app.state.surfaces = surfaces.Surfaces()
    app.state.takes_commands = True
    app.state.calls = Calls(
        ask=services.ask,
        read_models=services.read_models,
        ids=services.ids,
        outcome_timeout_s=services.outcome_timeout_s,
        after_timeout_s=services.after_timeout_s,
    )
    app.add_middleware(Gate, admit=admit)
    return app
