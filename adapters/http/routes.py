"""The queries of `/v1` and the door for commands."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from adapters import telemetry
from adapters.http import command_body, container_rows, rows
from adapters.http.answers import json_response, page_response, validation_failed
from adapters.http.benches import bench_allowed, bench_of, for_benches
from adapters.http.documents import (
    COMMAND_BODY,
    LOG_RESPONSES,
    OUTCOME_RESPONSES,
    RPC_BODY,
    RPC_RESPONSES,
    STREAM_RESPONSES,
    responses,
)
from adapters.http.gate import PEER
from adapters.http.log_stream import LogStream
from adapters.http.parameters import (
    MAX_POSITION,
    AgentsQuery,
    CommandQuery,
    ContainersQuery,
    EventsQuery,
    LayoutQuery,
    LayoutsQuery,
    NoParameters,
    Paged,
    PaneLogQuery,
    PaneQuery,
    PanesQuery,
    Reading,
    StreamQuery,
    no_doubles,
)
from adapters.http.services import HttpServices
from adapters.http.stream import EventStream, Own, Streams
from adapters.http.waiting import prepared, spawn_wait_s, with_outcome
from adapters.rpc import methods
from adapters.rpc.calling import Calls
from domain.errors import Rejection, http_status, unseen

v1 = APIRouter(prefix="/v1", dependencies=[no_doubles, bench_allowed])

Id = Annotated[str, Path(max_length=200)]


def services_of(request: Request) -> HttpServices:
    return request.app.state.services


async def models_as_of(request: Request, query: Reading, model: str | None) -> Any:
    """The read models as who asks may see them, once `model` (all of them when None) reflects the position that was
    asked for."""
    services, container_id = services_of(request), bench_of(request)
    models = services.read_models if container_id is None else services.read_models.seen_from(container_id)
    if query.after is not None:
        await models.wait_for(query.after, services.after_timeout_s, model=model)
    return models


# --- layouts and panes ---------------------------------------------------------------------------------------------


@v1.get("/layouts", tags=["layouts"], responses=responses(rows.LayoutPage))
@for_benches
async def list_layouts(request: Request, query: Annotated[LayoutsQuery, Query()]) -> Response:
    """Layouts by state (creating, degraded, ready, failed, removed), then newest first."""
    models = await models_as_of(request, query, "layouts")
    return page_response(await models.layouts(**query.arguments()))


@v1.get("/layouts/{layout_id}", tags=["layouts"], responses=responses(rows.LayoutWithPanes, missing=True))
@for_benches
async def show_layout(request: Request, layout_id: Id, query: Annotated[LayoutQuery, Query()]) -> Response:
    """One layout with its panes."""
    models = await models_as_of(request, query, "layouts")
    layout = await models.layout(layout_id, include_terminal_panes=query.include_terminal_panes)
    if layout is None:
        missing = Rejection("managed_layout_not_found", f"no layout {layout_id}", layout_id=layout_id)
        raise unseen(request.scope[PEER], missing)
    return json_response(layout)


@v1.get("/panes", tags=["layouts"], responses=responses(rows.PanePage))
@for_benches
async def list_panes(request: Request, query: Annotated[PanesQuery, Query()]) -> Response:
    """Panes by state, layout, tmux pane index."""
    models = await models_as_of(request, query, "panes")
    return page_response(await models.panes(**query.arguments()))


@v1.get("/panes/{pane_id}", tags=["layouts"], responses=responses(rows.PaneWithChain, missing=True))
@for_benches
async def show_pane(request: Request, pane_id: Id, query: Annotated[PaneQuery, Query()]) -> Response:
    """One pane."""
    models = await models_as_of(request, query, "panes")
    pane = await models.pane(pane_id, include_predecessor_chain=query.include_predecessor_chain)
    if pane is None:
        raise await models.no_pane(pane_id, request.scope[PEER])
    return json_response(pane)


@v1.get("/panes/{pane_id}/log", tags=["layouts"], responses=LOG_RESPONSES)
@for_benches
async def show_pane_log(request: Request, pane_id: Id, query: Annotated[PaneLogQuery, Query()]) -> Response:
    """What a pane printed, as text."""
    models = await models_as_of(request, query, "panes")
    pane = await models.pane(pane_id, include_predecessor_chain=False)
    if pane is None:
        raise await models.no_pane(pane_id, request.scope[PEER])
    streams = room_for_a_stream(request)
    blocks = await services_of(request).logs.read(pane, query.lines, follow=query.follow)
    return LogStream(blocks, streams=streams, raw=query.raw)


@v1.get("/agents", tags=["layouts"], responses=responses(rows.AgentPage))
@for_benches
async def list_agents(request: Request, query: Annotated[AgentsQuery, Query()]) -> Response:
    """Agents: panes of layouts once they are registered, and adopted panes, by state, container, label."""
    models = await models_as_of(request, query, "agents")
    return page_response(await models.agents(**query.arguments()))


@v1.get("/agents/{agent_id}", tags=["layouts"], responses=responses(rows.Agent, missing=True))
@for_benches
async def show_agent(request: Request, agent_id: Id, query: Annotated[Reading, Query()]) -> Response:
    """One agent."""
    models = await models_as_of(request, query, "agents")
    agent = await models.agent(agent_id)
    if agent is None:
        missing = Rejection("managed_pane_not_found", f"no agent {agent_id}", pane_id=agent_id)
        raise unseen(request.scope[PEER], missing)
    return json_response(agent)


# --- containers ----------------------------------------------------------------------------------------------------


@v1.get("/containers", tags=["containers"], responses=responses(container_rows.ContainerPage))
@for_benches
async def list_containers(request: Request, query: Annotated[ContainersQuery, Query()]) -> Response:
    """Containers by state (running, stopped, gone), then name; this machine is the one called `host`."""
    models = await models_as_of(request, query, "containers")
    return page_response(await models.containers(**query.arguments()))


@v1.get("/containers/{container_id}", tags=["containers"], responses=responses(container_rows.Container, missing=True))
@for_benches
async def show_container(request: Request, container_id: Id, query: Annotated[Reading, Query()]) -> Response:
    """One container, by its whole id."""
    models = await models_as_of(request, query, "containers")
    return json_response(await _container(request, models, container_id))


@v1.get(
    "/containers/{container_id}/unmanaged-panes",
    tags=["containers"],
    responses=responses(container_rows.UnmanagedPanePage, missing=True),
)
@for_benches
async def list_unmanaged_panes(request: Request, container_id: Id, query: Annotated[Paged, Query()]) -> Response:
    """The tmux panes of a container that the tower did not make, as the last scan listed them."""
    models = await models_as_of(request, query, "containers")
    await _container(request, models, container_id)
    return page_response(await models.unmanaged_panes(container_id, **query.arguments()))


async def _container(request: Request, models: Any, container_id: str) -> Mapping[str, Any]:
    found = await models.container(container_id)
    if found is None:
        message = f"no container {container_id} is registered"
        raise unseen(request.scope[PEER], Rejection("container_not_found", message, container_id=container_id))
    return found


# --- the log -------------------------------------------------------------------------------------------------------


@v1.get("/events", tags=["log"], responses=responses(rows.EventPage))
@for_benches
async def list_events(request: Request, query: Annotated[EventsQuery, Query()]) -> Response:
    """The audit query: recorded events that meet every condition given."""
    models = await models_as_of(request, query, "events")
    return page_response(await models.events(**query.arguments()))


@v1.get("/events/stream", tags=["log"], responses=STREAM_RESPONSES)
@for_benches
async def stream_events(request: Request, query: Annotated[StreamQuery, Query()]) -> Response:
    """Events as they are recorded, as server-sent events: `id` is the position, `event` the type, `data` the CloudEvent
    with its `position`.

    Starts after the `Last-Event-ID` header, else after `after_position`, else at the end of the log (with `since`: at
    its beginning). Comments keep the connection alive. An entry that cannot be read comes as `event: undecodable`,
    one that the tower did not write as `event: foreign`.
    """
    services, streams, container_id = services_of(request), room_for_a_stream(request), bench_of(request)
    return EventStream(
        services.follow,
        await _stream_start(request, query),
        query,
        streams=streams,
        keep_alive_s=services.keep_alive_s,
        own=None if container_id is None else Own(container_id, services.container_of),
    )


def room_for_a_stream(request: Request) -> Streams:
    streams = streams_of(request)
    if streams.open >= streams.limit:
        raise Rejection("tower_busy", f"{streams.open} event streams are open, at most {streams.limit}", queued=0)
    return streams


def streams_of(request: Request) -> Streams:
    return request.app.state.streams


def resumed_after(request: Request) -> int | None:
    """What a client that comes back saw last. Raises `Rejection` validation_failed."""
    resumed = request.headers.get("last-event-id")
    if not resumed:
        return None
    if not resumed.isascii() or not resumed.isdigit() or int(resumed) > MAX_POSITION:
        raise validation_failed("Last-Event-ID", "not a position of the log")
    return int(resumed)


async def _stream_start(request: Request, query: StreamQuery) -> int:
    """The position after which the stream starts. One beyond the log would wait for ever, so it is refused."""
    end = await services_of(request).last_position()
    field, start = "after_position", query.after_position
    resumed = resumed_after(request)
    if resumed is not None:
        field, start = "Last-Event-ID", resumed
    if start is None:
        start = end if query.since is None else 0
    if start > end:
        raise validation_failed(field, f"the log ends at {end}: this position is of another log")
    return start


@v1.get("/projections", tags=["log"], responses=responses(rows.ProjectionPage))
@for_benches
async def list_projections(request: Request, query: Annotated[Reading, Query()]) -> Response:
    """How far each read model is, and why it stopped if it did (told to the operator). `position` is the log's end."""
    models = await models_as_of(request, query, None)
    items = await models.projections()
    if bench_of(request) is not None:
        items = [{**item, "reason": None, "stopped_event": None} for item in items]
    position = await services_of(request).last_position()
    return json_response({"items": items, "next_cursor": None, "position": position})


