"""Executions and promises as documented in `/openapi.json`; see `rows.py`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapters.http.rows import TIME, PageOf, Row
from domain.executions.events import ExecutionState
from domain.promises import PromiseState

EXECUTION_ID = "01985b7e-6d10-7c44-9a51-0c6f3f6f0a08"
PROMISE_ID = f"exec:{EXECUTION_ID}"

EXECUTION: dict[str, Any] = {
    "id": EXECUTION_ID,
    "code": "6 * 7",
    "session_id": "notebook",
    "owner": "host",
    "state": "completed",
    "attempt": 1,
    "cancel_requested": None,
    "due_at": None,
    "promise_id": PROMISE_ID,
    "timeout_s": None,
    "idempotency_key": "first-cell",
    "when_busy": "queue",
    "retry": {"safe": False, "max_attempts": None, "backoff_s": 1.0, "then": "fail"},
    "priority": 4,
    "concurrency_key": None,
    "throwaway": False,
    "transaction": "commit_always",
    "has_value": True,
    "value_digest": None,
    "value_bytes": None,
    "repr": "42",
    "truncated": False,
    "error": None,
    "interrupted": None,
    "mode": "simple_sync",
    "execution_time": 0.0003,
    "output_position": 0,
    "truncated_bytes": 0,
    "children": 0,
    "blocking": [],
    "worker_restarted": False,
    "requested_at": TIME,
    "started_at": TIME,
    "ended_at": TIME,
    "updated_at": TIME,
}
WHOLE: dict[str, Any] = {**EXECUTION, "value": 42, "input_requests": []}
PROMISE: dict[str, Any] = {
    "id": "review-7",
    "owner": "host",
    "state": "resolved",
    "deadline": TIME,
    "data": {"question": "Merge it?"},
    "value": "yes",
    "execution_id": None,
    "purpose": None,
    "n": None,
    "created_at": TIME,
    "settled_at": TIME,
}


class Retry(BaseModel):
    safe: bool
    max_attempts: int | None
    backoff_s: float
    then: Literal["fail", "pause"]


class ExecutionError(BaseModel):
    exception_type: str
    message: str
    code: str | None = Field(description="Of what is the engine's: `worker_died`, `worker_crash_loop`, `timeout`, …")
    traceback: str = Field(description="Empty in a list.")
    notes: list[str]
    exit_code: int | None
    signal: int | None
    last_memory_bytes: int | None


class ExecutionListed(Row):
    """An execution without its value."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXECUTION]})

    id: str
    session_id: str
    owner: str = Field(description="Who asked for it.")
    state: ExecutionState
    code: str = Field(description="Its first 200 characters in a list.")
    attempt: int = Field(ge=0, description="How many were started.")
    cancel_requested: Literal["execution", "session"] | None = Field(description="The scope of the cancel.")
    due_at: datetime | None = Field(description="When the next attempt may start.")
    promise_id: str = Field(description="Pending until the end.")
    timeout_s: float | None
    idempotency_key: str | None
    when_busy: Literal["queue", "reject"]
    retry: Retry
    priority: int = Field(ge=0, le=9)
    concurrency_key: str | None
    throwaway: bool = Field(description="Its session was made for it alone.")
    transaction: Literal["commit_always", "rollback_on_failure", "rollback_always"]
    has_value: bool = Field(description="`value` is that of the last expression; else it was none that JSON keeps.")
    value_digest: str | None = Field(description="Of a value over 256 KiB, which stands beside.")
    value_bytes: int | None
    repr: str | None = Field(description="Of the last expression's value; its first 200 characters in a list.")
    truncated: bool = Field(description="The repr was cut by the worker.")
    error: ExecutionError | None
    interrupted: Literal["failed", "lost"] | None = Field(description="How the attempt before went.")
    mode: str | None = Field(description="How the code was run.")
    execution_time: float | None = Field(ge=0, description="Seconds.")
    output_position: int | None = Field(ge=0, description="Place of its last output; 0 for none.")
    truncated_bytes: int = Field(ge=0, description="Of its output, from the middle, that were not kept.")
    children: int = Field(ge=0, description="Processes that it left running.")
    blocking: list[str] = Field(description="Calls in asynchronous code that block.")
    worker_restarted: bool = Field(description="The names are those of the last checkpoint.")
    requested_at: datetime
    started_at: datetime | None = Field(description="Of the last attempt.")
    ended_at: datetime | None
    updated_at: datetime


class InputRequest(BaseModel):
    """A question that waits for `execution.answer`."""

    promise_id: str
    n: int = Field(ge=1)
    prompt: str
    secret: bool = Field(description="The answer stands in no event.")
    choices: list[str] | None
    deadline: datetime | None
    asked_at: datetime


class Execution(ExecutionListed):
    """An execution, whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [WHOLE]})

    code: str = Field(description="Whole.")
    value: Any = Field(description="Any JSON; null also where there is none, see `has_value`.")
    input_requests: list[InputRequest]


class Promise(Row):
    """`purpose`: what an execution has it for: `execution` for its end, `input` for its `n`-th question; `session` for
    the first outcome of a session."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROMISE]})

    id: str
    owner: str = Field(description="Who made it.")
    state: PromiseState
    deadline: datetime | None
    data: Any
    value: Any = Field(description="That of an execution, or its error, only in the answer for a single promise.")
    execution_id: str | None
    purpose: Literal["execution", "input", "session"] | None
    n: int | None
    created_at: datetime
    settled_at: datetime | None


class ExecutionPage(PageOf[ExecutionListed]):
    pass


class PromisePage(PageOf[Promise]):
    pass
