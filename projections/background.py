"""Background sessions and the firings of their triggers: two tables of one projection."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from domain.background import events as e
from domain.background.events import BackgroundState
from domain.envelope import Recorded
from projections.projection import Key, Projection, Row, Rows
from projections.tables import indexable, instant, number, optional, read_table, required, storable

STATES: Final = tuple(str(state) for state in BackgroundState)
_ORDER: Final = (BackgroundState.FAILED, BackgroundState.STARTING, BackgroundState.RUNNING, BackgroundState.STOPPED)
RANKS: Final = {state: rank for rank, state in enumerate(_ORDER)}
"""As lists are sorted: what went wrong first, what was stopped last."""

WAITING: Final = "waiting"
RUNNING: Final = "running"
FIRING_STATES: Final = (WAITING, RUNNING, "completed", "failed", "dropped", "refused")

DATA_CHARACTERS: Final = 4096
OUTPUT_CHARACTERS: Final = 200
"""Of a firing's data and of its run's output that stand in a row; the event and the session hold all of it."""

BACKGROUNDS: Final = read_table(
    "background_sessions",
    required("id"),
    required("name"),
    required("state"),
    number("state_rank"),
    required("source"),
    optional("bundle"),
    optional("parent_session_id"),
    required("folder"),
    required("definition"),
    required("definition_digest"),
    optional("stop_reason"),
    optional("error"),
    optional("error_type"),
    number("restart_count"),
    optional("restart_at"),
    number("trigger_count"),
    optional("last_trigger"),
    number("running"),
    number("waiting"),
    number("failed_count"),
    number("refused_count"),
    number("dropped_count"),
    required("declared_at"),
    optional("started_at"),
    required("updated_at"),
    indexes=(("state_rank", "name", "id"), ("name", "id")),
)
"""`definition`: a JSON object. `running` and `waiting` count firings now, the other counts all that there were."""

TRIGGERS: Final = read_table(
    "triggers",
    required("id"),
    required("background_id"),
    required("background_name"),
    number("position"),
    number("trigger_index"),
    required("type"),
    required("source"),
    required("state"),
    optional("reason"),
    required("fired_at"),
    required("details"),
    number("depth"),
    optional("session_id"),
    optional("session_name"),
    number("attempt"),
    number("trigger_count", nullable=True),
    optional("started_at"),
    optional("ended_at"),
    required("outcome"),
    indexes=(
        ("-position",),
        ("background_id", "-position"),
        ("background_name", "-position"),
        ("state", "-position"),
        ("background_id", "state", "fired_at"),
        ("session_id",),
    ),
)
"""`details` and `outcome`: JSON objects, what else the trigger told, and how its run ended."""

_DETAILS: Final = ("file_path", "change_type", "source_session_id", "event_name")
_NO_OUTCOME: Final[Mapping[str, Any]] = {"output": "", "error": None, "error_type": None, "warnings": []}


def touched(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    if not isinstance(event, e.BackgroundEvent | e.TriggerEvent):
        return ()
    background: Key = (BACKGROUNDS.name, event.background_id)
    match event:
        case e.BackgroundRunStarted() | e.BackgroundRunEnded() | e.TriggerDropped():
            return (background, (TRIGGERS.name, event.trigger_id))
        case e.BackgroundStopped():
            return (background, *((TRIGGERS.name, each) for each in event.dropped))
        case _:
            return (background,)


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, instant(recorded.envelope.time)
    if isinstance(event, e.BackgroundDeclared):
        _declared(rows, event, at)
        return
    if not isinstance(event, e.BackgroundEvent | e.TriggerEvent):
        return
    row = rows.get((BACKGROUNDS.name, event.background_id))
    if row is None:
        return
    row["updated_at"] = at
    match event:
        case e.TriggerTold():
            _told(rows, row, event, recorded.position)
        case e.TriggerDropped():
            _ended(rows, row, event.trigger_id, "dropped", at, reason=event.reason)
        case e.BackgroundRunStarted():
            _run_started(rows, row, event, at)
        case e.BackgroundRunEnded() if not event.again:
            _run_ended(rows, row, event, at)
        case e.BackgroundStopped():
            row.update(_state(BackgroundState.STOPPED), stop_reason=event.reason, restart_at=None, restart_count=0)
            for trigger_id in event.dropped:
                _ended(rows, row, trigger_id, "dropped", at, reason="stopped")
        case e.BackgroundStarting():
            row.update(_state(BackgroundState.STARTING), started_at=at, stop_reason=None, restart_at=None)
            row.update(error=None, error_type=None)
            if event.reason == "asked":
                row["restart_count"] = 0
        case e.BackgroundRunning():
            row.update(_state(BackgroundState.RUNNING))
        case e.BackgroundFailed():
            _failed(row, event)
        case _:
            pass


def _declared(rows: Rows, event: e.BackgroundDeclared, at: str) -> None:
    declared = {
        "source": event.source,
        "bundle": None if event.bundle is None else storable(event.bundle),
        "folder": storable(event.folder),
        "definition": _json(event.definition),
        "definition_digest": event.definition_digest,
        "updated_at": at,
    }
    key: Key = (BACKGROUNDS.name, event.background_id)
    there = rows.get(key)
    if there is not None:
        there.update(declared)
        return
    rows[key] = {
        "id": event.background_id,
        "name": indexable(event.name),
        **_state(BackgroundState.STOPPED),
        **declared,
        "parent_session_id": event.parent_session_id,
        **dict.fromkeys(("stop_reason", "error", "error_type", "restart_at", "last_trigger", "started_at")),
        **dict.fromkeys(("restart_count", "trigger_count", "running", "waiting"), 0),
        **dict.fromkeys(("failed_count", "refused_count", "dropped_count"), 0),
        "declared_at": at,
    }


def _failed(row: Row, event: e.BackgroundFailed) -> None:
    row.update(
        _state(BackgroundState.FAILED),
        error=storable(event.error),
        error_type=storable(event.error_type),
        restart_count=event.restart_count,
        restart_at=None if event.restart_at is None else instant(event.restart_at),
    )


def _told(rows: Rows, row: Row, event: e.TriggerTold, position: int) -> None:
    refused = isinstance(event, e.TriggerRefused)
    row["refused_count" if refused else "waiting"] += 1
    data = _json(event.data)
    details = {name: getattr(event, name) for name in _DETAILS}
    if len(data) <= DATA_CHARACTERS:
        details["data"] = event.data
    rows[TRIGGERS.name, event.trigger_id] = {
        "id": event.trigger_id,
        "background_id": event.background_id,
        "background_name": row["name"],
        "position": position,
        "trigger_index": event.trigger,
        "type": event.type,
        "source": storable(event.source),
        "state": "refused" if refused else WAITING,
        "reason": event.reason if refused else None,
        "fired_at": instant(event.timestamp),
        "details": _json(details | {"data_bytes": len(data.encode())}),
        "depth": event.depth,
        "session_id": None,
        "session_name": None,
        "attempt": 0,
        "trigger_count": None,
        "started_at": None,
        "ended_at": None,
        "outcome": "{}",
    }


def _run_started(rows: Rows, row: Row, event: e.BackgroundRunStarted, at: str) -> None:
    row["trigger_count"] = max(row["trigger_count"], event.trigger_count)
    firing = rows.get((TRIGGERS.name, event.trigger_id))
    if firing is None:
        return
    if event.attempt == 1:
        row["last_trigger"] = firing["fired_at"]
    _move(row, firing, RUNNING)
    firing.update(
        session_id=event.session_id,
        session_name=indexable(event.session_name),
        attempt=event.attempt,
        trigger_count=event.trigger_count,
        started_at=at,
        outcome=_json({"warnings": event.warnings} if event.warnings else {}),
    )


def _run_ended(rows: Rows, row: Row, event: e.BackgroundRunEnded, at: str) -> None:
    firing = rows.get((TRIGGERS.name, event.trigger_id))
    if firing is None:
        return
    told = {"output": event.output[:OUTPUT_CHARACTERS], "error": event.error, "error_type": event.error_type}
    known = msgspec.json.decode(firing["outcome"])
    firing["outcome"] = _json(known | {name: value for name, value in told.items() if value})
    row["failed_count"] += not event.success
    _ended(rows, row, event.trigger_id, "completed" if event.success else "failed", at)


def _ended(rows: Rows, row: Row, trigger_id: str, state: str, at: str, *, reason: str | None = None) -> None:
    firing = rows.get((TRIGGERS.name, trigger_id))
    if firing is None:
        return
    _move(row, firing, state)
    firing.update(reason=reason, ended_at=at)
    row["dropped_count"] += state == "dropped"


def _move(row: Row, firing: Row, to: str) -> None:
    """The counts of what waits and of what runs go with it."""
    if firing["state"] in (WAITING, RUNNING):
        row[firing["state"]] -= 1
    if to in (WAITING, RUNNING):
        row[to] += 1
    firing["state"] = to


def _state(state: BackgroundState) -> dict[str, Any]:
    return {"state": str(state), "state_rank": RANKS[state]}


def _json(value: Any) -> str:
    """Text that both databases take: escapes stand for what they do not."""
    return storable(msgspec.json.encode(value).decode())


# --- as queries show them ------------------------------------------------------------------------------------------


def shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    item = {name: value for name, value in row.items() if name != "state_rank"}
    return item | {"definition": msgspec.json.decode(row["definition"])}


def firing_shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    """`data` is null with more `data_bytes` than a row holds."""
    item = {name: value for name, value in row.items() if name not in ("details", "outcome")}
    details = {"data": None, **msgspec.json.decode(row["details"])}
    return item | details | {**_NO_OUTCOME, **msgspec.json.decode(row["outcome"])}


PROJECTION: Final = Projection(
    name="background",
    version=1,
    tables=(BACKGROUNDS, TRIGGERS),
    kinds=frozenset({"background", "trigger"}),
    touched=touched,
    fold=fold,
)
