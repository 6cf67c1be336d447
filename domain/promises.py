"""Durable promises: pending until somebody settles them, once. Events, state, requests, rules.

Anyone with the right subject may settle one: a person, a webhook, another node. A promise belongs to the origin that
made it, and a bench peer settles its own only.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from immutables import Map
from msgspec import Meta

from domain.errors import Rejection
from domain.messages import SUBJECT_ID, Event, Facts, Request, Result

MAX_TIMEOUT_S: Final = 366 * 24 * 3600
VALUE_BYTES: Final = 256 * 1024
"""Of a value or of data, as JSON; what is larger goes to the object store, by whoever has it."""

KEPT_SETTLED: Final = 100_000
"""Promises that are remembered after they were settled, the ones that were settled last."""

PromiseId = Annotated[str, Meta(max_length=128)]

# --- what happened: names and fields are the stored form -----------------------------------------------------------


class PromiseState(StrEnum):
    PENDING = "pending"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class PromiseEvent(Event, frozen=True, kw_only=True):
    promise_id: str


class PromiseCreated(PromiseEvent, frozen=True, kw_only=True):
    """`deadline` is None for one that waits for ever. `owner` is the origin that made it."""

    owner: str
    deadline: datetime | None = None
    data: Any = None


class PromiseResolved(PromiseEvent, frozen=True, kw_only=True):
    value: Any = None


class PromiseRejected(PromiseEvent, frozen=True, kw_only=True):
    value: Any = None


class PromiseCancelled(PromiseEvent, frozen=True, kw_only=True):
    value: Any = None


class PromiseTimedOut(PromiseEvent, frozen=True, kw_only=True):
    pass


Settled = PromiseResolved | PromiseRejected | PromiseCancelled | PromiseTimedOut

# --- state ---------------------------------------------------------------------------------------------------------


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """`made` and `settled` are digests of what was asked, to know a repeat by."""

    promise_id: str
    owner: str
    state: PromiseState = PromiseState.PENDING
    deadline: datetime | None = None
    made: bytes = b""
    settled: bytes = b""


class Promises(msgspec.Struct, frozen=True, kw_only=True):
    """Promises by id, and of the pending ones those that have a deadline. `order`: the settled ones by number,
    `settles` of them in all."""

    known: Map[str, Promise] = Map()
    deadlines: Map[str, datetime] = Map()
    order: Map[int, str] = Map()
    settles: int = 0


SETTLED_AS: Final[Mapping[type[PromiseEvent], PromiseState]] = {
    PromiseResolved: PromiseState.RESOLVED,
    PromiseRejected: PromiseState.REJECTED,
    PromiseCancelled: PromiseState.CANCELLED,
    PromiseTimedOut: PromiseState.TIMED_OUT,
}


def evolve(state: Promises, event: Event) -> Promises:
    match event:
        case PromiseCreated() if event.promise_id not in state.known:
            promise = Promise(
                promise_id=event.promise_id, owner=event.owner, deadline=event.deadline, made=_digest(event.data)
            )
            deadlines = state.deadlines
            if event.deadline is not None:
                deadlines = deadlines.set(event.promise_id, event.deadline)
            return msgspec.structs.replace(state, known=state.known.set(event.promise_id, promise), deadlines=deadlines)
        case PromiseResolved() | PromiseRejected() | PromiseCancelled() | PromiseTimedOut():
            return _settled(state, event)
        case _:
            return state


def _settled(state: Promises, event: Settled) -> Promises:
    promise = state.known.get(event.promise_id)
    if promise is None or promise.state is not PromiseState.PENDING:
        return state
    value = None if isinstance(event, PromiseTimedOut) else event.value
    changed = msgspec.structs.replace(promise, state=SETTLED_AS[type(event)], settled=_digest(value))
    deadlines = state.deadlines
    if event.promise_id in deadlines:
        deadlines = deadlines.delete(event.promise_id)
    known, order = state.known.set(event.promise_id, changed), state.order.set(state.settles, event.promise_id)
    if len(order) > KEPT_SETTLED:
        first = state.settles - len(state.order)
        known, order = known.delete(order[first]), order.delete(first)
    return Promises(known=known, deadlines=deadlines, order=order, settles=state.settles + 1)


def forgotten(before: Promises, after: Promises) -> str | None:
    """The promise that `before` remembered and `after`, one event later, does not."""
    if after.settles == before.settles or len(after.order) > len(before.order):
        return None
    return before.order[before.settles - len(before.order)]


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=16).digest()


# --- what is asked -------------------------------------------------------------------------------------------------


class PromiseCreate(Request, frozen=True):
    """`id` is made up when none is given; `timeout` in seconds, None to wait for ever."""

    id: PromiseId | None = None
    timeout: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)] | None = None
    data: Any = None


class PromiseResolve(Request, frozen=True):
    id: PromiseId
    value: Any = None


class PromiseReject(Request, frozen=True):
    id: PromiseId
    value: Any = None


class PromiseCancel(Request, frozen=True):
    id: PromiseId
    value: Any = None


class PromiseExpire(Request, frozen=True):
    """Its deadline is over: the tower's own."""

    id: str


