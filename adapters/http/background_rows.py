"""Subscriptions, background sessions and triggers as documented in `/openapi.json`; see `rows.py`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from adapters.http.rows import COMMAND_ID, TIME, PageOf, Row
from domain.background.events import BackgroundState

TOLD: dict[str, Any] = {
    "name": "work:completed",
    "source_session_id": "review-1",
    "data": {"issue_id": 7},
    "position": 1234,
    "time": TIME,
    "id": COMMAND_ID,
    "correlation_id": COMMAND_ID,
}
SUBSCRIPTION: dict[str, Any] = {
    "id": "http-1",
    "names": ["work:*"],
    "sources": [],
    "position": 1230,
    "lag": 4,
}


BACKGROUND_ID = "bg-coding-workers-0001"
BACKGROUND: dict[str, Any] = {
    "id": BACKGROUND_ID,
    "name": "coding-workers",
    "state": "running",
    "source": "bundle",
    "bundle": "/bundles/foreman",
    "parent_session_id": "foreman-1",
    "folder": "/bundles/foreman",
    "definition": {
        "name": "coding-workers",
        "bundle": "workers/coding-worker",
        "triggers": [{"type": "session_event", "config": {"event_names": ["issue:created"]}}],
        "pool_size": 3,
        "instruction": "Work on {event.data[issue_id]}",
        "on_complete_emit": "work:completed",
    },
    "definition_digest": "9f86d081884c7d659a2feaa0c55ad015",
    "stop_reason": None,
    "error": None,
    "error_type": None,
    "restart_count": 0,
    "restart_at": None,
    "trigger_count": 12,
    "last_trigger": TIME,
    "running": 3,
    "waiting": 2,
    "waiting_since": TIME,
    "lag": 1.5,
    "failed_count": 1,
    "refused_count": 0,
    "dropped_count": 0,
    "declared_at": TIME,
    "started_at": TIME,
    "updated_at": TIME,
}
WHOLE_BACKGROUND: dict[str, Any] = {**BACKGROUND, "watching": [{"trigger_index": 0, "how": "inotify"}]}
TRIGGER: dict[str, Any] = {
    "id": "9f86d081884c7d659a2feaa0c55ad015",
    "background_id": BACKGROUND_ID,
    "background_name": "coding-workers",
    "position": 1235,
    "trigger_index": 0,
    "type": "session_event",
    "source": "issues:bugs",
    "state": "completed",
    "reason": None,
    "fired_at": TIME,
    "depth": 0,
    "file_path": None,
    "change_type": None,
    "source_session_id": "issues:bugs",
    "event_name": "issue:created",
    "data": {"issue_id": "I-7"},
    "data_bytes": 18,
    "session_id": "0000000000000000-1111111111111111_coding-workers-12",
    "session_name": "coding-workers-12",
    "attempt": 1,
    "trigger_count": 12,
    "started_at": TIME,
    "ended_at": TIME,
    "output": "Fixed.",
    "error": None,
    "error_type": None,
    "warnings": [],
}


class BackgroundSession(Row):
    """Something that waits for triggers and runs a session for each."""

    model_config = ConfigDict(json_schema_extra={"examples": [BACKGROUND]})

    id: str
    name: str
    state: BackgroundState
    source: Literal["config", "bundle"] = Field(description="Where it is declared.")
    bundle: str | None = Field(description="The URI of the bundle that declares it.")
    parent_session_id: str | None = Field(description="The session whose bundle declares it.")
    folder: str = Field(description="Where relative paths of its triggers begin.")
    definition: dict[str, Any] = Field(description="As it is declared, with defaults.")
    definition_digest: str
    stop_reason: Literal["asked", "parent", "withdrawn"] | None
    error: str | None = Field(description="Why a watch ended.")
    error_type: str | None
    restart_count: int = Field(ge=0, description="Restarts within the window, as of the last failure.")
    restart_at: datetime | None
    trigger_count: int = Field(ge=0, description="Firings that were taken, failed runs among them.")
    last_trigger: datetime | None
    running: int = Field(ge=0, description="Runs now.")
    waiting: int = Field(ge=0, description="Firings that wait for their run.")
    waiting_since: datetime | None = Field(description="When the first of them was fired.")
    lag: float = Field(ge=0, description="Seconds for which it has waited.")
    failed_count: int = Field(ge=0, description="Runs that failed.")
    refused_count: int = Field(ge=0, description="Firings that were refused: the queue was full, the loop too deep.")
    dropped_count: int = Field(ge=0, description="Firings that waited and were given up for others or by a stop.")
    declared_at: datetime
    started_at: datetime | None
    updated_at: datetime


class Watching(BaseModel):
    trigger_index: int = Field(ge=0)
    how: str = Field(description="`inotify`, `polling every 2 s (nfs4)`, …")


class WholeBackgroundSession(BackgroundSession):
    """A background session, with how it is watched now."""

    model_config = ConfigDict(json_schema_extra={"examples": [WHOLE_BACKGROUND]})

    watching: list[Watching] = Field(description="The triggers of which that can be said.")


class BackgroundPage(PageOf[BackgroundSession]):
    pass


class Trigger(BaseModel):
    """A firing: why a session ran, or why none did."""

    model_config = ConfigDict(json_schema_extra={"examples": [TRIGGER]})

    id: str
    background_id: str
    background_name: str
    position: int = Field(ge=1, description="Of its event in the log.")
    trigger_index: int = Field(ge=0, description="Its place among the triggers of the definition.")
    type: str
    source: str = Field(description="Where it happened: a path, a session, an origin.")
    state: Literal["waiting", "running", "completed", "failed", "dropped", "refused"]
    reason: Literal["depth", "queue_full", "not_running", "drop_oldest", "coalesced", "stopped"] | None
    fired_at: datetime
    depth: int = Field(ge=0, description="Runs that led to it, one after another.")
    file_path: str | None
    change_type: Literal["created", "modified", "deleted", "moved"] | None
    source_session_id: str | None
    event_name: str | None
    data: Any = Field(description="Null where it is longer than a row holds; the event has all of it.")
    data_bytes: int = Field(ge=0)
    session_id: str | None = Field(description="Of its run, the last attempt.")
    session_name: str | None
    attempt: int = Field(ge=0, description="More than 1: the runs before ended with the tower.")
    trigger_count: int | None
    started_at: datetime | None
    ended_at: datetime | None
    output: str = Field(description="The beginning of what its run said.")
    error: str | None
    error_type: str | None
    warnings: list[str] = Field(description="Of fields of the instruction that it does not have.")


class TriggerPage(PageOf[Trigger]):
    pass


class Subscription(BaseModel):
    """Somebody who listens to what sessions tell."""

    model_config = ConfigDict(json_schema_extra={"examples": [SUBSCRIPTION]})

    id: str = Field(description="`http-N` of this server, or the name of a consumer at the broker.")
    names: list[str]
    sources: list[str] = Field(description="Empty for all.")
    position: int = Field(ge=0, description="The last entry of the log that it has come by.")
    lag: int = Field(ge=0, description="Entries that it has not come by; at the broker only those that it asks for.")


class SubscriptionPage(PageOf[Subscription]):
    pass