# --- commands ------------------------------------------------------------------------------------------------------


@v1.post("/commands", tags=["commands"], responses=OUTCOME_RESPONSES, openapi_extra=COMMAND_BODY)
@for_benches
async def post_command(request: Request, query: Annotated[CommandQuery, Query()]) -> Response:
    """Ask for something and wait for the outcome. The same `id` asked again answers the recorded outcome; a repeat
    with the same `idempotency_key` answers the present state of what the first one made. The answer to a foreground
    `session.spawn` waits for what the session says, see `wait`."""
    body = command_body.decode(await request.body())
    asking = partial(
        ask,
        request,
        body.noun,
        body.verb,
        body.data,
        command_id=body.id,
        idempotency_key=body.idempotency_key,
        correlation_id=body.correlationid,
        traceparent=body.traceparent,
    )
    if (body.noun, body.verb) != ("session", "spawn"):
        outcome = await asking()
    else:
        wait_s = spawn_wait_s(query.wait, body.data)
        outcome = await prepared(request, wait_s, asking)
        if outcome["status"] == "accepted":
            outcome = await with_outcome(request, "spawn", outcome, wait_s)
    return json_response(outcome, status_of(outcome))


async def ask(
    request: Request,
    noun: str,
    verb: str,
    data: Any,
    *,
    command_id: str | None = None,
    idempotency_key: str | None = None,
    correlation_id: str | None = None,
    traceparent: str | None = None,
) -> Mapping[str, Any]:
    """The outcome of a command of whoever asks."""
    services = services_of(request)
    if not request.app.state.takes_commands:
        raise Rejection("temporarily_unavailable", "the tower is stopping", part="writer")
    command_id = services.ids.uuid7() if command_id is None else command_id
    given = traceparent or request.headers.get("traceparent")
    with telemetry.span(f"POST {noun}.{verb}", given, command_id=command_id) as carried:
        try:
            async with asyncio.timeout(services.outcome_timeout_s):
                return await services.ask(
                    noun=noun,
                    verb=verb,
                    data=data,
                    idempotency_key=idempotency_key,
                    command_id=command_id,
                    origin=request.scope[PEER],
                    correlation_id=correlation_id,
                    # A malformed header is ignored, as W3C says; a malformed field is the writer's to refuse.
                    traceparent=carried or traceparent,
                )
        except TimeoutError:
            raise Rejection(
                "outcome_pending",
                f"no outcome within {services.outcome_timeout_s:g} s; ask again with the same id",
                command_id=command_id,
                timeout_s=services.outcome_timeout_s,
            ) from None


