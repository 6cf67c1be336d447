"""POST /v1/commands: outcomes with their status, recognition of ids, refusals of bodies; GET /v1/commands/{id}."""

import asyncio
from typing import Any

import pytest

from adapters.system import SystemIds
from domain.messages import HOST
from tests.integration.http.world import BEARER, World, serve

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_accepted_command_answers_its_result_and_position(shared_world: World) -> None:
    command_id = SystemIds().uuid7()
    data = {"container_id": HOST, "template_name": "1m+2s", "tmux_session_name": "one"}
    answer = await shared_world.post("layout.create", data, id=command_id)
    assert answer.status_code == 200
    outcome = answer.json()
    assert outcome["command_id"] == command_id
    assert outcome["status"] == "accepted"
    assert outcome["result"]["state"] == "creating"
    assert outcome["position"] == await shared_world.log.last_position()
    assert outcome["replay"] is False


async def test_the_same_id_is_decided_once(shared_world: World) -> None:
    command_id = SystemIds().uuid7()
    data = {"container_id": HOST, "template_name": "1m+2s", "tmux_session_name": "twice"}
    first, second = [(await shared_world.post("layout.create", data, id=command_id)).json() for _ in range(2)]
    assert second == {**first, "replay": True}


async def test_the_same_idempotency_key_makes_one_layout(shared_world: World) -> None:
    data = {"container_id": HOST, "template_name": "1m+2s", "tmux_session_name": "keyed"}
    first, second = [(await shared_world.post("layout.create", data, idempotency_key="key-1")).json() for _ in range(2)]
    assert second["result"]["layout_id"] == first["result"]["layout_id"]
    assert second["result"]["replay"] is True


async def test_an_outcome_can_be_asked_for_again(shared_world: World) -> None:
    outcome = await shared_world.create_layout("asked-again")
    again = await shared_world.get(f"/v1/commands/{outcome['command_id']}", after=outcome["position"])
    assert outcome.items() <= again.items()
    assert again["actor"] == HOST


async def test_a_recorded_rejection_can_be_asked_for_again(shared_world: World) -> None:
    rejected = await shared_world.post("layout.remove", {"layout_id": "nobody"})
    outcome = rejected.json()
    again = await shared_world.get(f"/v1/commands/{outcome['command_id']}", after=outcome["position"])
    assert outcome.items() <= again.items()


CREATE = {"container_id": HOST, "template_name": "1m+2s", "tmux_session_name": "x"}

REJECTED: list[tuple[str, dict[str, Any], int, str]] = [
    ("layout.create", {**CREATE, "template_name": "none"}, 404, "managed_template_not_found"),
    ("layout.create", {**CREATE, "container_id": "f" * 64}, 404, "container_not_found"),
    ("layout.create", {**CREATE, "tmux_session_name": "a:b"}, 422, "validation_failed"),
    ("layout.create", {**CREATE, "colour": "red"}, 422, "validation_failed"),
    ("layout.create", {"template_name": "1m+2s"}, 422, "validation_failed"),
    ("layout.remove", {"layout_id": "nobody"}, 404, "managed_layout_not_found"),
    ("pane.remove", {"pane_id": "nobody"}, 404, "managed_pane_not_found"),
    ("pane.promote", {}, 501, "not_implemented"),
    ("pane.explode", {}, 422, "validation_failed"),
    ("pane.record_vanished", {"pane_id": "x"}, 422, "validation_failed"),
    ("node.claim", {"node": "local", "instance": "x", "pid": 1, "host": "h"}, 422, "validation_failed"),
]


@pytest.mark.parametrize(("name", "data", "status", "code"), REJECTED)
async def test_a_rejected_command_answers_its_outcome_with_the_status_of_its_code(
    shared_world: World, name: str, data: dict[str, Any], status: int, code: str
) -> None:
    answer = await shared_world.post(name, data)
    assert answer.status_code == status
    outcome = answer.json()
    assert outcome["status"] == "rejected"
    assert outcome["error"]["code"] == code
    assert outcome["error"].keys() == {"code", "message", "details"}


async def test_a_conflict_is_409(shared_world: World) -> None:
    made = (await shared_world.create_layout("conflict"))["result"]
    answer = await shared_world.post("pane.remove", {"pane_id": made["panes"][0]["pane_id"]})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "managed_pane_illegal_transition"


