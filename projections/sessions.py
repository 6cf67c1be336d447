"""Sessions and their turns: two tables of one projection. The promise `spawn:{id}` is in that of `executions.py`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from domain.envelope import Recorded
from domain.sessions import events as e
from domain.sessions.events import SessionState
from domain.sessions.state import promise_id
from projections.projection import Key, Projection, Rows
from projections.tables import indexable, instant, number, optional, read_table, required, storable

_ORDER: Final = (SessionState.RUNNING, SessionState.WAITING, SessionState.ERROR, SessionState.TIMED_OUT)

STATES: Final = tuple(str(state) for state in SessionState if state is not SessionState.ENDED)
RANKS: Final = {state: _ORDER.index(state) + 1 if state in _ORDER else len(_ORDER) + 1 for state in SessionState}
"""As lists are sorted: what has something to do, then what went wrong, then the others together."""

LISTED: Final = 200
"""Characters of an instruction and of output in a list."""

SESSIONS: Final = read_table(
    "sessions",
    required("id"),
    required("session_name"),
    required("owner"),
    required("state"),
    number("state_rank"),
    optional("parent_session_id"),
    required("bundle_name"),
    required("runtime"),
    required("instruction"),
    required("spawned"),
    number("turns"),
    number("turn_count"),
    number("stale"),
    optional("stop_reason"),
    optional("deadline"),
    optional("transcript_digest"),
    required("outcome"),
    required("created_at"),
    optional("rested_at"),
    optional("ended_at"),
    required("updated_at"),
    indexes=(
        ("state_rank", "-created_at", "-id"),
        ("state", "-created_at", "-id"),
        ("parent_session_id", "-created_at", "-id"),
        ("bundle_name", "-created_at", "-id"),
    ),
)
"""`spawned` and `outcome`: JSON objects, what else it was spawned with, and how its last turn went. `rested_at`: since
when it has nothing to do; `ended_at`: since when it takes no instruction."""

TURNS: Final = read_table(
    "session_turns",
    required("id"),
    required("session_id"),
    number("turn"),
    required("state"),
    required("instruction"),
    required("instruction_digest"),
    required("outcome"),
    required("instructed_at"),
    optional("started_at"),
    optional("ended_at"),
    indexes=(("session_id", "turn"),),
)

_SPAWNED: Final = (
    "bundle",
    "plan_digest",
    "background",
    "timeout_s",
    "depth",
    "self_depth",
    "context_digest",
    "context_messages",
    "idempotency_key",
    "warnings",
)
_NO_OUTCOME: Final[Mapping[str, Any]] = {
    "output": "",
    "output_digest": None,
    "output_bytes": 0,
    "exit_code": None,
    "execution_time": None,
    "output_position": None,
    "truncated_bytes": 0,
    "error": None,
    "error_type": None,
}
_ENDS: Final[Mapping[type[e.TurnEnd], SessionState]] = {
    e.SessionTurnCompleted: SessionState.COMPLETED,
    e.SessionError: SessionState.ERROR,
    e.SessionCancelled: SessionState.CANCELLED,
    e.SessionTimedOut: SessionState.TIMED_OUT,
}


def turn_id(session_id: str, turn: int) -> str:
    return f"{session_id}:{turn}"


def touched(recorded: Recorded) -> Iterable[Key]:
    event = recorded.event
    if not isinstance(event, e.SessionEvent):
        return ()
    session: Key = (SESSIONS.name, event.session_id)
    turn = getattr(event, "turn", None)
    return (session,) if turn is None else (session, (TURNS.name, turn_id(event.session_id, turn)))


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, instant(recorded.envelope.time)
    if not isinstance(event, e.SessionEvent):
        return
    if isinstance(event, e.SessionSpawned):
        rows[SESSIONS.name, event.session_id] = _spawned(event, at)
        return
    row = rows.get((SESSIONS.name, event.session_id))
    if row is None:
        return
    row["updated_at"] = at
    match event:
        case e.SessionInstructed():
            _instructed(rows, row, event, at)
        case e.SessionTurnStarted():
            row.update(_state(SessionState.RUNNING))
            turn = rows.get((TURNS.name, turn_id(event.session_id, event.turn)))
            if turn is not None:
                turn.update(state=str(SessionState.RUNNING), started_at=at)
        case e.SessionTurnCompleted():
            _turn_ended(rows, row, event, at)
            row.update(_state(SessionState.WAITING), turn_count=row["turn_count"] + 1)
        case e.SessionCompleted():
            row.update(_state(SessionState.COMPLETED), rested_at=at, stop_reason=None, deadline=None)
        case e.SessionError() | e.SessionCancelled() | e.SessionTimedOut():
            _turn_ended(rows, row, event, at)
            row.update(_state(_ENDS[type(event)]), rested_at=at, stop_reason=None, deadline=None)
        case e.SessionStopRequested():
            row["stop_reason"] = event.reason
        case e.SessionResumed():
            _resumed(row, event)
        case e.SessionStale():
            row["stale"] = 1
        case e.SessionEnded():
            row["ended_at"] = row["ended_at"] or at
        case _:
            pass


def _spawned(event: e.SessionSpawned, at: str) -> dict[str, Any]:
    fields = msgspec.to_builtins(event)
    return {
        "id": event.session_id,
        "session_name": indexable(event.session_name),
        "owner": event.owner,
        **_state(SessionState.WAITING),
        "parent_session_id": event.parent_session_id,
        "bundle_name": indexable(event.bundle.name),
        "runtime": storable(event.runtime),
        "instruction": "",
        "spawned": _json({name: fields[name] for name in _SPAWNED}),
        "turns": 0,
        "turn_count": 0,
        "stale": 0,
        "stop_reason": None,
        "deadline": None if event.deadline is None else instant(event.deadline),
        "transcript_digest": None,
        "outcome": "{}",
        "created_at": at,
        "rested_at": None,
        "ended_at": None,
        "updated_at": at,
    }


def _instructed(rows: Rows, row: dict[str, Any], event: e.SessionInstructed, at: str) -> None:
    text = storable(event.instruction or "")
    rows[TURNS.name, turn_id(event.session_id, event.turn)] = {
        "id": turn_id(event.session_id, event.turn),
        "session_id": event.session_id,
        "turn": event.turn,
        "state": str(SessionState.WAITING),
        "instruction": text,
        "instruction_digest": event.instruction_digest,
        "outcome": "{}",
        "instructed_at": at,
        "started_at": None,
        "ended_at": None,
    }
    row.update(turns=event.turn, rested_at=None)
    if event.turn == 1:
        row["instruction"] = text[:LISTED]
    if row["state"] == SessionState.COMPLETED:
        row.update(_state(SessionState.WAITING))


def _resumed(row: dict[str, Any], event: e.SessionResumed) -> None:
    if row["state"] in (SessionState.ERROR, SessionState.TIMED_OUT):
        deadline = None if event.deadline is None else instant(event.deadline)
        row.update(_state(SessionState.WAITING), rested_at=None, deadline=deadline)


def _turn_ended(rows: Rows, row: dict[str, Any], event: e.TurnEnd, at: str) -> None:
    fields = msgspec.to_builtins(event)
    told = {name: fields[name] for name in fields if name in _NO_OUTCOME and fields[name] != _NO_OUTCOME[name]}
    if event.turn is not None or told:
        row["outcome"] = _json(told)
    row["transcript_digest"] = event.transcript_digest or row["transcript_digest"]
    turn = None if event.turn is None else rows.get((TURNS.name, turn_id(event.session_id, event.turn)))
    if turn is not None:
        turn.update(state=str(_ENDS[type(event)]), ended_at=at, outcome=_json(told))


def _state(state: SessionState) -> dict[str, Any]:
    return {"state": str(state), "state_rank": RANKS[state]}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# --- as queries show them ------------------------------------------------------------------------------------------


def shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The whole of one session, but for its turns."""
    item = {name: value for name, value in row.items() if name not in ("state_rank", "spawned", "outcome", "turns")}
    outcome = {**_NO_OUTCOME, **msgspec.json.decode(row["outcome"])}
    spawned = msgspec.json.decode(row["spawned"])
    return item | {"promise_id": promise_id(row["id"]), "stale": bool(row["stale"])} | spawned | outcome


def listed(row: Mapping[Any, Any]) -> dict[str, Any]:
    item = shown(row)
    item["output"] = item["output"][:LISTED]
    return item


def turn_shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    item = {name: value for name, value in row.items() if name not in ("id", "outcome", "session_id")}
    return item | {**_NO_OUTCOME, **msgspec.json.decode(row["outcome"])}


PROJECTION: Final = Projection(
    name="sessions",
    version=1,
    tables=(SESSIONS, TURNS),
    kinds=frozenset({"session"}),
    touched=touched,
    fold=fold,
)
