"""What the HTTP interface needs from the tower, as small Protocols; the composition root fills them in."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, NotRequired, Protocol, TypedDict

from prometheus_client import CollectorRegistry

from adapters.http.subscribers import Subscribers
from domain.envelope import Stored
from domain.errors import Rejection
from domain.executions.events import ExecutionState
from domain.executions.state import ENDS
from domain.messages import Event
from domain.sessions.messages import Message
from domain.sessions.state import Sessions
from handlers.bundle_ports import PreparedBundle
from handlers.ports import Ids

Row = Mapping[str, Any]
"""One row of a read model: JSON values and datetimes only."""

AFTER_TIMEOUT_S = 5.0
OUTCOME_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 15.0
MAX_STREAMS = 200
"""Event streams that may be open at the same time; the next one is `tower_busy`."""


class Page(Protocol):
    """`next_cursor` is None on the last page; `position` is the read model's, in the log."""

    @property
    def items(self) -> Sequence[Row]: ...

    @property
    def next_cursor(self) -> str | None: ...

    @property
    def position(self) -> int: ...


class ReadModels(Protocol):
    """The queries. They raise `Rejection` (`validation_failed` for a bad cursor) and `DatabaseTrouble`; None stands
    for not found."""

    async def layouts(self, *, container_id: str | None, state: str | None, limit: int, cursor: str | None) -> Page: ...

    async def layout(self, layout_id: str, /, *, include_terminal_panes: bool) -> Row | None: ...

    async def panes(
        self, *, container_id: str | None, layout_id: str | None, state: str | None, limit: int, cursor: str | None
    ) -> Page: ...

    async def pane(self, pane_id: str, /, *, include_predecessor_chain: bool) -> Row | None: ...

    async def no_pane(self, pane_id: str, caller: str, /) -> Rejection: ...

    async def agents(
        self, *, container_id: str | None, state: str | None, origin: str | None, limit: int, cursor: str | None
    ) -> Page: ...

    async def agent(self, agent_id: str, /) -> Row | None: ...

    async def containers(self, *, state: str | None, limit: int, cursor: str | None) -> Page: ...

    async def container(self, container_id: str, /) -> Row | None: ...

    async def unmanaged_panes(self, container_id: str, /, *, limit: int, cursor: str | None) -> Page: ...

    async def bundles(self, *, state: str | None, name: str | None, limit: int, cursor: str | None) -> Page: ...

    async def bundle(self, text: str, /) -> Row | None:
        """By id, URI or name."""
        ...

    async def executions(
        self, *, session_id: str | None, state: str | None, limit: int, cursor: str | None
    ) -> Page: ...

    async def execution(self, execution_id: str, /, *, wait_s: float) -> Row | None:
        """At its end, or as it is after `wait_s` seconds."""
        ...

    async def promises(
        self, *, execution_id: str | None, state: str | None, limit: int, cursor: str | None
    ) -> Page: ...

    async def promise(self, promise_id: str, /, *, wait_s: float) -> Row | None:
        """Settled, or as it is after `wait_s` seconds."""
        ...

    async def sessions(
        self,
        *,
        parent_session_id: str | None,
        bundle_name: str | None,
        state: str | None,
        limit: int,
        cursor: str | None,
    ) -> Page: ...

    async def session(self, session_id: str, /, *, wait_s: float, turn: int | None) -> Row | None:
        """At rest, or when it has ended this `turn`, or as it is after `wait_s` seconds."""
        ...

    async def background_sessions(
        self,
        *,
        name: str | None,
        state: str | None,
        parent_session_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> Page: ...

    async def background_session(self, text: str, /) -> Row | None:
        """By id or name."""
        ...

    async def triggers(
        self,
        *,
        background: str | None,
        type: str | None,  # noqa: A002
        state: str | None,
        session_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> Page: ...

    async def events(
        self,
        *,
        kind: str | None,
        id: str | None,  # noqa: A002
        type: str | None,  # noqa: A002
        actor: str | None,
        correlation_id: str | None,
        since: datetime | None,
        until: datetime | None,
        after_position: int | None,
        limit: int,
        cursor: str | None,
    ) -> Page: ...

    async def command(self, command_id: str, /) -> Row | None: ...

    async def projections(self) -> Sequence[Row]: ...

    def seen_from(self, container_id: str, /) -> "ReadModels":
        """The same, narrowed to what a peer in that container may see."""
        ...

    async def wait_for(self, position: int, timeout_s: float, *, model: str | None) -> None:
        """Until the read model `model` (all of them when None) reflects `position`, else `read_model_behind`."""
        ...


class Ask(Protocol):
    """Hands a command to the writer and waits for its outcome, the same JSON as at the other doors."""

    async def __call__(
        self,
        *,
        noun: str,
        verb: str,
        data: Any,
        idempotency_key: str | None,
        command_id: str | None,
        origin: str,
        correlation_id: str | None,
        traceparent: str | None,
    ) -> Mapping[str, Any]: ...


class Follow(Protocol):
    def __call__(self, after: int, /) -> AsyncIterator[Sequence[Stored]]:
        """Entries after `after` as they come, for ever; every caller reads at its own pace."""
        ...


class LastPosition(Protocol):
    async def __call__(self) -> int: ...


class Check(TypedDict):
    """One thing that must hold for the tower to be ready; `reason` says what a person can do about it."""

    ok: bool
    reason: NotRequired[str]
    position: NotRequired[int]
    lag: NotRequired[int]


ContainerOf = Callable[[Event], str | None]


def _unknown_container(_event: Event) -> str | None:
    return None


class LaunchPage(Protocol):
    """Rows by name, each with its `id`; `problems` are the files that are skipped."""

    @property
    def rows(self) -> Sequence[Row]: ...

    @property
    def problems(self) -> Sequence[Row]: ...


class LaunchRows(Protocol):
    """Templates and launch profiles as they are now, secrets redacted."""

    async def templates(self) -> LaunchPage: ...

    async def profiles(self) -> LaunchPage: ...


class PaneLogs(Protocol):
    """The logs of panes, wherever they are."""

    async def read(self, pane: Row, lines: int | None, *, follow: bool) -> AsyncIterator[bytes]:
        """The last lines (all that is kept with None), then what is added until the pane is removed.

        Raises `Rejection` temporarily_unavailable before anything is given, where the log cannot be read.
        """
        ...


class ExecutionStanding(NamedTuple):
    """The state of an execution as of a position of the log."""

    state: ExecutionState
    position: int

    @property
    def has_ended(self) -> bool:
        return self.state in ENDS.values()


class SessionStanding(NamedTuple):
    """A session as of a position of the log. `active`: it has something to do; `over`: it never will again. `bundle` is
    the URI of the bundle that it was spawned from, None once that is not known any more."""

    session_name: str
    bundle: str | None
    stale: bool
    active: bool
    over: bool
    position: int


def session_standing(session_id: str, sessions: Sessions, position: int) -> SessionStanding | None:
    """From the state as of `position`."""
    known, ended = sessions.known.get(session_id), sessions.ended.get(session_id)
    if known is not None:
        return SessionStanding(known.session_name, known.bundle.uri, known.stale, known.active, False, position)
    return None if ended is None else SessionStanding(ended.session_name, None, False, False, True, position)


class Piece(Protocol):
    """A part of an execution's output. `sequence` is its place in the stream of output, `offset` how many bytes its
    attempt had written before it, `end` those with it."""

    @property
    def sequence(self) -> int: ...

    @property
    def stream(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def attempt(self) -> int: ...

    @property
    def offset(self) -> int: ...

    @property
    def end(self) -> int: ...


class Feed(Protocol):
    """Pieces in order, as they come; after `finish` it stops behind the last one."""

    async def open(self) -> None:
        """Raises `OutputError`."""
        ...

    def finish(self, position: int | None = None) -> None:
        """All output is in the stream by now; the last of it at `position`, where that is known."""
        ...

    async def __anext__(self) -> Sequence[Piece]: ...

    async def aclose(self) -> None: ...


class Outputs(Protocol):
    """What executions print."""

    def __call__(self, execution_id: str, *, after: int, ended: bool) -> Feed:
        """From behind the sequence `after`. `ended`: give what there is by now, and stop."""
        ...


class Transcript(Protocol):
    async def __call__(self, session_id: str, digest: str, /) -> Sequence[Message]: ...


class Consumers(Protocol):
    async def __call__(self) -> Sequence[Row]:
        """The subscriptions that read at the broker, as `Subscribers.lags` tells them."""
        ...


async def _no_consumers() -> Sequence[Row]:
    return ()


class Hook(Protocol):
    async def __call__(self, name: str, headers: Mapping[str, str], body: bytes, /) -> Mapping[str, Any]:
        """Take a signed delivery; the answer after its commit. Raises `Rejection`."""
        ...


async def _no_hook(name: str, _headers: Mapping[str, str], _body: bytes) -> Mapping[str, Any]:
    raise Rejection("unauthorized", f"no hook {name} takes this signature")


def _not_watched(_background_id: str) -> Mapping[int, str]:
    return {}


class Ready(Protocol):
    async def __call__(self) -> Mapping[str, Check]: ...


@dataclass(frozen=True, kw_only=True)
class HttpServices:
    """`token` is the operator's bearer token. `bound_host` is the address that the server listens on; beyond loopback
    every request needs the token. `allowed_hosts`: further names that a Host header may carry. `containers`: the ids of
    the registered containers. `container_of`: the container that an event is about, by the tower's state.
    `bundle`: what serves of one. `execution`, `session`: how one stands, from memory. `blob`: the path of the file of
    a digest, if it is there. `transcript`: of a session, by its digest; raises `OSError`.
    `watching`: how the triggers of a background session are watched, by their places."""

    read_models: ReadModels
    ask: Ask
    ids: Ids
    follow: Follow
    last_position: LastPosition
    ready: Ready
    launching: LaunchRows
    logs: PaneLogs
    outputs: Outputs
    bundle: Callable[[str], PreparedBundle | None]
    execution: Callable[[str], ExecutionStanding | None]
    session: Callable[[str], SessionStanding | None]
    blob: Callable[[str], str]
    transcript: Transcript
    node: str
    token: str
    metrics: CollectorRegistry
    now: Callable[[], datetime]
    bound_host: str = "127.0.0.1"
    allowed_hosts: frozenset[str] = field(default_factory=frozenset)
    after_timeout_s: float = AFTER_TIMEOUT_S
    outcome_timeout_s: float = OUTCOME_TIMEOUT_S
    keep_alive_s: float = KEEP_ALIVE_S
    max_streams: int = MAX_STREAMS
    containers: Callable[[], Iterable[str]] = tuple
    hook: Hook = _no_hook
    container_of: ContainerOf = _unknown_container
    subscribers: Subscribers = field(default_factory=Subscribers)
    consumers: Consumers = _no_consumers
    watching: Callable[[str], Mapping[int, str]] = _not_watched

    def __post_init__(self) -> None:
        if len(self.token) < 16:
            raise ValueError("the HTTP token has at least 16 characters")
