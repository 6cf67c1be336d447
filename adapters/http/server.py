"""uvicorn as a part of the tower: in its event loop, without signal handlers, on sockets that we bound."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final, Self

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from adapters.http.bench_socket import BenchProtocol
from adapters.http.browser import is_loopback

GRACE_S: Final = 5
"""How long requests may take to end when the server stops."""

BACKLOG: Final = 512

_log = structlog.get_logger("http")


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the tower."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes any free one. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it stands: 40 ms a request otherwise.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def url_of(sock: socket.socket) -> str:
    """`http://127.0.0.1:PORT` as a client of this machine reaches it."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1" if sock.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class HttpServer:
    """Serves `app` on `sock` until `stop()`. `start()` returns when requests are taken; use as a context manager."""

    def __init__(self, app: FastAPI, sock: socket.socket, *, url: str | None = None, grace_s: int = GRACE_S) -> None:
        """`url` names a socket that has no address of its own (the bench socket)."""
        self.url: Final = url_of(sock) if url is None else url
        self._app = app
        self._socket = sock
        config = uvicorn.Config(
            app,
            loop="none",
            http=BenchProtocol if sock.family == socket.AF_UNIX else "h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=grace_s,
        )
        self._server = _Uvicorn(config)
        app.state.streams.cut = self._cut
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # The socket listens already: who connects before uvicorn takes over waits in its backlog.
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")
        local = self._socket.family == socket.AF_UNIX or is_loopback(self._socket.getsockname()[0])
        _log.info("http listens", url=self.url, loopback=local)

    async def stop(self) -> None:
        """Take no more connections, end event streams, let requests end, cut what has not ended after the grace."""
        task, self._task = self._task, None
        if task is None:
            self._socket.close()
            return
        self._app.state.streams.stop()
        self._server.should_exit = True
        try:
            await task
        finally:
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
        _log.info("http stopped", url=self.url)

    def refuse_commands(self) -> None:
        """From now on commands are answered 503; queries and event streams go on until `stop()`."""
        self._app.state.takes_commands = False

    def _cut(self, client: object) -> None:
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, H11Protocol) and connection.client == client:
                connection.transport.abort()

    async def wait(self) -> None:
        """Until the server ends, which it does only when it is stopped; raises what made it fail."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
