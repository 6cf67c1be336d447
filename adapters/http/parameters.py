"""Query parameters, one model a route. An unknown name, a bad value or a name given twice is `validation_failed`."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from adapters.http.answers import validation_failed
from domain import catalogue
from domain.background.events import BackgroundState
from domain.executions.events import ExecutionState
from domain.layouts.state import PaneState
from domain.promises import PromiseState
from domain.sessions.events import SessionState

MAX_LIMIT = 200
MAX_WAIT_S = 300
MAX_POSITION = 2**63 - 1

Position = Annotated[int, Field(ge=0, le=MAX_POSITION)]


def _with_date(value: Any) -> Any:
    """Only ISO 8601: a bare number would be read as seconds since 1970."""
    if isinstance(value, str) and value[4:5] != "-":
        raise ValueError("a time is written 2026-01-02T03:04:05Z")
    # A plus sign that was not escaped arrives as a space; times hold no other.
    return value.replace(" ", "+") if isinstance(value, str) and "T" in value else value


Time = Annotated[AwareDatetime, BeforeValidator(_with_date)]


KINDS = tuple(sorted({entry.kind for entry in catalogue.EVENTS}))
TYPES = tuple(entry.wire_name for entry in catalogue.EVENTS)


def _type_names() -> dict[str, str]:
    """Every way to write a type -> its wire name of today, in which events are shown."""
    names: dict[str, str] = {}
    for entry in catalogue.EVENTS:
        unversioned = entry.wire_name.rpartition(".v")[0]
        versions = (f"{unversioned}.v{version}" for version in range(1, entry.version + 1))
        names |= dict.fromkeys((entry.name, unversioned, *versions), entry.wire_name)
    return names


_TYPE_NAMES = _type_names()


def _known_kind(value: str) -> str:
    if value not in KINDS:
        raise ValueError(f"one of {', '.join(KINDS)}")
    return value


def _known_type(value: str) -> str:
    if value not in _TYPE_NAMES:
        raise ValueError(f"no type of event is called {value}")
    return _TYPE_NAMES[value]


Kind = Annotated[str, AfterValidator(_known_kind), Field(json_schema_extra={"enum": [*KINDS]})]
EventType = Annotated[str, AfterValidator(_known_type)]


async def _no_doubles(request: Request) -> None:
    # Async although it does not wait: FastAPI would run it in a thread otherwise.
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            raise validation_failed(name, "given more than once")
        seen.add(name)


no_doubles = Depends(_no_doubles)


class NoParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reading(BaseModel):
    model_config = ConfigDict(extra="forbid")

    after: Position | None = Field(
        None,
        description="Answer only when the read model reflects this position, as an outcome gave it; past the deadline "
        "`read_model_behind`.",
        examples=[1234],
    )

    def arguments(self) -> dict[str, Any]:
        """What the query itself takes."""
        return self.model_dump(exclude={"after"})


class Paged(Reading):
    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Rows of one page, at most.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before; opaque.", max_length=2000)


class LayoutsQuery(Paged):
    container_id: str | None = Field(None, description="Only layouts of this container.", examples=["host"])
    state: PaneState | None = Field(None, description="Only layouts in this state.")


class LayoutQuery(Reading):
    include_terminal_panes: bool = Field(False, description="Also the panes that are removed or were recreated.")


class PanesQuery(Paged):
    container_id: str | None = Field(None, description="Only panes of this container.", examples=["host"])
    layout_id: str | None = Field(None, description="Only panes of this layout.")
    state: PaneState | None = Field(None, description="Only panes in this state.")


class PaneQuery(Reading):
    include_predecessor_chain: bool = Field(
        False, description="Adds `predecessor_chain`: the panes before it, most recent first, without the pane itself."
    )


def _lines(value: Any) -> Any:
    return None if value == "all" else value


class PaneLogQuery(Reading):
    lines: Annotated[
        Annotated[int, Field(ge=0, le=1_000_000)] | None,
        BeforeValidator(_lines, json_schema_input_type=int | Literal["all"]),
    ] = Field(100, description="Lines from the end; `all` for everything that is kept.")
    follow: bool = Field(False, description="Go on with what is printed, until the pane is removed.")
    raw: bool = Field(False, description="Keep terminal sequences, as the pane printed them.")


class OutputQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["sse", "text"] = Field("sse", description="`text`: all that was printed by now, as text.")
    follow: bool = Field(False, description="With `format=text`: go on with what is printed, until the end.")
    stream: Literal["stdout", "stderr"] | None = Field(None, description="Only what was printed there.")


AgentState = Literal["creating", "degraded", "ready", "failed", "removed", "running", "gone"]


class AgentsQuery(Paged):
    container_id: str | None = Field(None, description="Only agents of this container.", examples=["host"])
    state: AgentState | None = Field(
        None, description="Only agents whose pane is in this state; an adopted one is `running` or `gone`."
    )
    made: Literal["managed", "adopted"] | None = Field(None, alias="origin", description="Only agents of this origin.")

    def arguments(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude={"after"})


class ContainersQuery(Paged):
    state: Literal["running", "stopped", "gone"] | None = Field(None, description="Only containers in this state.")


class BundlesQuery(Paged):
    state: Literal["serving", "failed"] | None = Field(None, description="Only bundles in this state.")
    name: str | None = Field(None, description="Only bundles of this name.", examples=["reviewer"])


class ExecutionsQuery(Paged):
    session_id: str | None = Field(None, description="Only executions of this session.")
    state: ExecutionState | None = Field(None, description="Only executions in this state.")


class PromisesQuery(Paged):
    execution_id: str | None = Field(None, description="Only promises that belong to this execution.")
    state: PromiseState | None = Field(None, description="Only promises in this state.")


class SessionsQuery(Paged):
    parent_session_id: str | None = Field(None, description="Only sessions below this one.")
    bundle_name: str | None = Field(None, description="Only sessions from this bundle.", examples=["reviewer"])
    state: SessionState | None = Field(None, description="Only sessions in this state.")


class BackgroundsQuery(Paged):
    name: str | None = Field(None, description="Only those of this name.", examples=["coding-workers"])
    state: BackgroundState | None = Field(None, description="Only those in this state.")
    parent_session_id: str | None = Field(None, description="Only those that this session declares.")


class TriggersQuery(Paged):
    background: str | None = Field(None, description="Only of this background session, by id or name.")
    type: str | None = Field(None, description="Only of this type.", examples=["file_change"])
    state: Literal["waiting", "running", "completed", "failed", "dropped", "refused"] | None = Field(
        None, description="Only those of which this became."
    )
    session_id: str | None = Field(None, description="Only what this session ran for.")


class TranscriptQuery(Reading):
    format: Literal["json", "text"] = Field("json", description="`text`: as a person reads it.")


class CommandQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] | None = Field(
        None,
        description="Seconds to wait for what a spawned session says, at most; without it 300, none in the background.",
    )


class TurnWaitQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = Field(
        0, description="Seconds to wait for what comes of it, at most."
    )


class WaitingQuery(Reading):
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = Field(
        0, description="Seconds to wait for the end, at most; then the answer is as it is."
    )


class SessionQuery(WaitingQuery):
    turn: int | None = Field(None, ge=1, description="With `wait`: until this turn has ended.")


class EventFilter(BaseModel):
    """What the audit query and the event stream can be narrowed by; several conditions must all hold."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | None = Field(None, description="Kind of aggregate.", examples=["pane"])
    id: str | None = Field(None, description="Id of the aggregate (the CloudEvent's `subject`).")
    type: EventType | None = Field(
        None,
        description="Type of event, with or without prefix and version.",
        examples=["pane.state_changed", "agenttower.pane.state_changed.v1"],
    )
    actor: str | None = Field(None, description="Who caused it: `host`, a container id, `tower` or `policy`.")
    correlation_id: str | None = Field(None, description="Everything that came of one request.")
    since: Time | None = Field(None, description="At this time or later.", examples=["2026-01-02T03:04:05Z"])
    until: Time | None = Field(None, description="Before this time.", examples=["2026-01-03T00:00:00Z"])
    after_position: Position | None = Field(None, description="After this position of the log.", examples=[1200])


class EventsQuery(EventFilter, Paged):
    pass


class StreamQuery(EventFilter):
    pass
