"""How it is known who asks: by the operator's token on TCP, by the kernel's word on the bench socket.

Nothing that a request says of itself counts: no field of a body, no header, no host name.
"""

import secrets
from collections.abc import Callable, Iterable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from adapters.http.browser import HostNames, is_loopback
from adapters.http.kernel import Peer, container_of
from domain.errors import Rejection, host_only
from domain.messages import HOST

OPEN_PATHS: Final = frozenset({"/healthz"})
"""Answered without a token everywhere: it says nothing but that a tower listens."""

SIGNED_PATH: Final = "/v1/hooks/"
"""What is posted below it is let in by the signature of its body, under whatever name this host has out there."""

KERNEL_PEER: Final = "agenttower.kernel"
"""Key of the scope's extensions: the `Peer` of the connection, as the kernel tells it."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


class ByToken:
    """For a TCP listener bound to `bound_host`: whoever is let in there is the operator."""

    def __init__(self, token: str, bound_host: str, allowed_hosts: frozenset[str]) -> None:
        self._expected = f"Bearer {token}".encode()
        self._names = HostNames(bound_host, allowed_hosts)
        self._token_for_all = not is_loopback(bound_host)

    def __call__(self, scope: Scope) -> str:
        if scope["method"] == "POST" and scope["path"].startswith(SIGNED_PATH):
            return HOST
        headers = Headers(scope=scope)
        self._names.check_headers(headers)
        self._check_token(scope, headers)
        return HOST

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        """A token that is given must be right, needed or not."""
        given = headers.get("authorization")
        if given is not None:
            if not secrets.compare_digest(given.encode("latin-1"), self._expected):
                raise Rejection("unauthorized", "the bearer token is not this tower's")
            return
        if scope["method"] not in _SAFE_METHODS or (self._token_for_all and scope["path"] not in OPEN_PATHS):
            raise Rejection("unauthorized", "a bearer token is needed: Authorization: Bearer <http.token of the tower>")


class ByKernel:
    """For the bench socket. `containers` gives the ids of the registered containers, asked anew for each request, so
    that a container that was registered or went away since the connection was made counts as it is now."""

    def __init__(self, containers: Callable[[], Iterable[str]]) -> None:
        self._containers = containers

    def __call__(self, scope: Scope) -> str:
        """Raises `host_only` for a peer that is neither of this machine nor of one registered container."""
        peer = scope.get("extensions", {}).get(KERNEL_PEER)
        if not isinstance(peer, Peer):
            raise host_only()
        if peer.is_host:
            return HOST
        found = container_of(peer, self._containers())
        if found is None:
            raise host_only()
        return found