Settle = PromiseResolve | PromiseReject | PromiseCancel
Asked = PromiseCreate | Settle | PromiseExpire

# --- rules ---------------------------------------------------------------------------------------------------------


def decide(request: Asked, origin: str, facts: Facts, state: Promises) -> tuple[Event, ...]:
    match request:
        case PromiseCreate():
            return create(request, origin, facts, state)
        case PromiseExpire():
            return expire(request, facts, state)
        case _:
            return settle(request, state)


def create(request: PromiseCreate, origin: str, facts: Facts, state: Promises) -> tuple[Event, ...]:
    """The same again is a repeat; another promise under the same id is refused."""
    promise_id = facts.ids[0] if request.id is None else check_id("id", request.id)
    _check_size("data", request.data)
    there = state.known.get(promise_id)
    if there is not None:
        if there.owner == origin and there.made == _digest(request.data):
            return ()
        raise Rejection(
            "idempotency_conflict",
            f"there is another promise {promise_id}",
            idempotency_key=promise_id,
        )
    deadline = None if request.timeout is None else facts.at + timedelta(seconds=request.timeout)
    return (PromiseCreated(promise_id=promise_id, owner=origin, deadline=deadline, data=request.data),)


def settle(request: Settle, state: Promises) -> tuple[Event, ...]:
    """One transition ever: the same kind and value again is a repeat."""
    promise = known_promise(request.id, state)
    _check_size("value", request.value)
    match request:
        case PromiseResolve():
            event: Settled = PromiseResolved(promise_id=promise.promise_id, value=request.value)
        case PromiseReject():
            event = PromiseRejected(promise_id=promise.promise_id, value=request.value)
        case PromiseCancel():
            event = PromiseCancelled(promise_id=promise.promise_id, value=request.value)
    if promise.state is PromiseState.PENDING:
        return (event,)
    if promise.state is SETTLED_AS[type(event)] and promise.settled == _digest(request.value):
        return ()
    raise Rejection(
        "promise_already_settled",
        f"promise {promise.promise_id} is {promise.state}",
        promise_id=promise.promise_id,
        state=str(promise.state),
    )


def expire(request: PromiseExpire, facts: Facts, state: Promises) -> tuple[Event, ...]:
    """Nothing for one that is settled, or whose deadline is not there yet (a clock that stepped)."""
    deadline = state.deadlines.get(request.id)
    return () if deadline is None or facts.at < deadline else (PromiseTimedOut(promise_id=request.id),)


def known_promise(promise_id: str, state: Promises) -> Promise:
    promise = state.known.get(promise_id)
    if promise is None:
        raise Rejection("promise_not_found", f"no promise {promise_id}", promise_id=promise_id)
    return promise


def reserved(promise_id: str | None) -> bool:
    """Whether it is of an execution or a session: the tower's own."""
    return promise_id is not None and promise_id.startswith(("exec:", "spawn:"))


def check_id(field: str, value: str) -> str:
    """`value` if it can stand in a subject."""
    if SUBJECT_ID.match(value) is None:
        reason = "1 to 128 characters of A-Z a-z 0-9 _ : -"
        raise Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)
    return value


def _check_size(field: str, value: Any) -> None:
    if len(msgspec.json.encode(value)) > VALUE_BYTES:
        reason = f"at most {VALUE_BYTES} bytes as JSON"
        raise Rejection("validation_failed", f"{field}: {reason}", field=field, reason=reason)


# --- what the caller is told ---------------------------------------------------------------------------------------


def result(event: Event) -> Result | None:
    """Of an accepted command, from its first event; None for an event that is none of a promise."""
    match event:
        case PromiseCreated():
            deadline = None if event.deadline is None else event.deadline.isoformat()
            return {"promise_id": event.promise_id, "state": "pending", "deadline": deadline, "replay": False}
        case PromiseResolved() | PromiseRejected() | PromiseCancelled() | PromiseTimedOut():
            return {"promise_id": event.promise_id, "state": str(SETTLED_AS[type(event)]), "replay": False}
        case _:
            return None


def standing(request: Asked, state: Promises) -> Result:
    """Of a repeat: as it is now."""
    promise = state.known.get(request.id or "")
    if promise is None:
        return {}
    deadline = None if promise.deadline is None else promise.deadline.isoformat()
    return {"promise_id": promise.promise_id, "state": str(promise.state), "deadline": deadline, "replay": True}
