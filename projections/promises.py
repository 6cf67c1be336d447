"""Promises, those of executions among them; see `executions.py`, whose projection fills the table."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from domain.envelope import Recorded
from domain.executions.state import asked_by
from domain.messages import Event
from domain.promises import SETTLED_AS, PromiseCreated, PromiseEvent, PromiseState
from domain.sessions import events as se
from domain.sessions.state import promise_id
from projections.projection import Rows
from projections.tables import instant, number, optional, read_table, required

PENDING_RANK: Final = 1
SETTLED_RANK: Final = 2

STATES: Final = tuple(str(state) for state in PromiseState)

PROMISES: Final = read_table(
    "promises",
    required("id"),
    required("owner"),
    required("state"),
    number("pending_rank"),
    optional("deadline"),
    optional("data"),
    optional("value"),
    optional("execution_id"),
    optional("purpose"),
    number("n", nullable=True),
    required("created_at"),
    optional("settled_at"),
    indexes=(
        ("pending_rank", "-created_at", "-id"),
        ("owner", "pending_rank", "-created_at", "-id"),
        ("execution_id", "pending_rank", "-created_at", "-id"),
        ("state", "-created_at", "-id"),
    ),
)
"""`purpose`: what an execution has it for, `execution` for its end or `input` for its `n`-th question; `session` for
the first outcome of a session. `data` and `value` are JSON; the value of `execution` stands in the row of the
execution. `pending_rank`: pending ones first."""


def fold(rows: Rows, recorded: Recorded) -> None:
    event, at = recorded.event, instant(recorded.envelope.time)
    if not isinstance(event, PromiseEvent):
        return
    key = (PROMISES.name, event.promise_id)
    if isinstance(event, PromiseCreated):
        asked = asked_by(event.promise_id)
        made = row(event.promise_id, event.owner, at, of=None if asked is None else (asked[0], "input"))
        made["deadline"] = None if event.deadline is None else instant(event.deadline)
        made["data"] = None if event.data is None else _json(event.data)
        made["n"] = None if asked is None else asked[1]
        rows[key] = made
        return
    there = rows.get(key)
    if there is not None and there["settled_at"] is None:
        value = getattr(event, "value", None)
        settle(there, SETTLED_AS[type(event)], at)
        there["value"] = None if value is None else _json(value)


def fold_session(rows: Rows, recorded: Recorded) -> None:
    """The promise of a session, from its own events."""
    event, at = recorded.event, instant(recorded.envelope.time)
    if isinstance(event, se.SessionSpawned):
        made = row(promise_id(event.session_id), event.owner, at, of=None)
        rows[PROMISES.name, made["id"]] = made | {"purpose": "session"}
        return
    outcome = _outcome(event)
    there = rows.get((PROMISES.name, promise_id(recorded.envelope.subject)))
    if there is None or outcome is None or there["settled_at"] is not None:
        return
    state, value = outcome
    settle(there, state, at)
    there["value"] = None if value is None else _json(value)


def _outcome(event: Event) -> tuple[PromiseState, dict[str, Any] | None] | None:
    match event:
        case se.SessionCompleted():
            told = {"output": event.output, "output_digest": event.output_digest, "turn_count": event.turn_count}
            return PromiseState.RESOLVED, {"session_id": event.session_id, **told}
        case se.SessionCancelled():
            return PromiseState.CANCELLED, None
        case se.SessionError():
            told = {"error": event.error, "error_type": event.error_type, "output": event.output}
            return PromiseState.REJECTED, {"session_id": event.session_id, **told}
        case se.SessionTimedOut():
            told = {"error": "its time was over", "error_type": "timed_out", "output": event.output}
            return PromiseState.REJECTED, {"session_id": event.session_id, **told}
        case _:
            return None


def row(of_promise: str, owner: str, at: str, *, of: tuple[str, str] | None) -> dict[str, Any]:
    """A pending one. `of`: id of an execution and what it has the promise for."""
    return {
        "id": of_promise,
        "owner": owner,
        "state": str(PromiseState.PENDING),
        "pending_rank": PENDING_RANK,
        "deadline": None,
        "data": None,
        "value": None,
        "execution_id": None if of is None else of[0],
        "purpose": None if of is None else of[1],
        "n": None,
        "created_at": at,
        "settled_at": None,
    }


def settle(there: dict[str, Any], state: PromiseState, at: str) -> None:
    there.update(state=str(state), pending_rank=SETTLED_RANK, settled_at=at)


def shown(found: Mapping[Any, Any]) -> dict[str, Any]:
    item = {name: value for name, value in found.items() if name != "pending_rank"}
    return item | {name: _decoded(found[name]) for name in ("data", "value")}


def asked(found: Mapping[Any, Any]) -> dict[str, Any]:
    """An open question, as its execution shows it."""
    data: Any = _decoded(found["data"])
    known: dict[str, Any] = data if isinstance(data, dict) else {}
    return {
        "promise_id": found["id"],
        "n": found["n"],
        "prompt": known.get("prompt", ""),
        "secret": bool(known.get("secret")),
        "choices": known.get("choices"),
        "deadline": found["deadline"],
        "asked_at": found["created_at"],
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _decoded(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
