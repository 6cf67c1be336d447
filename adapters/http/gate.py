"""The first thing every request meets: who asks, the size of bodies, failures.

Plain ASGI, outside of the framework, so that nothing is routed or read before it is let in. How it is known who asks
differs by listener: see `admission.py`.
"""

from collections.abc import Callable
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.http.answers import error_response, internal_error
from domain.errors import Rejection

MAX_BODY_BYTES: Final = 1024 * 1024
PEER: Final = "agenttower.peer"
"""Key of the scope: who asks, `host` or a container id, from the connection."""

RPC_PATH: Final = "/v1/rpc/"
"""Below it every refusal has the form of the answers there."""

Admit = Callable[[Scope], str]
"""Who asks: `host` or a container id. Raises `Rejection` for who may not."""

_ADDED: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_log = structlog.get_logger("http")


class Gate:
    """ASGI middleware of one listener."""

    def __init__(self, app: ASGIApp, *, admit: Admit) -> None:
        self._app = app
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *_ADDED]}
            await send(message)

        name = scope["path"].removeprefix(RPC_PATH) if scope["path"].startswith(RPC_PATH) else None
        try:
            peer = self._admit(scope)
            _check_length(scope)
        except Rejection as refusal:
            await error_response(refusal, method=name)(scope, receive, answer)
            return
        try:
            await self._app({**scope, PEER: peer}, _limited(receive), answer)
        except Exception:  # noqa: BLE001 -- the last place that can still answer
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if not started:
                await error_response(internal_error(), method=name)(scope, receive, answer)


def _check_length(scope: Scope) -> None:
    size = Headers(scope=scope).get("content-length", "")
    if size.isdecimal() and int(size) > MAX_BODY_BYTES:
        raise _too_large()


def _limited(receive: Receive) -> Receive:
    """Count what is really sent: a chunked body has no length beforehand."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return counted


def _too_large() -> Rejection:
    return Rejection("body_too_large", f"a body has at most {MAX_BODY_BYTES} bytes", limit_bytes=MAX_BODY_BYTES)
