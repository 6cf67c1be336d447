"""Waiting for an end: of an execution, of a promise, of what a session was given to do."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from fastapi import Request

from adapters.http.services import ReadModels
from adapters.http.stream import Streams
from adapters.rpc.spoken import SPAWN_WAIT_S, told
from domain.sessions.state import promise_id

AGAIN_S: Final = 0.2
"""Between two looks whether a bundle is prepared."""

Outcome = Mapping[str, Any]


async def settled(request: Request, wait_s: float, read: Callable[[float], Awaitable[Any]]) -> Any:
    """What `read` waits for, for `wait_s` seconds; as it is when the server stops."""
    if not wait_s:
        return await read(0)
    streams: Streams = request.app.state.streams
    reading = asyncio.ensure_future(read(wait_s))
    stopping = asyncio.ensure_future(streams.stopped())
    try:
        await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        return await (reading if reading.done() else read(0))
    finally:
        for task in (reading, stopping):
            task.cancel()
        await asyncio.gather(reading, stopping, return_exceptions=True)


def spawn_wait_s(asked_s: float | None, data: msgspec.Raw | Mapping[str, Any]) -> float:
    """How long to wait for the outcome of a spawn with this data."""
    if asked_s is not None:
        return asked_s
    fields = msgspec.json.decode(data) if isinstance(data, msgspec.Raw) else data
    return 0 if isinstance(fields, Mapping) and fields.get("background") else SPAWN_WAIT_S


async def prepared(request: Request, wait_s: float, asking: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """The outcome of a spawn, asked again while its bundle is being prepared, for `wait_s` seconds."""
    streams: Streams = request.app.state.streams
    outcome = await asking()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            while outcome["status"] == "rejected" and outcome["error"]["code"] == "tower_busy" and wait_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S):
                        await streams.stopped()
                        return outcome
                outcome = await asking()
    return outcome


async def with_outcome(request: Request, verb: str, outcome: Mapping[str, Any], wait_s: float) -> dict[str, Any]:
    """`outcome` of an accepted command, with what came of it within `wait_s` seconds in its result."""
    result = dict(outcome["result"])
    session_id = result.get("session_id")
    if not wait_s or session_id is None:
        return dict(outcome)
    services = request.app.state.services
    models: ReadModels = services.read_models
    await models.wait_for(outcome["position"], services.after_timeout_s, model="sessions")
    if verb == "spawn":
        await models.wait_for(outcome["position"], services.after_timeout_s, model="promises")
        name = promise_id(session_id)
        await settled(request, wait_s, lambda left_s: models.promise(name, wait_s=left_s))
        found = await models.session(session_id, wait_s=0, turn=None)
        return {**outcome, "result": result | told(found, 1)}
    turn = result.get("turn")
    found = await settled(request, wait_s, lambda left_s: models.session(session_id, wait_s=left_s, turn=turn))
    return {**outcome, "result": result | told(found, turn)}
