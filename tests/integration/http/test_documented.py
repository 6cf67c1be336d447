"""What `/openapi.json` says is what the server answers: bodies match their schemas, and no field is left out there."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from domain.bundles.commands import BundleRecordPrepared
from domain.containers import ContainerRecordScan
from domain.layouts.commands import PaneFail, PaneRecordLaunchSettled, PaneRecordSpawned, PaneRegister
from tests.integration.http.world import BEARER, World
from tests.unit.builders import unmanaged_pane as pane

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Document:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def check(self, path: str, status: int, body: Any, method: str = "get") -> None:
        """`path` as in the document. Fails for a body that is not as documented."""
        operation = self._document["paths"][path][method]
        schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        whole = {**schema, "components": self._document["components"]}
        problems = sorted(error.message for error in Draft202012Validator(whole).iter_errors(body))
        assert problems == []

    def fields(self, name: str) -> set[str]:
        return set(self._document["components"]["schemas"][name]["properties"])


BUNDLE = ("name", "version", "description", "digest")


async def test_answers_are_as_documented(world: World) -> None:
    document = Document(await world.get("/openapi.json"))
    made = await world.create_layout()
    document.check("/v1/commands", 200, made, "post")
    pane_id, other_id = (pane["pane_id"] for pane in made["result"]["panes"][:2])
    await world.follow_up(PaneRecordSpawned(pane_id=pane_id, tmux_pane_id="%1", tmux_pane_index=0, pid=7))
    await world.follow_up(PaneRecordLaunchSettled(pane_id=pane_id, elapsed_ms=500))
    await world.follow_up(PaneRegister(pane_id=pane_id))
    await world.follow_up(PaneFail(pane_id=other_id, stage="pane_create", reason="test"))
    recreated = (await world.post("pane.recreate", {"predecessor_pane_id": other_id})).json()
    scan_id = (await world.post("container.scan", {})).json()["result"]["scan_id"]
    await world.follow_up(ContainerRecordScan(scan_id=scan_id, listed=("host",), unmanaged=(pane("host"),)))
    await world.follow_up(BundleRecordPrepared(uri="/b", **dict.fromkeys(BUNDLE, "b"), reason="start"))
    rejected = await world.post("pane.remove", {"pane_id": "nobody"})
    document.check("/v1/commands", 404, rejected.json(), "post")

    position, new_id = rejected.json()["position"], recreated["result"]["pane_id"]
    layout_id = made["result"]["layout_id"]
    agent_id = (await world.get("/v1/agents", after=position))["items"][0]["id"]
    asked = {
        "/v1/layouts": "/v1/layouts",
        "/v1/layouts/{layout_id}": f"/v1/layouts/{layout_id}",
        "/v1/panes": "/v1/panes",
        "/v1/panes/{pane_id}": f"/v1/panes/{new_id}?include_predecessor_chain=true",
        "/v1/agents": "/v1/agents",
        "/v1/agents/{agent_id}": f"/v1/agents/{agent_id}",
        "/v1/containers": "/v1/containers",
        "/v1/containers/{container_id}": "/v1/containers/host",
        "/v1/containers/{container_id}/unmanaged-panes": "/v1/containers/host/unmanaged-panes",
        "/v1/bundles": "/v1/bundles",
        "/v1/bundles/{bundle}": "/v1/bundles/b",
        "/v1/events": "/v1/events?limit=200",
        "/v1/projections": "/v1/projections",
        "/v1/commands/{command_id}": f"/v1/commands/{made['command_id']}",
        "/readyz": "/readyz",
        "/healthz": "/healthz",
    }
    await world.get("/v1/projections", after=position)
    bodies = {path: await world.get(real) for path, real in asked.items()}
    for path, body in bodies.items():
        document.check(path, 200, body)
    assert bodies["/v1/agents"]["items"]
    assert len(bodies["/v1/panes/{pane_id}"]["predecessor_chain"]) == 1

    lists = {
        "/v1/layouts": "Layout",
        "/v1/panes": "Pane",
        "/v1/agents": "Agent",
        "/v1/containers": "Container",
        "/v1/containers/{container_id}/unmanaged-panes": "UnmanagedPane",
        "/v1/bundles": "Bundle",
        "/v1/events": "RecordedEvent",
        "/v1/projections": "Projection",
    }
    for path, name in lists.items():
        shown = {field for row in bodies[path]["items"] for field in row}
        assert shown <= document.fields(name), name
        optional = {"causationid", "traceparent"} if name == "RecordedEvent" else set()
        assert document.fields(name) - optional <= shown, name
    assert set(bodies["/v1/layouts/{layout_id}"]) == document.fields("LayoutWithPanes")
    assert set(bodies["/v1/panes/{pane_id}"]) == document.fields("PaneWithChain")


async def test_errors_are_as_documented(shared_world: World) -> None:
    document = Document(await shared_world.get("/openapi.json"))
    for path, real, status in [
        ("/v1/layouts", "/v1/layouts?colour=red", 422),
        ("/v1/layouts/{layout_id}", "/v1/layouts/nobody", 404),
        ("/v1/panes/{pane_id}", "/v1/panes/nobody", 404),
        ("/v1/commands/{command_id}", "/v1/commands/nobody", 404),
        ("/v1/containers/{container_id}", "/v1/containers/nobody", 404),
        ("/v1/containers/{container_id}/unmanaged-panes", "/v1/containers/nobody/unmanaged-panes", 404),
        ("/v1/containers", "/v1/containers?state=ready", 422),
        ("/v1/bundles/{bundle}", "/v1/bundles/nobody", 404),
        ("/v1/bundles", "/v1/bundles?state=ready", 422),
        ("/v1/events/stream", "/v1/events/stream?limit=1", 422),
    ]:
        answer = await shared_world.client.get(real)
        assert answer.status_code == status
        document.check(path, status, answer.json())
    posted = await shared_world.client.post("/v1/commands", headers=BEARER, content=b"{")
    document.check("/v1/commands", posted.status_code, posted.json(), "post")
    refused = await shared_world.client.post("/v1/commands", content=b"{}")
    assert refused.status_code == 401
    document.check("/v1/commands", 401, refused.json(), "post")
