"""What happens to one execution, while it happens: its events, its questions and its output, in one queue.

Goes on where it stopped when the tower is started again.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, Queue
from typing import Any, Final, NamedTuple, Self

from adapters.cli.client import Queries, Sent
from adapters.cli.failures import Failure
from adapters.cli.place import Place
from adapters.cli.settling import event_name

ENDS: Final = {
    "execution.completed": "completed",
    "execution.failed": "failed",
    "execution.cancelled": "cancelled",
    "execution.timed_out": "timed_out",
    "execution.lost": "lost",
}
"""Event -> the state that an execution stays in."""

RETURN_S: Final = 120.0
"""How long a tower that went away is waited for."""

LOOK_AGAIN_S: Final = 0.5
"""Nobody tells when another tower has started in a home."""

QUEUED: Final = 256
"""Things that are held for a slow terminal; more are left to the tower."""


class Output(NamedTuple):
    """`stream` is stdout or stderr."""

    stream: str
    text: str


class NotKept(NamedTuple):
    """So much of the output is missing here: it was more than is kept."""

    size_bytes: int


class OutputEnded(NamedTuple):
    """All output was given. `failure`: why the rest is missing."""

    failure: Failure | None = None


class Happened(NamedTuple):
    """An event: `name` as in `execution.started`, `subject` the id of the execution or of a promise."""

    name: str
    subject: str
    data: dict[str, Any]
    position: int


class Away(NamedTuple):
    """The tower is gone; it is waited for."""


class Back(NamedTuple):
    """The tower is there again."""


class Broken(NamedTuple):
    """Nothing more is to be learnt."""

    failure: Failure


Item = Output | NotKept | OutputEnded | Happened | Away | Back | Broken


class Feed:
    """Select on it, then `take()`. Its threads end with the execution, or with this process."""

    def __init__(self, place: Place, execution_id: str, *, after: int, output: bool) -> None:
        """Events behind the position `after`; output from its beginning, if it is wanted at all."""
        self._place = place
        self._execution_id = execution_id
        self._after = after
        self._items: Queue[Item] = Queue(QUEUED)
        self._reads, self._writes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._closed = threading.Event()
        self._lost_by: set[str] = set()
        self._lock = threading.Lock()
        self._follows = [self._events, self._promises, *([self._output] if output else [])]

    def __enter__(self) -> Self:
        for follow in self._follows:
            threading.Thread(target=follow, name=follow.__name__, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._closed.set()

    def fileno(self) -> int:
        return self._reads

    @property
    def waker(self) -> int:
        """A descriptor: what is written to it makes a select on this one return."""
        return self._writes

    def _wake(self) -> None:
        try:
            os.write(self._writes, b".")
        except BlockingIOError:
            pass  # it is awake already

    def take(self) -> Iterator[Item]:
        """What there is, without waiting."""
        try:
            os.read(self._reads, QUEUED)
        except BlockingIOError:
            pass
        for _ in range(QUEUED):
            try:
                yield self._items.get_nowait()
            except Empty:
                return
        # What is left is for the next time.
        self._wake()

    # --- in threads ------------------------------------------------------------------------------------------------

    def _put(self, item: Item) -> None:
        if not self._closed.is_set():
            self._items.put(item)
            self._wake()

    def _events(self) -> None:
        query = {"kind": "execution", "id": self._execution_id}
        for event in self._events_of(query):
            self._put(event)
            if event.name in ENDS:
                return

    def _promises(self) -> None:
        asked = f"exec:{self._execution_id}:input:"
        for event in self._events_of({"kind": "promise"}):
            if event.subject.startswith(asked):
                self._put(event)

    def _events_of(self, query: Mapping[str, object]) -> Iterator[Happened]:
        for sent in self._resumed(f"events {query}", "/v1/events/stream", query, self._after):
            event = sent.data
            yield Happened(event_name(event), str(event.get("subject", "")), event.get("data", {}), sent.id)

    def _output(self) -> None:
        path = f"/v1/executions/{self._execution_id}/output"
        for sent in self._resumed("output", path, {}, None, ends=True):
            name, piece = sent.name, sent.data
            if name == "truncated":
                self._put(NotKept(int(piece["bytes"])))
            elif text := piece.get("text"):
                self._put(Output(name, text))
        self._put(OutputEnded())

    def _resumed(
        self, who: str, path: str, query: Mapping[str, object], after: int | str | None, *, ends: bool = False
    ) -> Iterator[Sent]:
        """Server-sent events over restarts of the tower. `ends`: those that end by themselves, with an event `end`."""
        from adapters.system import SystemClock

        clock = SystemClock()
        gone_since: float | None = None

        def opened() -> None:
            nonlocal gone_since
            gone_since = None
            self._found(who)

        while not self._closed.is_set():
            try:
                with Queries(self._place, self._place.need()) as queries:
                    for sent in queries.server_sent(path, query, after=after, opened=opened):
                        if ends and sent.name == "end":
                            return
                        after = sent.place or after
                        yield sent
            except Failure as failure:
                gone_since = clock.monotonic() if gone_since is None else gone_since
                if (failure.code and failure.code not in _PASSING) or clock.monotonic() - gone_since > RETURN_S:
                    self._put(OutputEnded(failure) if ends else Broken(failure))
                    return
                self._missed(who)
            self._closed.wait(LOOK_AGAIN_S)

    def _missed(self, who: str) -> None:
        self._changed(lambda: self._lost_by.add(who))

    def _found(self, who: str) -> None:
        self._changed(lambda: self._lost_by.discard(who))

    def _changed(self, change: Callable[[], None]) -> None:
        """Say once that the tower is away, and once that it is back."""
        with self._lock:
            before = bool(self._lost_by)
            change()
            after = bool(self._lost_by)
        if before != after:
            self._put(Away() if after else Back())


_PASSING: Final = frozenset({"temporarily_unavailable", "tower_busy", "read_model_behind"})
"""Codes after which it is worth asking again."""
