"""Who is subscribed over HTTP, and how far behind."""

from collections.abc import Mapping
from typing import Any, Protocol

from domain.sessions.telling import Wanted


class Subscriber(Protocol):
    @property
    def wanted(self) -> Wanted: ...

    @property
    def position(self) -> int:
        """The last entry of the log that it has come by."""
        ...


class Subscribers:
    """Those whose streams are open."""

    def __init__(self) -> None:
        self._open: dict[int, Subscriber] = {}
        self._numbers = 0

    def add(self, subscriber: Subscriber) -> int:
        self._numbers += 1
        self._open[self._numbers] = subscriber
        return self._numbers

    def remove(self, number: int) -> None:
        del self._open[number]

    def lags(self, end: int) -> list[Mapping[str, Any]]:
        """Each one, and how many entries of the log, which ends at `end`, it has not come by."""
        return [
            {
                "id": f"http-{number}",
                "names": each.wanted.names,
                "sources": each.wanted.sources,
                "position": each.position,
                "lag": max(0, end - each.position),
            }
            for number, each in self._open.items()
        ]
