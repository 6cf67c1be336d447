"""Firings: which is taken at once, which waits, which is refused; what runs next, and what the end of a run means."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import msgspec

from domain.background import events as e
from domain.background.definition import TIMER
from domain.background.emitted import of_run
from domain.background.instructions import instruction
from domain.background.state import Background, Outcome, Run
from domain.errors import Rejection
from domain.messages import Event
from domain.sessions import ids

MAX_DEPTH: Final = 32
"""Runs that lead to each other, unless the tower's settings say otherwise."""

LOST: Final = "lost"
"""Type of the error of a session whose turn ended with an earlier tower."""

MAX_ATTEMPTS: Final = 20
"""Of a firing whose runs end with the tower again and again: it may be what ends it."""

UNANSWERED_GROWTH: Final = 10
"""By how much what the log itself brings, where nobody can wait, may pass the `queue_size` of a queue that blocks."""

MAX_WAITING: Final = 10_000


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """A firing as it came; the fields are those of `trigger.fired`."""

    trigger_id: str
    trigger: int
    source: str
    timestamp: datetime
    data: Any = None
    file_path: str | None = None
    change_type: str | None = None
    source_session_id: str | None = None
    event_name: str | None = None
    depth: int = 0


def fire(there: Background, told: Firing, *, max_depth: int, waits: bool) -> tuple[Event, ...]:
    """`waits`: whoever tells it can be asked to tell it later, which `tower_busy` does."""
    if not there.listens:
        return (_refused(there, told, "not_running"),)
    if told.depth > max_depth:
        return (_refused(there, told, "depth"),)
    if there.has_room and not there.waiting:
        fired = e.TriggerFired(**_fields(there, told), placed="run")
        return (fired, _started(there, fired, there.trigger_count + 1))
    placed = e.TriggerFired(**_fields(there, told), placed="waiting")
    if there.definition.coalesce == "latest":
        return (placed, *(_dropped(each, "coalesced") for each in there.waiting))
    queued, room = len(there.waiting), there.definition.queue_size
    if queued < room:
        return (placed,)
    match there.definition.overflow:
        case "drop_oldest":
            return (placed, _dropped(there.waiting[0], "drop_oldest"))
        case "reject":
            return (_refused(there, told, "queue_full"),)
        case "block" if waits:
            message = f"{queued} firings wait for {there.name}; tell it again"
            raise Rejection("tower_busy", message, queued=queued)
        case "block":
            if queued < min(room * UNANSWERED_GROWTH, MAX_WAITING):
                return (placed,)
            return (_refused(there, told, "queue_full"),)


def next_runs(there: Background) -> Iterator[e.BackgroundRunStarted]:
    """Of what waits, in order, as many as there is room for."""
    room = there.definition.pool_size - len(there.running)
    for place, fired in enumerate(there.waiting[: max(0, room)]):
        yield _started(there, fired, there.trigger_count + 1 + place)


def run_ended(there: Background, run: Run, outcome: Outcome) -> tuple[Event, ...]:
    """The firing is consumed and the custom event emitted; or it is given again, for a run that ended with the
    tower."""
    again = outcome.error_type == LOST and run.attempt < MAX_ATTEMPTS and not there.over
    ended = e.BackgroundRunEnded(
        background_id=there.background_id,
        trigger_id=run.fired.trigger_id,
        session_id=run.session_id,
        attempt=run.attempt,
        success=outcome.success,
        output=outcome.output,
        error=outcome.error,
        error_type=outcome.error_type,
        again=again,
    )
    if again:
        return (ended, _started(there, run.fired, run.trigger_count, run.attempt + 1))
    emitted = of_run(there, run, outcome)
    return (ended,) if emitted is None else (ended, emitted)


def stopped(there: Background, reason: e.StopReason) -> e.BackgroundStopped:
    dropped = tuple(each.trigger_id for each in there.waiting)
    return e.BackgroundStopped(background_id=there.background_id, reason=reason, dropped=dropped)


def trigger_id(*parts: str | int) -> str:
    """The same for the same parts."""
    return hashlib.blake2b("\0".join(str(part) for part in parts).encode(), digest_size=16).hexdigest()


def with_tick(there: Background, told: Firing) -> Firing:
    """A timer's firings say the how manyth they are."""
    if there.definition.triggers[told.trigger].type != TIMER:
        return told
    data = cast(dict[str, Any], told.data) if isinstance(told.data, dict) else {}
    return msgspec.structs.replace(told, data={**data, "tick": there.ticks.get(told.trigger, 0) + 1})


def _started(there: Background, fired: e.TriggerFired, count: int, attempt: int = 1) -> e.BackgroundRunStarted:
    name = f"{there.name}-{count}"
    fresh = UUID(bytes=hashlib.blake2b(f"{there.background_id}:{count}:{attempt}".encode(), digest_size=16).digest())
    return e.BackgroundRunStarted(
        background_id=there.background_id,
        trigger_id=fired.trigger_id,
        session_id=ids.made(fresh, name, there.parent_session_id),
        session_name=name,
        attempt=attempt,
        trigger_count=count,
        warnings=instruction(there.definition.instruction, fired, count).warnings,
    )


def _fields(there: Background, told: Firing) -> dict[str, Any]:
    fields = {name: getattr(told, name) for name in Firing.__struct_fields__}
    return {
        **fields,
        "background_id": there.background_id,
        "type": there.definition.triggers[told.trigger].type,
    }


def _refused(there: Background, told: Firing, reason: e.RefuseReason) -> e.TriggerRefused:
    return e.TriggerRefused(**_fields(there, told), reason=reason)


def _dropped(fired: e.TriggerFired, reason: e.DropReason) -> e.TriggerDropped:
    return e.TriggerDropped(trigger_id=fired.trigger_id, background_id=fired.background_id, reason=reason)
