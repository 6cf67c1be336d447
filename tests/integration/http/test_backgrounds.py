"""GET /v1/background-sessions and /v1/triggers: what listens, why each run ran, and that it is as documented."""

from typing import Any

import pytest

from domain.background.commands import BackgroundDeclare, BackgroundFailure, BackgroundRecordRunEnded
from tests.integration.http.test_documented import Document
from tests.integration.http.world import World
from tests.integration.projections.backgrounds import definition

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "bg-workers-0001"


async def declare(world: World, *definitions: dict[str, Any]) -> int:
    outcome = await world.follow_up(BackgroundDeclare(source="config", definitions=definitions, folder="/srv"))
    assert outcome["status"] == "accepted", outcome
    return outcome["position"]


async def fire(world: World, name: str = "workers", data: Any = None) -> dict[str, Any]:
    answer = await world.post("trigger.fire", {"name": name, "data": data})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_one_is_shown_as_it_stands(world: World) -> None:
    await declare(world, definition("workers", pool_size=1), definition("testers"))
    first, second = await fire(world, data={"n": 1}), await fire(world, data={"n": 2})
    page = await world.get("/v1/background-sessions", after=second["position"])
    assert [(row["name"], row["state"]) for row in page["items"]] == [("testers", "starting"), ("workers", "starting")]
    client = await world.serve(watching=lambda background_id: {1: "inotify"} if background_id == ID else {})
    row = (await client.get("/v1/background-sessions/workers")).json()
    assert row.pop("watching") == [{"trigger_index": 1, "how": "inotify"}]
    assert row == page["items"][1] | {"lag": row["lag"]}
    assert (row["id"], row["trigger_count"], row["running"], row["waiting"]) == (ID, 1, 1, 1)
    assert row["lag"] >= 0 and row["waiting_since"] > row["last_trigger"]
    assert (await world.get(f"/v1/background-sessions/{ID}"))["id"] == ID
    assert first["result"]["session_id"] is not None and second["result"]["session_id"] is None


async def test_why_each_run_ran(world: World) -> None:
    await declare(world, definition("workers"))
    fired = await fire(world, data={"n": 1})
    trigger_id = fired["result"]["trigger_id"]
    failure = BackgroundFailure(error="no such bundle", error_type="bundle_not_found")
    ended = BackgroundRecordRunEnded(background_id=ID, trigger_id=trigger_id, attempt=1, failure=failure)
    position = (await world.follow_up(ended))["position"]
    (row,) = (await world.get("/v1/triggers", background="workers", after=position))["items"]
    assert (row["id"], row["type"], row["source"], row["data"]) == (trigger_id, "manual", "host", {"n": 1})
    assert (row["state"], row["error"], row["session_name"]) == ("failed", "no such bundle", "workers-1")
    assert (await world.get("/v1/triggers", background="testers"))["items"] == []


async def test_answers_are_as_documented(world: World) -> None:
    document = Document(await world.get("/openapi.json"))
    await declare(world, definition("workers"))
    position = (await fire(world))["position"]
    for path, real, name in (
        ("/v1/background-sessions", "/v1/background-sessions", "BackgroundSession"),
        ("/v1/triggers", "/v1/triggers", "Trigger"),
    ):
        body = await world.get(real, after=position)
        document.check(path, 200, body)
        assert set(body["items"][0]) == document.fields(name)
    document.check("/v1/background-sessions/{background}", 200, await world.get(f"/v1/background-sessions/{ID}"))
    body = await world.get("/v1/session-events/subscriptions")
    document.check("/v1/session-events/subscriptions", 200, body)


async def test_what_is_not_there_or_wrong_is_refused(shared_world: World) -> None:
    error = await shared_world.error("/v1/background-sessions/nobody", 404)
    assert (error["code"], error["details"]) == ("background_not_found", {"name": "nobody"})
    for path in ("/v1/background-sessions?state=asleep", "/v1/triggers?state=asleep", "/v1/triggers?colour=red"):
        assert (await shared_world.error(path, 422))["code"] == "validation_failed"
