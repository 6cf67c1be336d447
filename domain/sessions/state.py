"""State of sessions.

    from                     event           to          why
    -                        spawned         waiting     accepted, with its first instruction
    waiting                  turn_started    running     the runtime is ready
    running                  turn_completed  waiting
    waiting                  completed       completed   no instruction waits
    running                  error           error       the turn failed, or the tower ended meanwhile
    running                  stop_requested  running     the turn is to end
    running, waiting         cancelled       ended
    running, waiting         timed_out       timed_out
    completed                instructed      waiting
    error, timed_out         resumed         waiting     somebody asked for it, or instructed it
    waiting                  resumed         waiting     its runtime is made anew
    any but ended            ended           ended       on purpose; what waits is still done before

Turns run one at a time, in the order of their acceptance; sessions run beside each other. What waits when a turn fails
or times out stays, and goes on with the session. What has ended on purpose is remembered for ever.

    promise spawn:{id}   pending until the first outcome: completed resolves it, cancelled cancels it, error and
                         timed_out reject it; what comes after a resume changes nothing of it
"""

from datetime import datetime
from typing import Final

import msgspec
from immutables import Map

from domain.sessions.events import BundleRef, SessionState, StopReason

DEPTH_LIMIT: Final = 8
"""Sessions above one, at most, unless the tower's settings say otherwise."""

SELF_LIMIT: Final = 3
"""Sessions in a row that are spawned from their parents' own plan."""


class Instruction(msgspec.Struct, frozen=True, array_like=True):
    """`text` is None for one that has its own file."""

    turn: int
    digest: str
    text: str | None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One that may still be given something to do. `turns`: how many were accepted, `turn_count`: how many were
    completed. `stop`: why the turn under way is to end. `settled`: its promise is. `ending`: it takes no more."""

    session_id: str
    session_name: str
    owner: str
    bundle: BundleRef
    plan_digest: str
    runtime: str
    request_digest: str
    parent_session_id: str | None = None
    background: bool = False
    timeout_s: float | None = None
    deadline: datetime | None = None
    depth: int = 0
    self_depth: int = 0
    context_digest: str | None = None
    idempotency_key: str | None = None
    state: SessionState = SessionState.WAITING
    waiting: tuple[Instruction, ...] = ()
    running: Instruction | None = None
    turns: int = 0
    turn_count: int = 0
    transcript_digest: str | None = None
    stop: StopReason | None = None
    settled: bool = False
    stale: bool = False
    ending: bool = False

    @property
    def active(self) -> bool:
        """It has something to do."""
        return self.state in (SessionState.WAITING, SessionState.RUNNING)

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the files that it needs."""
        own = (self.plan_digest, self.context_digest)
        given = (*self.waiting, *(() if self.running is None else (self.running,)))
        return (*(each for each in own if each is not None), *(each.digest for each in given if each.text is None))


class Tombstone(msgspec.Struct, frozen=True, array_like=True):
    """What a repeat needs of one that has ended on purpose."""

    owner: str
    request_digest: str
    session_name: str
    state: SessionState


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    """`known` by id, of them `active` those that have something to do, in the order of acceptance; `ended` for ever.
    `keys`: (owner, idempotency key) -> id."""

    known: Map[str, Session] = Map()
    active: Map[str, int] = Map()
    ended: Map[str, Tombstone] = Map()
    keys: Map[tuple[str, str], str] = Map()
    accepted: int = 0

    @property
    def digests(self) -> frozenset[str]:
        """Of the files that sessions need."""
        return frozenset(digest for session in self.known.values() for digest in session.digests)


def promise_id(session_id: str) -> str:
    return f"spawn:{session_id}"


def spawned_by(promise: str) -> str | None:
    """The session whose promise it is."""
    kind, _, session_id = promise.partition(":")
    return session_id if kind == "spawn" else None


def exists(session_id: str, state: Sessions) -> bool:
    return session_id in state.known or session_id in state.ended


def next_turn(session_id: str, state: Sessions) -> Instruction | None:
    """What the session may start now."""
    session = state.known.get(session_id)
    if session is None or session.state is not SessionState.WAITING or not session.waiting:
        return None
    return session.waiting[0]