BODIES = [
    (b"", "payload"),
    (b"{", "payload"),
    (b"[]", "payload"),
    (b'"text"', "payload"),
    (b"\xff\xfe", "payload"),
    (b'{"verb":"create","data":{}}', "noun"),
    (b'{"noun":"layout","verb":"create"}', "data"),
    (b'{"noun":1,"verb":"create","data":{}}', "noun"),
    (b'{"noun":"layout","verb":"create","data":{},"colour":"red"}', "colour"),
    (b'{"noun":"layout","verb":"create","data":{},"id":""}', "id"),
    (b'{"noun":"layout","verb":"create","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "payload"),
]


@pytest.mark.parametrize(("body", "field"), BODIES, ids=range(len(BODIES)))
async def test_a_malformed_body_is_refused_with_its_field(shared_world: World, body: bytes, field: str) -> None:
    answer = await shared_world.client.post("/v1/commands", headers=BEARER, content=body)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error["code"] == "validation_failed"
    assert error["details"]["field"] == field


WRONG_FIELDS = [
    ({"id": "not-a-uuid"}, "id"),
    ({"id": "01985b7e-6d10-4c44-9a51-0c6f3f6f0a01"}, "id"),
    ({"correlationid": "with space"}, "correlationid"),
    ({"traceparent": "nonsense"}, "traceparent"),
    ({"idempotency_key": "no/slash"}, "idempotency_key"),
]


@pytest.mark.parametrize(("fields", "field"), WRONG_FIELDS)
async def test_a_wrong_field_is_refused(shared_world: World, fields: dict[str, str], field: str) -> None:
    data = {"container_id": HOST, "template_name": "1m+2s", "tmux_session_name": "wrong"}
    answer = await shared_world.post("layout.create", data, **fields)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["details"]["field"] == field


async def test_correlation_and_trace_reach_the_events(shared_world: World) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    data = {"container_id": HOST, "template_name": "1m+2s", "tmux_session_name": "traced"}
    body = {"noun": "layout", "verb": "create", "data": data, "correlationid": "one-request"}
    answer = await shared_world.client.post("/v1/commands", headers={**BEARER, "traceparent": traceparent}, json=body)
    position = answer.json()["position"]
    page = await shared_world.get("/v1/events", correlation_id="one-request", after=position)
    assert page["items"][0]["traceparent"] == traceparent


async def test_nothing_in_a_request_says_who_asks(shared_world: World) -> None:
    """Headers and query parameters that name somebody else change nothing, and a body that does is refused."""
    headers = {**BEARER, "X-Origin": "f" * 64, "Tower-Origin": "f" * 64, "X-Forwarded-For": "192.0.2.1"}
    body = {"noun": "layout", "verb": "remove", "data": {"layout_id": "nobody"}}
    answer = await shared_world.client.post("/v1/commands", headers=headers, json=body)
    recorded = await shared_world.get(f"/v1/commands/{answer.json()['command_id']}", after=answer.json()["position"])
    assert recorded["actor"] == HOST
    refused = await shared_world.client.post("/v1/commands", headers=BEARER, json={**body, "origin": "f" * 64})
    assert refused.status_code == 422
    assert refused.json()["error"]["details"]["field"] == "origin"


async def test_commands_side_by_side_get_their_own_outcomes(shared_world: World) -> None:
    ids = [SystemIds().uuid7() for _ in range(30)]
    answers = await asyncio.gather(
        *(shared_world.post("layout.remove", {"layout_id": f"nobody-{place}"}, id=id_) for place, id_ in enumerate(ids))
    )
    for place, (command_id, answer) in enumerate(zip(ids, answers, strict=True)):
        assert answer.json()["command_id"] == command_id
        assert answer.json()["error"]["details"] == {"layout_id": f"nobody-{place}"}


async def test_an_outcome_that_does_not_come_in_time_is_504_and_may_be_asked_again(world: World) -> None:
    world.writing.cancel()
    client = await world.serve(outcome_timeout_s=0.05)
    body = {"noun": "layout", "verb": "remove", "data": {"layout_id": "nobody"}, "id": SystemIds().uuid7()}
    answer = await client.post("/v1/commands", headers=BEARER, json=body)
    assert answer.status_code == 504
    error = answer.json()["error"]
    assert error["code"] == "outcome_pending"
    assert error["details"] == {"command_id": body["id"], "timeout_s": 0.05}


async def test_a_server_that_is_about_to_stop_refuses_commands_and_still_answers_queries(world: World) -> None:
    server, client = await serve(world.stack, world.services)
    server.refuse_commands()
    end = await world.log.last_position()
    body = {"noun": "layout", "verb": "remove", "data": {"layout_id": "nobody"}}
    answer = await client.post("/v1/commands", headers=BEARER, json=body)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "temporarily_unavailable"
    assert answer.json()["error"]["details"] == {"part": "writer"}
    assert await world.log.last_position() == end
    assert (await client.get("/v1/layouts")).status_code == 200
