"""The answers as documented in `/openapi.json`, with examples. Documentation only: rows leave as the read models give
them, and the tests hold one to the other."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from domain.agents.events import Gone
from domain.errors import DETAILS
from domain.layouts.events import RestartEnd
from domain.layouts.state import PaneState, Stage

LAYOUT_ID = "01985b7e-6d10-7c44-9a51-0c6f3f6f0a01"
PANE_ID = "01985b7e-6d10-7c44-9a51-0c6f3f6f0a02"
COMMAND_ID = "01985b7e-6cf0-7a10-8d6e-2f0c6c1b7d11"
TIME = "2026-01-02T03:04:05.678901Z"

PANE: dict[str, Any] = {
    "id": PANE_ID,
    "layout_id": LAYOUT_ID,
    "container_id": "host",
    "slot": 0,
    "label": "m1",
    "role": "master",
    "capability": "orchestrator",
    "launch_profile": "shell",
    "restart": "never",
    "restart_count": 0,
    "restart_due_at": None,
    "restart_given_up": None,
    "state": "ready",
    "failed_stage": None,
    "reason": None,
    "exit_code": None,
    "signal": None,
    "tmux_pane_id": "%3",
    "tmux_pane_index": 0,
    "pid": 4711,
    "log_path": "panes/01985b7e-6d10-7c44-9a51-0c6f3f6f0a02.log",
    "agent_id": PANE_ID,
    "predecessor_id": None,
    "successor_id": None,
    "chain_depth": 0,
    "origin": "managed",
    "created_at": TIME,
    "updated_at": TIME,
}
LAYOUT: dict[str, Any] = {
    "id": LAYOUT_ID,
    "container_id": "host",
    "template_name": "1m+2s",
    "tmux_session_name": "fleet",
    "state": "ready",
    "failed_stage": None,
    "idempotency_key": None,
    "pane_count": 3,
    "ready_pane_count": 3,
    "origin": "managed",
    "created_at": TIME,
    "updated_at": TIME,
}
AGENT: dict[str, Any] = {
    "id": PANE_ID,
    "pane_id": PANE_ID,
    "layout_id": LAYOUT_ID,
    "container_id": "host",
    "role": "master",
    "capability": "orchestrator",
    "label": "m1",
    "state": "ready",
    "tmux_pane_id": "%3",
    "tmux_session_name": None,
    "pid": 4711,
    "origin": "managed",
    "agent_session": "0b51e0c4-6bd1-4a0d-9c6c-5f0f6a7d9f3e",
    "registered_at": TIME,
    "gone_at": None,
    "gone_reason": None,
    "updated_at": TIME,
}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "01985b7e-6d11-7f02-b0c3-5a1c2a9e4f77",
    "source": "/tower/local",
    "type": "agenttower.pane.state_changed.v1",
    "subject": PANE_ID,
    "time": TIME,
    "datacontenttype": "application/json",
    "node": "local",
    "kind": "pane",
    "sequence": 7,
    "actor": "tower",
    "commandid": COMMAND_ID,
    "correlationid": COMMAND_ID,
    "data": {"pane_id": PANE_ID, "layout_id": LAYOUT_ID, "from": "creating", "to": "ready", "origin": "managed"},
    "position": 1234,
}
OUTCOME: dict[str, Any] = {
    "command_id": COMMAND_ID,
    "status": "accepted",
    "result": {"layout_id": LAYOUT_ID, "panes": [], "state": "creating", "replay": False},
    "position": 1234,
    "replay": False,
}
REJECTED: dict[str, Any] = {
    "command_id": COMMAND_ID,
    "status": "rejected",
    "error": {
        "code": "managed_layout_capacity_exceeded",
        "message": "the node holds 40 layouts, at most 40",
        "details": {"limit": 40, "current_count": 40},
    },
    "position": 1234,
}

PROJECTION: dict[str, Any] = {
    "name": "layouts",
    "state": "running",
    "position": 1234,
    "lag": 0,
    "stalled_s": 0.0,
    "reason": None,
    "stopped_event": None,
    "stopped_position": None,
}

ItemT = TypeVar("ItemT")


class Row(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)


class Pane(Row):
    """One slot of a layout. Fields that its state has not reached are null."""

    model_config = ConfigDict(json_schema_extra={"examples": [PANE]})

    id: str
    layout_id: str
    container_id: str
    slot: int = Field(ge=0, description="Place in the template, from 0.")
    label: str
    role: str
    capability: str
    launch_profile: str
    restart: str
    restart_count: int = Field(ge=0, description="Restarts in a row that the restart policy made of its chain.")
    restart_due_at: datetime | None = Field(description="When the restart policy makes it anew.")
    restart_given_up: RestartEnd | None = Field(description="Why the restart policy lets it rest.")
    state: PaneState
    failed_stage: Stage | None
    reason: str | None = Field(description="More about the failed stage, for people.")
    exit_code: int | None
    signal: int | None
    tmux_pane_id: str | None
    tmux_pane_index: int | None
    pid: int | None
    log_path: str | None
    agent_id: str | None
    predecessor_id: str | None
    successor_id: str | None
    chain_depth: int = Field(ge=0, le=15)
    managed: Literal["managed"] = Field(alias="origin")
    created_at: datetime
    updated_at: datetime


class PaneWithChain(Pane):
    """`predecessor_chain` is there when it was asked for."""

    predecessor_chain: list[Pane] | None = Field(None, max_length=15)


class Layout(Row):
    """One created instance of a template in one tmux session of one container."""

    model_config = ConfigDict(json_schema_extra={"examples": [LAYOUT]})

    id: str
    container_id: str
    template_name: str
    tmux_session_name: str
    state: PaneState
    failed_stage: Stage | None
    idempotency_key: str | None
    pane_count: int = Field(ge=0, description="Panes that are neither removed nor superseded.")
    ready_pane_count: int = Field(ge=0)
    managed: Literal["managed"] = Field(alias="origin")
    created_at: datetime
    updated_at: datetime


class LayoutWithPanes(Layout):
    model_config = ConfigDict(json_schema_extra={"examples": [{**LAYOUT, "panes": [PANE]}]})

    panes: list[Pane]


class Agent(Row):
    """A registered pane. An adopted one is of no layout: the tower looks at it and never touches it."""

    model_config = ConfigDict(json_schema_extra={"examples": [AGENT]})

    id: str
    pane_id: str | None
    layout_id: str | None
    container_id: str
    role: str | None
    capability: str | None
    label: str
    state: PaneState | Literal["running", "gone"] = Field(
        description="Of its pane; of an adopted one `running` or `gone`."
    )
    tmux_pane_id: str | None
    tmux_session_name: str | None = Field(description="Of an adopted one: where it stood then.")
    pid: int | None
    managed: Literal["managed", "adopted"] = Field(alias="origin")
    agent_session: str | None = Field(description="What the agent calls its own session, by `agent.report`.")
    registered_at: datetime
    gone_at: datetime | None = Field(description="When an adopted one was seen to be gone.")
    gone_reason: Gone | None
    updated_at: datetime


class RecordedEvent(Row):
    """A CloudEvent 1.0 with its position in the log; `data` by type: see `schemas/events/`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EVENT]})

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str = Field(description="Id of the aggregate.")
    time: datetime
    datacontenttype: Literal["application/json"]
    node: str
    kind: str
    sequence: int = Field(ge=1, description="Counts per aggregate, without gaps.")
    actor: str
    commandid: str
    correlationid: str
    causationid: str | None = None
    traceparent: str | None = None
    data: dict[str, Any]
    position: int = Field(ge=1)


