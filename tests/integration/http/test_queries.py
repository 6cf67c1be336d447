"""GET /v1: lists and single things, `after=`, not found, parameters that are wrong, all in one form."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from domain.layouts.commands import PaneFail, PaneRecordLaunchSettled, PaneRecordSpawned, PaneRegister
from tests.integration.http.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def layout(shared_world: World) -> dict[str, Any]:
    """The result of one `layout.create`, with position and command id of its outcome."""
    outcome = await shared_world.create_layout()
    return {**outcome["result"], "position": outcome["position"], "command_id": outcome["command_id"]}


async def test_a_layout_is_there_after_its_position(shared_world: World, layout: dict[str, Any]) -> None:
    page = await shared_world.get("/v1/layouts", after=layout["position"])
    assert page["position"] >= layout["position"]
    assert page["next_cursor"] is None
    (row,) = page["items"]
    assert row["id"] == layout["layout_id"]
    assert row["state"] == "creating"
    assert row["origin"] == "managed"
    assert row["ready_pane_count"] == 0


async def test_a_single_layout_comes_with_its_panes(shared_world: World, layout: dict[str, Any]) -> None:
    row = await shared_world.get(f"/v1/layouts/{layout['layout_id']}", after=layout["position"])
    assert row["id"] == layout["layout_id"]
    assert [pane["label"] for pane in row["panes"]] == ["m1", "s1", "s2"]


async def test_a_pane_has_its_fields(shared_world: World, layout: dict[str, Any]) -> None:
    pane_id = layout["panes"][0]["pane_id"]
    row = await shared_world.get(f"/v1/panes/{pane_id}", after=layout["position"])
    expected = {"id": pane_id, "layout_id": layout["layout_id"], "container_id": "host", "label": "m1"}
    expected |= {"role": "master", "state": "creating", "failed_stage": None, "exit_code": None, "signal": None}
    expected |= {"tmux_pane_id": None, "pid": None, "log_path": None, "agent_id": None, "predecessor_id": None}
    assert expected.items() <= row.items()
    assert row["chain_depth"] == 0
    assert "predecessor_chain" not in row


async def test_pages_follow_each_other(shared_world: World, layout: dict[str, Any]) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await shared_world.get(
            "/v1/panes", layout_id=layout["layout_id"], limit=2, after=layout["position"], **cursor
        )
        seen += [row["id"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(seen) == sorted(pane["pane_id"] for pane in layout["panes"])


async def test_filters_narrow(shared_world: World, layout: dict[str, Any]) -> None:
    assert (await shared_world.get("/v1/panes", state="ready", after=layout["position"]))["items"] == []
    assert (await shared_world.get("/v1/layouts", container_id="elsewhere"))["items"] == []
    assert len((await shared_world.get("/v1/panes", container_id="host", state="creating"))["items"]) == 3


async def test_the_predecessor_chain_is_told_when_asked_for(world: World) -> None:
    layout = (await world.create_layout(template="1m+2s"))["result"]
    pane_id = layout["panes"][0]["pane_id"]
    await world.follow_up(PaneFail(pane_id=pane_id, stage="pane_create", reason="test"))
    outcome = (await world.post("pane.recreate", {"predecessor_pane_id": pane_id})).json()
    new_id, position = outcome["result"]["pane_id"], outcome["position"]
    row = await world.get(f"/v1/panes/{new_id}", after=position, include_predecessor_chain="true")
    assert [pane["id"] for pane in row["predecessor_chain"]] == [pane_id]
    whole = await world.get(f"/v1/layouts/{layout['layout_id']}", after=position, include_terminal_panes="true")
    assert {pane_id, new_id} <= {pane["id"] for pane in whole["panes"]}
    shown = await world.get(f"/v1/layouts/{layout['layout_id']}", after=position)
    assert pane_id not in {pane["id"] for pane in shown["panes"]}


async def test_agents_are_the_registered_panes(world: World) -> None:
    layout = (await world.create_layout())["result"]
    pane_id = layout["panes"][1]["pane_id"]
    await world.follow_up(PaneRecordSpawned(pane_id=pane_id, tmux_pane_id="%1", tmux_pane_index=1, pid=1))
    await world.follow_up(PaneRecordLaunchSettled(pane_id=pane_id, elapsed_ms=500))
    outcome = await world.follow_up(PaneRegister(pane_id=pane_id))
    (agent,) = (await world.get("/v1/agents", after=outcome["position"]))["items"]
    assert agent["pane_id"] == pane_id
    assert agent["origin"] == "managed"
    assert (await world.get("/v1/agents", state="removed"))["items"] == []
    assert (await world.get("/v1/agents", origin="adopted"))["items"] == []
    assert await world.get(f"/v1/agents/{agent['id']}") == agent


async def test_an_agent_that_nobody_knows(shared_world: World) -> None:
    answer = await shared_world.client.get("/v1/agents/nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "managed_pane_not_found")


async def test_the_audit_query_lists_cloud_events_with_their_position(
    shared_world: World, layout: dict[str, Any]
) -> None:
    page = await shared_world.get("/v1/events", correlation_id=layout["command_id"], after=layout["position"])
    first = page["items"][0]
    assert first["specversion"] == "1.0"
    assert first["type"] == "agenttower.layout.created.v1"
    assert first["actor"] == "host"
    assert first["data"]["layout_id"] == layout["layout_id"]
    assert [item["position"] for item in page["items"]] == sorted(item["position"] for item in page["items"])
    assert page["items"][-1]["position"] == layout["position"]


@pytest.mark.parametrize("name", ["layout.created", "agenttower.layout.created", "agenttower.layout.created.v1"])
async def test_a_type_may_be_written_short(shared_world: World, layout: dict[str, Any], name: str) -> None:
    page = await shared_world.get("/v1/events", type=name, id=layout["layout_id"], after=layout["position"])
    assert [item["type"] for item in page["items"]] == ["agenttower.layout.created.v1"]


async def test_times_narrow_the_audit_query(shared_world: World, layout: dict[str, Any]) -> None:
    (created,) = (await shared_world.get("/v1/events", type="layout.created", after=layout["position"]))["items"]
    at = created["time"]
    assert (await shared_world.get("/v1/events", type="layout.created", since=at))["items"] == [created]
    assert (await shared_world.get("/v1/events", type="layout.created", until=at))["items"] == []
    unescaped = await shared_world.client.get("/v1/events?type=layout.created&since=2026-01-02T03:04:05+00:00")
    assert unescaped.json()["items"] == [created]


async def test_projections_say_how_far_they_are(shared_world: World, layout: dict[str, Any]) -> None:
    page = await shared_world.get("/v1/projections", after=layout["position"])
    assert page["next_cursor"] is None
    assert {"layouts", "events", "agents"} <= {row["name"] for row in page["items"]}
    assert all(row["position"] >= layout["position"] for row in page["items"])


NOT_FOUND = [
    ("/v1/layouts/nobody", "managed_layout_not_found", {"layout_id": "nobody"}),
    ("/v1/panes/nobody", "managed_pane_not_found", {"pane_id": "nobody"}),
    ("/v1/commands/nobody", "command_not_found", {"command_id": "nobody"}),
    ("/v1/nothing", "route_not_found", {"path": "/v1/nothing"}),
    ("/v1/layouts/", "route_not_found", {"path": "/v1/layouts/"}),
    ("/docs", "route_not_found", {"path": "/docs"}),
]


@pytest.mark.parametrize(("path", "code", "details"), NOT_FOUND)
async def test_what_is_not_there_is_404(shared_world: World, path: str, code: str, details: dict[str, str]) -> None:
    error = await shared_world.error(path, 404)
    assert error["code"] == code
    assert error["details"] == details
    assert error["message"]


WRONG = [
    ("/v1/layouts?colour=red", "colour", "no such parameter"),
    ("/v1/layouts?state=happy", "state", "creating"),
    ("/v1/layouts?limit=0", "limit", "1"),
    ("/v1/layouts?limit=201", "limit", "200"),
    ("/v1/layouts?limit=many", "limit", "integer"),
    ("/v1/layouts?limit=5&limit=6", "limit", "more than once"),
    ("/v1/layouts?cursor=%21%21", "cursor", "cursor"),
    ("/v1/layouts?after=-1", "after", "0"),
    ("/v1/layouts?after=99999999999999999999", "after", "9223372036854775807"),
    ("/v1/layouts/x?include_terminal_panes=perhaps", "include_terminal_panes", "boolean"),
    ("/v1/panes/x?state=ready", "state", "no such parameter"),
    ("/v1/events?kind=dinosaur", "kind", "pane"),
    ("/v1/events?type=pane.exploded", "type", "pane.exploded"),
    ("/v1/events?since=yesterday", "since", "2026-01-02"),
    ("/v1/events?since=1700000000", "since", "2026-01-02"),
    ("/v1/events?until=2026-01-02T03:04:05", "until", "timezone"),
    ("/v1/events/stream?limit=3", "limit", "no such parameter"),
    ("/v1/events/stream?after_position=x", "after_position", "integer"),
    ("/v1/commands/x?verbose=1", "verbose", "no such parameter"),
]


@pytest.mark.parametrize(("path", "field", "reason"), WRONG)
async def test_a_wrong_parameter_is_named(shared_world: World, path: str, field: str, reason: str) -> None:
    error = await shared_world.error(path, 422)
    assert error["code"] == "validation_failed"
    assert error["details"].keys() == {"field", "reason"}
    assert error["details"]["field"] == field
    assert reason in error["details"]["reason"]


async def test_a_wrong_method_is_405_and_says_what_is_allowed(shared_world: World) -> None:
    answer = await shared_world.client.delete(
        "/v1/layouts", headers={"Authorization": f"Bearer {shared_world.services.token}"}
    )
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json()["error"]["code"] == "method_not_allowed"
    assert answer.json()["error"]["details"] == {"method": "DELETE", "allowed": ["GET"]}


async def test_after_waits_for_the_read_model(world: World) -> None:
    """Asked before the event exists, answered when it is there."""
    end = await world.log.last_position()
    asked = asyncio.create_task(world.get("/v1/layouts", after=end + 1))
    outcome = await world.create_layout()
    page = await asked
    assert [row["id"] for row in page["items"]] == [outcome["result"]["layout_id"]]


async def test_a_read_model_that_is_not_there_in_time_is_504(world: World) -> None:
    client = await world.serve(after_timeout_s=0.05)
    end = await world.log.last_position()
    await world.get("/v1/layouts", after=end)
    answer = await client.get("/v1/layouts", params={"after": end + 7})
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "read_model_behind"
    assert answer.json()["error"]["details"] == {"after": end + 7, "position": end}
