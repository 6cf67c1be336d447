"""Executions and promises: two tables of one projection, so that no reader sees an execution beside a promise of
another moment. The promise `exec:{id}` has its row from the events of its execution, `spawn:{id}` from those of its
session.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from domain.envelope import Recorded
from domain.executions import events as e
from domain.executions.events import ExecutionState
from domain.executions.state import ENDS, promise_id
from domain.promises import PromiseState
from domain.sessions.events import SessionEvent
from domain.sessions.state import promise_id as spawned
from projections import promises
from projections.projection import Key, Projection, Rows
from projections.promises import PROMISES
from projections.tables import instant, number, optional, read_table, required, storable

_ORDER: Final = (ExecutionState.RUNNING, ExecutionState.REQUESTED, ExecutionState.RETRYING, ExecutionState.PAUSED)

STATES: Final = tuple(str(state) for state in ExecutionState)
RANKS: Final = {state: _ORDER.index(state) + 1 if state in _ORDER else len(_ORDER) + 1 for state in ExecutionState}
"""As lists are sorted: the open ones first, all that have ended together."""

LISTED: Final = 200
"""Characters of code and of a repr in a list."""

EXECUTIONS: Final = read_table(
    "executions",
    required("id"),
    required("session_id"),
    required("owner"),
    required("state"),
    number("state_rank"),
    number("attempt"),
    optional("cancel_requested"),
    optional("due_at"),
    required("code"),
    required("asked"),
    required("outcome"),
    required("requested_at"),
    optional("started_at"),
    optional("ended_at"),
    required("updated_at"),
    indexes=(
        ("state_rank", "-requested_at", "-id"),
        ("session_id", "state_rank", "-requested_at", "-id"),
        ("state", "-requested_at", "-id"),
    ),
)
"""`asked` and `outcome`: JSON objects, what was asked beside the code, and how the last attempt went so far."""

_NOT_ASKED: Final = frozenset({"execution_id", "session_id", "owner", "code"})
_NO_OUTCOME: Final[Mapping[str, Any]] = {
    "value": None,
    "has_value": False,
    "value_digest": None,
    "value_bytes": None,
    "repr": None,
    "truncated": False,
    "error": None,
    "interrupted": None,
    "mode": None,
    "execution_time": None,
    "output_position": None,
    "truncated_bytes": 0,
    "children": 0,
    "blocking": [],
    "worker_restarted": False,
}
_ENDS: Final = {
    ExecutionState.COMPLETED: PromiseState.RESOLVED,
    ExecutionState.CANCELLED: PromiseState.CANCELLED,
}


def touched(recorded: Recorded) -> Iterable[Key]:
    subject = recorded.envelope.subject
    if recorded.envelope.kind == "promise":
        return ((PROMISES.name, subject),)
    if recorded.envelope.kind == "session":
        return ((PROMISES.name, spawned(subject)),) if isinstance(recorded.event, SessionEvent) else ()
    return ((EXECUTIONS.name, subject), (PROMISES.name, promise_id(subject)))


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, instant(recorded.envelope.time)
    if recorded.envelope.kind == "promise":
        promises.fold(rows, recorded)
        return
    if recorded.envelope.kind == "session":
        promises.fold_session(rows, recorded)
        return
    if isinstance(event, e.ExecutionRequested):
        rows[EXECUTIONS.name, event.execution_id] = _requested(event, at)
        made = promises.row(promise_id(event.execution_id), event.owner, at, of=(event.execution_id, "execution"))
        rows[PROMISES.name, made["id"]] = made
        return
    key = (EXECUTIONS.name, recorded.envelope.subject)
    row = rows.get(key)
    if row is None or row["ended_at"] is not None:
        return
    row["updated_at"] = at
    match event:
        case e.ExecutionStarted():
            row.update(_state(ExecutionState.RUNNING), attempt=event.attempt, started_at=at, outcome="{}", due_at=None)
        case e.ExecutionCancelRequested():
            row["cancel_requested"] = event.scope
        case e.ExecutionRetryScheduled():
            waits = ExecutionState.REQUESTED if event.due is None else ExecutionState.RETRYING
            due = None if event.due is None else instant(event.due)
            row.update(_state(waits), due_at=due, outcome=_interrupted(event))
        case e.ExecutionPaused():
            row.update(_state(ExecutionState.PAUSED), outcome=_interrupted(event))
        case e.ExecutionResumed():
            row.update(_state(ExecutionState.REQUESTED), due_at=None)
        case e.ExecutionEnd():
            _end(rows, row, event, at)
        case _:
            pass


def _end(rows: Rows, row: dict[str, Any], event: e.ExecutionEnd, at: str) -> None:
    state = ENDS[type(event)]
    row.update(_state(state), ended_at=at, due_at=None, outcome=_json(_outcome(event)))
    promise = rows.get((PROMISES.name, promise_id(event.execution_id)))
    if promise is not None:
        promises.settle(promise, _ENDS.get(state, PromiseState.REJECTED), at)


def _requested(event: e.ExecutionRequested, at: str) -> dict[str, Any]:
    asked = {name: value for name, value in msgspec.to_builtins(event).items() if name not in _NOT_ASKED}
    return {
        "id": event.execution_id,
        "session_id": event.session_id,
        "owner": event.owner,
        **_state(ExecutionState.REQUESTED),
        "attempt": 0,
        "cancel_requested": None,
        "due_at": None,
        "code": storable(event.code),
        "asked": _json(asked),
        "outcome": "{}",
        "requested_at": at,
        "started_at": None,
        "ended_at": None,
        "updated_at": at,
    }


def _state(state: ExecutionState) -> dict[str, Any]:
    return {"state": str(state), "state_rank": RANKS[state]}


def _interrupted(event: e.ExecutionRetryScheduled | e.ExecutionPaused) -> str:
    return _json({"interrupted": event.reason, "error": msgspec.to_builtins(event.error)})


def _outcome(event: e.ExecutionEnd) -> dict[str, Any]:
    """The fields of an end, those that say nothing left out."""
    fields = msgspec.to_builtins(event)
    told = {name: fields[name] for name in fields if name in _NO_OUTCOME and fields[name] != _NO_OUTCOME[name]}
    return told | {"execution_time": event.execution_time, "has_value": "value" in fields}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# --- as queries show them ------------------------------------------------------------------------------------------


def shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The whole of one execution, but for its open `input_requests`."""
    item = {name: value for name, value in row.items() if name not in ("state_rank", "asked", "outcome")}
    outcome = {**_NO_OUTCOME, **msgspec.json.decode(row["outcome"])}
    return item | {"promise_id": promise_id(row["id"])} | msgspec.json.decode(row["asked"]) | outcome


def listed(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Without its value, code and repr cut, the error without its traceback."""
    item = shown(row)
    del item["value"]
    item["code"] = item["code"][:LISTED]
    if item["repr"] is not None:
        item["repr"] = item["repr"][:LISTED]
    if item["error"] is not None:
        item["error"] = {**item["error"], "traceback": ""}
    return item


PROJECTION: Final = Projection(
    name="executions",
    version=2,
    tables=(EXECUTIONS, PROMISES),
    kinds=frozenset({"execution", "promise", "session"}),
    touched=touched,
    fold=fold,
)