class Projection(Row):
    """How far one read model is."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROJECTION]})

    name: str
    state: Literal["running", "behind", "stopped"]
    position: int = Field(ge=0)
    lag: int = Field(ge=0, description="Events of the log that it has not taken.")
    stalled_s: float = Field(ge=0, description="Seconds since it moved last, while it lags.")
    reason: str | None = Field(description="Why it is held up or stopped.")
    stopped_event: str | None
    stopped_position: int | None


class PageOf(BaseModel, Generic[ItemT]):
    """One page; `next_cursor` is null on the last. `position` is how far the read model has read the log."""

    items: list[ItemT]
    next_cursor: str | None
    position: int = Field(ge=0)


class LayoutPage(PageOf[Layout]):
    pass


class PanePage(PageOf[Pane]):
    pass


class AgentPage(PageOf[Agent]):
    pass


class EventPage(PageOf[RecordedEvent]):
    pass


class ProjectionPage(PageOf[Projection]):
    pass


class Failure(BaseModel):
    """`code` is of a closed set; `details` has the keys of its code, all of them, always."""

    code: str = Field(json_schema_extra={"enum": [*sorted(DETAILS)]})
    message: str
    details: dict[str, Any]


class ErrorAnswer(BaseModel):
    error: Failure


class Outcome(BaseModel):
    """What became of a command. `position`: a read model that has reached it reflects this outcome (`after=`)."""

    model_config = ConfigDict(json_schema_extra={"examples": [OUTCOME, REJECTED]})

    command_id: str
    status: Literal["accepted", "rejected"]
    result: dict[str, Any] | None = Field(None, description="Of an accepted command.")
    error: Failure | None = Field(None, description="Of a rejected command.")
    position: int = Field(ge=0)
    replay: bool | None = Field(None, description="The command, or its idempotency key, had been decided before.")


class RpcAnswer(BaseModel):
    """What a method answers: `result` with `ok`, else `error`. `app_contract_version` stands beside the answers to the
    names that begin with `app.`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ok": True, "result": {"items": [LAYOUT], "next_cursor": None, "position": 1234}},
                {"ok": False, "error": REJECTED["error"], "app_contract_version": "1.1"},
            ]
        }
    )

    ok: bool
    result: dict[str, Any] | None = Field(None, description="What the command or query answers, if it was not refused.")
    error: Failure | None = Field(None, description="Why it was refused.")
    app_contract_version: Literal["1.1"] | None = None


class RecordedOutcome(Outcome):
    """The outcome as the log tells it, with who asked and what was recorded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**OUTCOME, "id": COMMAND_ID, "actor": "host", "event_types": ["agenttower.layout.created.v1"]}
            ]
        }
    )

    id: str
    actor: str
    event_types: list[str]


class ReadinessCheck(Row):
    ok: bool
    reason: str | None = None


class Readiness(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ready": False, "checks": {"broker": {"ok": False, "reason": "no connection to the broker"}}}]
        }
    )

    ready: bool
    checks: dict[str, ReadinessCheck]


class Health(BaseModel):
    node: str
    ok: Literal[True]
