"""The bench socket: the HTTP API for processes inside containers, and for those of this machine that prefer it.

`$AGENTTOWER_HOME/bench/` is what one bind-mounts into a container, the folder and not the socket: a tower that starts
again makes a new one. Everybody may connect, because the users inside a container have any uid: the socket has mode
0666. Nobody gains by it: who asks is read from the kernel (`kernel.py`), and the home around it is the operator's.
"""

import contextlib
import itertools
import os
import socket
from asyncio import Transport
from pathlib import Path
from typing import Any, Final

import structlog
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from adapters.http.admission import KERNEL_PEER
from adapters.http.kernel import Peer, peer_of
from handlers.effects.pane_places import BENCH_SOCKET

FOLDER: Final = "bench"
BACKLOG: Final = 512

_connections: Final = itertools.count(1)
_log = structlog.get_logger("http")


def path_in(home: Path) -> Path:
    return home / FOLDER / BENCH_SOCKET


def bind_bench(path: Path) -> socket.socket:
    """A listening socket at `path`, which replaces what a tower before left there. Raises `OSError`."""
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    beside = path.with_name(".new")
    beside.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Not by chmod: where a container may write to the folder, another file could stand there by then.
        mask = os.umask(0o111)
        try:
            sock.bind(str(beside))
        finally:
            os.umask(mask)
        sock.listen(BACKLOG)
        # Only now is it found: nobody meets a socket that does not listen yet.
        beside.rename(path)
    except BaseException:
        sock.close()
        raise
    return sock


def remove_bench(path: Path, sock: socket.socket) -> None:
    """Close `sock` and take it away."""
    sock.close()
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


class BenchProtocol(H11Protocol):
    """uvicorn's, for a unix socket: every request of a connection says in its scope who connected."""

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        peer = _peer(transport)
        # A unix socket has no address: what tells one connection from the others is made up.
        self.client = (f"pid {peer.pid if peer else 0}", next(_connections))
        app: Any = self.app

        async def introduced(scope: Scope, receive: Receive, send: Send) -> None:
            extensions = {**scope.get("extensions", {}), KERNEL_PEER: peer}
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = introduced


def _peer(transport: Transport) -> Peer | None:
    """None when the peer is gone already, or the kernel does not tell."""
    try:
        # Of its own, because the event loops give different things for a socket.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as sock:
            return peer_of(sock)
    except (OSError, ValueError) as error:
        _log.warning("peer of the bench socket unknown", reason=str(error))
        return None