def status_of(outcome: Mapping[str, Any]) -> int:
    """200 for an accepted command, else the status of its error code."""
    return 200 if outcome["status"] == "accepted" else http_status(outcome["error"]["code"])


@v1.post("/rpc/{method}", tags=["commands"], responses=RPC_RESPONSES, openapi_extra=RPC_BODY)
@for_benches
async def call_method(request: Request, method: Id, query: Annotated[NoParameters, Query()]) -> Response:
    """The predecessor's methods under their own names; see `adapters/rpc/methods.py` for what each one is today. The
    body holds the parameters, those of a command with `command_id` if you like; no body means none."""
    if not request.app.state.takes_commands and methods.is_command(method):
        raise Rejection("temporarily_unavailable", "the tower is stopping", part="writer")
    calls: Calls = request.app.state.calls
    answer = await calls.call(request.scope[PEER], method, await request.body())
    return json_response(answer, 200 if answer["ok"] else http_status(answer["error"]["code"]))


@v1.get("/commands/{command_id}", tags=["commands"], responses=responses(rows.RecordedOutcome, missing=True))
@for_benches
async def show_outcome(request: Request, command_id: Id, query: Annotated[Reading, Query()]) -> Response:
    """The outcome of a recorded command, accepted or rejected."""
    models = await models_as_of(request, query, "commands")
    outcome = await models.command(command_id)
    if outcome is None:
        raise Rejection("command_not_found", f"no outcome of command {command_id} is recorded", command_id=command_id)
    return json_response(outcome)
