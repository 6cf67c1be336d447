"""Executions and promises over HTTP: lists, single ones, waiting for the end, what a bench peer sees."""

import asyncio
from typing import Any

import pytest
from fastapi.routing import APIRoute

from adapters.http.benches import is_for_benches
from adapters.http.executions import router
from domain.executions import commands as c
from domain.executions.events import ExecutionError
from projections.read_models import ReadModels
from tests.integration.http.test_documented import Document
from tests.integration.http.world import World, serve
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAIT_S = 60


async def requested(world: World, execution_id: str, *, start: bool = True, **options: Any) -> int:
    """The position of its last event."""
    data = {"id": execution_id, "session_id": f"of-{execution_id}", "code": "6 * 7", **options}
    outcome = (await world.post("execution.request", data)).json()
    assert outcome["result"]["promise_id"] == f"exec:{execution_id}"
    if start:
        outcome = await world.follow_up(c.ExecutionRecordStarted(execution_id=execution_id, attempt=1))
        assert outcome["result"]["recorded"] is True
    return outcome["position"]


async def completed(world: World, execution_id: str, value: Any = 42) -> int:
    report = c.ExecutionRecordCompleted(execution_id=execution_id, attempt=1, repr=repr(value), value=value)
    return (await world.follow_up(report))["position"]


async def test_an_execution_is_there_and_waits_for_its_end(shared_world: World) -> None:
    position = await requested(shared_world, "x1")
    found = await shared_world.get("/v1/executions/x1", after=position)
    assert (found["state"], found["code"], found["has_value"]) == ("running", "6 * 7", False)
    waiting = asyncio.create_task(shared_world.get("/v1/executions/x1", wait=WAIT_S))
    promise = asyncio.create_task(shared_world.get("/v1/promises/exec:x1", wait=WAIT_S))
    await completed(shared_world, "x1")
    assert {"state": "completed", "value": 42, "repr": "42"}.items() <= (await waiting).items()
    assert {"state": "resolved", "value": 42}.items() <= (await promise).items()


async def test_one_that_does_not_end_in_time_is_answered_as_it_is(shared_world: World) -> None:
    position = await requested(shared_world, "x2")
    found = await shared_world.get("/v1/executions/x2", after=position, wait=0.05)
    assert found["state"] == "running"


async def test_a_server_that_stops_answers_those_who_wait(shared_world: World) -> None:
    await requested(shared_world, "x3")
    server, client = await serve(shared_world.stack, shared_world.services)
    asking = asyncio.create_task(client.get("/v1/executions/x3", params={"wait": WAIT_S}))
    await eventually(lambda: waits_for(shared_world, "x3"), "nobody waits")
    async with asyncio.timeout(WAIT_S / 2):
        await server.stop()
        assert (await asking).json()["state"] == "running"
    assert not waits_for(shared_world, "x3")


def waits_for(world: World, execution_id: str) -> bool:
    models = world.services.read_models
    assert isinstance(models, ReadModels)
    return models.changes.waited_for(("execution", execution_id))


async def test_lists_are_narrowed_and_as_documented(shared_world: World) -> None:
    document = Document(await shared_world.get("/openapi.json"))
    await requested(shared_world, "x4", idempotency_key="k", concurrency_key="deploy", retry="safe", timeout=5)
    await shared_world.follow_up(
        c.ExecutionRecordFailed(
            execution_id="x4", attempt=1, error=ExecutionError(exception_type="E", message="no", traceback="lines")
        )
    )
    await shared_world.post("promise.create", {"id": "p1", "timeout": 60, "data": {"a": 1}})
    position = (await shared_world.post("promise.resolve", {"id": "p1", "value": [1]})).json()["position"]
    asked = {
        "/v1/executions": "/v1/executions?session_id=of-x4&state=failed",
        "/v1/executions/{execution_id}": "/v1/executions/x4",
        "/v1/promises": "/v1/promises?state=rejected&execution_id=x4",
        "/v1/promises/{promise_id}": "/v1/promises/p1",
    }
    await shared_world.get("/v1/executions", after=position)
    bodies = {path: await shared_world.get(real) for path, real in asked.items()}
    for path, body in bodies.items():
        document.check(path, 200, body)
    (listed,), (promise,) = bodies["/v1/executions"]["items"], bodies["/v1/promises"]["items"]
    assert listed.keys() == document.fields("ExecutionListed")
    assert (listed["error"]["message"], listed["error"]["traceback"]) == ("no", "")
    whole = bodies["/v1/executions/{execution_id}"]
    assert whole.keys() == document.fields("Execution")
    assert whole["error"]["traceback"] == "lines"
    assert promise.keys() == document.fields("Promise")
    assert (promise["id"], bodies["/v1/promises/{promise_id}"]["value"]) == ("exec:x4", [1])


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/executions/nobody", 404, "execution_not_found"),
        ("/v1/executions/nobody?wait=30", 404, "execution_not_found"),
        ("/v1/promises/nobody?wait=30", 404, "promise_not_found"),
        ("/v1/executions/x1?wait=301", 422, "validation_failed"),
        ("/v1/executions/x1?wait=nan", 422, "validation_failed"),
        ("/v1/executions?state=dead", 422, "validation_failed"),
        ("/v1/promises?colour=red", 422, "validation_failed"),
    ],
)
async def test_what_is_refused(shared_world: World, path: str, status: int, code: str) -> None:
    assert (await shared_world.error(path, status))["code"] == code


async def test_commands_of_executions_answer_their_codes(shared_world: World) -> None:
    await requested(shared_world, "x5")
    await completed(shared_world, "x5")
    refusals = {
        ("execution.cancel", "execution_id"): ("nobody", 404, "execution_not_found"),
        ("execution.resume", "execution_id"): ("x5", 409, "execution_already_ended"),
        ("promise.cancel", "id"): ("exec:x5", 422, "validation_failed"),
        ("session.checkpoint", "session_id"): ("nobody", 404, "session_not_found"),
    }
    for (name, field), (value, status, code) in refusals.items():
        answer = await shared_world.post(name, {field: value})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), name
    again = (await shared_world.post("execution.request", {"id": "x5", "session_id": "of-x5", "code": "6 * 7"})).json()
    assert (again["replay"], again["result"]["state"]) == (True, "completed")
    other = await shared_world.post("execution.request", {"id": "x5", "session_id": "of-x5", "code": "6 * 8"})
    assert other.json()["error"]["code"] == "idempotency_conflict"


async def test_executions_are_the_operators_alone() -> None:
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    open_to_benches = {route.path for route in routes if is_for_benches(route.endpoint)}
    assert open_to_benches == {"/v1/promises", "/v1/promises/{promise_id}"}
