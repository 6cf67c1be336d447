"""What peers inside containers may ask over HTTP: a route is for them only where it says so, `@for_benches`.

Such a route narrows what it shows to the container of who asks. Any other one answers them `host_only`.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from fastapi import Depends, Request

from adapters.http.gate import PEER
from domain.errors import host_only
from domain.messages import HOST

F = TypeVar("F", bound=Callable[..., Any])

_FOR_BENCHES: Final[set[Callable[..., Any]]] = set()


def for_benches(endpoint: F) -> F:
    """The endpoint asks `bench_of` and shows a container's peer nothing else than its own."""
    _FOR_BENCHES.add(endpoint)
    return endpoint


def is_for_benches(endpoint: Callable[..., Any]) -> bool:
    return endpoint in _FOR_BENCHES


def bench_of(request: Request) -> str | None:
    """The container of who asks; None for the operator."""
    peer: str = request.scope[PEER]
    return None if peer == HOST else peer


async def _bench_allowed(request: Request) -> None:
    # Async although it does not wait: FastAPI would run it in a thread otherwise.
    if bench_of(request) is not None and not is_for_benches(request.scope["endpoint"]):
        raise host_only()


bench_allowed = Depends(_bench_allowed)
