"""Sessions as documented in `/openapi.json`; see `rows.py`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapters.http.rows import TIME, PageOf, Row
from domain.sessions.events import SessionState

SESSION_ID = "0b51e0c4-6bd1-4a0d-9c6c-5f0f6a7d9f3e"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

_OUTCOME: dict[str, Any] = {
    "output": "It has no tests.",
    "output_digest": None,
    "output_bytes": 16,
    "exit_code": 0,
    "execution_time": 12.5,
    "output_position": 57,
    "truncated_bytes": 0,
    "error": None,
    "error_type": None,
}
SESSION: dict[str, Any] = {
    "id": SESSION_ID,
    "session_name": "reviewer",
    "owner": "host",
    "state": "completed",
    "parent_session_id": None,
    "bundle_name": "reviewer",
    "bundle": {"uri": "/bundles/reviewer", "name": "reviewer", "version": "1.2.0", "digest": DIGEST},
    "runtime": "command",
    "instruction": "Review the last commit.",
    "plan_digest": DIGEST,
    "background": False,
    "timeout_s": 600.0,
    "deadline": None,
    "depth": 0,
    "self_depth": 0,
    "context_digest": None,
    "context_messages": 0,
    "idempotency_key": None,
    "warnings": [],
    "promise_id": f"spawn:{SESSION_ID}",
    "turn_count": 1,
    "stale": False,
    "stop_reason": None,
    "transcript_digest": DIGEST,
    **_OUTCOME,
    "created_at": TIME,
    "rested_at": TIME,
    "ended_at": None,
    "updated_at": TIME,
}
TURN: dict[str, Any] = {
    "turn": 1,
    "state": "completed",
    "instruction": "Review the last commit.",
    "instruction_digest": DIGEST,
    **_OUTCOME,
    "instructed_at": TIME,
    "started_at": TIME,
    "ended_at": TIME,
}
WHOLE: dict[str, Any] = {**SESSION, "waiting": 0, "turns": [TURN]}
TRANSCRIPT: dict[str, Any] = {
    "session_id": SESSION_ID,
    "digest": DIGEST,
    "messages": [
        {"role": "user", "content": "Review the last commit.", "name": None},
        {"role": "assistant", "content": "It has no tests.", "name": None},
    ],
}


class SessionBundle(BaseModel):
    uri: str = Field(description="`inline:` for a plan that came with the request.")
    name: str
    version: str | None
    digest: str = Field(description="Of all that it was made from: its true version.")


class TurnOutcome(Row):
    """How a turn went."""

    output: str = Field(description="What it said; of more than 64 KiB beginning and end.")
    output_digest: str | None = Field(description="Of an output over 64 KiB, which stands beside, whole.")
    output_bytes: int = Field(ge=0)
    exit_code: int | None = Field(description="Of a program; the negative signal that ended it.")
    execution_time: float | None = Field(ge=0, description="Seconds.")
    output_position: int | None = Field(ge=0, description="Place of its last output; 0 for none.")
    truncated_bytes: int = Field(ge=0, description="Of its output, from the middle, that the stream did not keep.")
    error: str | None
    error_type: str | None = Field(description="`exit_status`, `program_not_found`, `lost`, an exception's name, …")


class SessionListed(TurnOutcome):
    """A session, with the outcome of its last turn."""

    model_config = ConfigDict(json_schema_extra={"examples": [SESSION]})

    id: str
    session_name: str
    owner: str = Field(description="Who asked for it.")
    state: SessionState = Field(description="Of what it was given to do; see `ended_at` for whether it takes more.")
    parent_session_id: str | None
    bundle_name: str
    bundle: SessionBundle
    runtime: str
    instruction: str = Field(description="The first 200 characters of the first one.")
    plan_digest: str
    background: bool
    timeout_s: float | None
    deadline: datetime | None
    depth: int = Field(ge=0, description="Sessions above it.")
    self_depth: int = Field(ge=0, description="Of them in a row, those that delegated to themselves.")
    context_digest: str | None
    context_messages: int = Field(ge=0, description="Messages that it has from its parent.")
    idempotency_key: str | None
    warnings: list[str] = Field(description="Of its bundle.")
    promise_id: str = Field(description="Pending until the first outcome.")
    turn_count: int = Field(ge=0, description="Turns that were completed.")
    stale: bool = Field(description="Its bundle was loaded anew since.")
    stop_reason: Literal["cancelled", "timed_out"] | None = Field(description="Why its turn is to end.")
    transcript_digest: str | None
    created_at: datetime
    rested_at: datetime | None = Field(description="Since when it has nothing to do.")
    ended_at: datetime | None = Field(description="Since when it takes no instruction any more.")
    updated_at: datetime


class SessionTurn(TurnOutcome):
    model_config = ConfigDict(json_schema_extra={"examples": [TURN]})

    turn: int = Field(ge=1)
    state: Literal["waiting", "running", "completed", "error", "cancelled", "timed_out"]
    instruction: str = Field(description="Empty for one over 256 KiB, which stands beside.")
    instruction_digest: str
    instructed_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Session(SessionListed):
    """A session with its last 100 turns."""

    model_config = ConfigDict(json_schema_extra={"examples": [WHOLE]})

    waiting: int = Field(ge=0, description="Instructions that wait.")
    turns: list[SessionTurn]


class SessionMessage(BaseModel):
    role: str = Field(description="system, user, assistant or tool.")
    content: str
    name: str | None


class Transcript(BaseModel):
    """What was said in the turns that have ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [TRANSCRIPT]})

    session_id: str
    digest: str | None = Field(description="Null while no turn has ended.")
    messages: list[SessionMessage]


class SessionPage(PageOf[SessionListed]):
    pass
