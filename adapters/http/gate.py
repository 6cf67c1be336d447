"""The first thing every request meets: host names, pages of other sites, the token, the size of bodies, failures.

Plain ASGI, outside of the framework, so that nothing is routed or read before it is let in.
"""

import secrets
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.http.answers import error_response, internal_error
from adapters.http.browser import HostNames, is_loopback
from domain.errors import Rejection
from domain.messages import HOST

MAX_BODY_BYTES: Final = 1024 * 1024
PEER: Final = "agenttower.peer"
"""Key of the scope: who asks, `host` or a container id, from the connection."""

OPEN_PATHS: Final = frozenset({"/healthz"})
"""Answered without a token everywhere: it says nothing but that a tower listens."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_ADDED: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_log = structlog.get_logger("http")


class Gate:
    """ASGI middleware for a TCP listener bound to `bound_host`: the token there is the operator's."""

    def __init__(self, app: ASGIApp, *, token: str, bound_host: str, allowed_hosts: frozenset[str]) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._names = HostNames(bound_host, allowed_hosts)
        self._token_for_all = not is_loopback(bound_host)

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

        try:
            self._admit(scope)
        except Rejection as refusal:
            await error_response(refusal)(scope, receive, answer)
            return
        try:
            await self._app({**scope, PEER: HOST}, _limited(receive), answer)
        except Exception:  # noqa: BLE001 -- the last place that can still answer
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if not started:
                await error_response(internal_error())(scope, receive, answer)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._names.check_headers(headers)
        self._check_token(scope, headers)
        size = headers.get("content-length", "")
        if size.isdecimal() and int(size) > MAX_BODY_BYTES:
            raise _too_large()

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        """A token that is given must be right, needed or not."""
        given = headers.get("authorization")
        if given is not None:
            if not secrets.compare_digest(given.encode("latin-1"), self._expected):
                raise Rejection("unauthorized", "the bearer token is not this tower's")
            return
        if scope["method"] not in _SAFE_METHODS or (self._token_for_all and scope["path"] not in OPEN_PATHS):
            raise Rejection("unauthorized", "a bearer token is needed: Authorization: Bearer <http.token of the tower>")


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
