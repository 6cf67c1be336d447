"""The predecessor's names (layouts.md, "RPC names"): every name, both transports, both kinds of caller."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from adapters.rpc.methods import METHODS, NAMES
from adapters.system import SystemIds
from tests.integration.http.benches import BENCH, OTHER, BenchWorld, bench_world
from tests.integration.http.world import NODE

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_NAMES = [method.operator_name for method in METHODS]
BENCH_NAMES = [method.bench_name for method in METHODS]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds() -> AsyncIterator[BenchWorld]:
    async with bench_world() as running:
        yield running


class Caller:
    """One kind of caller over one transport."""

    def __init__(self, worlds: BenchWorld, who: str, transport: str) -> None:
        self._worlds = worlds
        self.who = who
        self._transport = transport

    async def call(self, method: str, parameters: Any = None) -> dict[str, Any]:
        if self._transport == "nats":
            client = self._worlds.operator if self.who == "host" else self._worlds.peer
            body = b"" if parameters is None else msgspec.json.encode(parameters)
            reply = await client.ask(f"tower.rpc.{NODE}.{self.who}.{method}", body, timeout_s=30)
            return msgspec.json.decode(reply.payload)
        asks = self._worlds if self.who == "host" else self._worlds.bench
        told = await asks.ask(f"/v1/rpc/{method}", data="" if parameters is None else parameters)
        assert told.status == STATUS.get(told.body.get("error", {}).get("code"), 200), told
        return told.body

    async def result(self, method: str, parameters: Any = None) -> Any:
        answer = await self.call(method, parameters)
        assert answer["ok"] is True, answer
        return answer["result"]


STATUS = {
    "host_only": 403,
    "managed_layout_not_found": 404,
    "managed_pane_not_found": 404,
    "managed_pane_illegal_transition": 409,
    "validation_failed": 422,
    "not_implemented": 501,
}


@pytest.fixture(params=["http", "nats"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def operator(worlds: BenchWorld, transport: str) -> Caller:
    return Caller(worlds, "host", transport)


@pytest.fixture
def peer(worlds: BenchWorld, transport: str) -> Caller:
    return Caller(worlds, BENCH, transport)


def create(container_id: str, session: str) -> dict[str, Any]:
    return {"container_id": container_id, "template_name": "1m+2s", "tmux_session_name": session}


@pytest.mark.parametrize("name", HOST_NAMES)
async def test_host_only_names_are_refused_to_a_bench_before_anything_is_looked_at(peer: Caller, name: str) -> None:
    for parameters in (None, {"colour": 1}, create(BENCH, "x")):
        answer = await peer.call(name, parameters)
        assert answer.pop("error").pop("message")
        assert answer == {"ok": False, "app_contract_version": "1.1"}
        assert (await peer.call(name, parameters))["error"] | {"message": ""} == {
            "code": "host_only",
            "message": "",
            "details": {},
        }


@pytest.mark.parametrize("name", NAMES)
async def test_the_operator_may_use_every_name_and_app_names_say_their_contract(operator: Caller, name: str) -> None:
    answer = await operator.call(name, {"colour": 1})
    assert answer["ok"] is False
    error = answer["error"]
    assert error.keys() == {"code", "message", "details"}
    if name.endswith("promote_from_adopted"):
        assert error["code"] == "not_implemented"
        assert error["details"] == {"reserved_since": "FEAT-013"}
    else:
        assert error["code"] == "validation_failed"
        assert error["details"].keys() == {"field", "reason"}
        assert error["details"]["field"] == "colour"
    assert answer.keys() - {"ok", "error"} == ({"app_contract_version"} if name.startswith("app.") else set())
    assert answer.get("app_contract_version", "1.1") == "1.1"


@pytest.mark.parametrize("who", ["operator", "peer"])
async def test_a_layout_goes_through_all_methods(request: pytest.FixtureRequest, who: str, transport: str) -> None:
    caller: Caller = request.getfixturevalue(who)
    names = dict(zip((f"M{n}" for n in range(1, 9)), HOST_NAMES if who == "operator" else BENCH_NAMES, strict=True))
    container = "host" if who == "operator" else BENCH
    made = await caller.result(names["M1"], create(container, f"all-{who}-{transport}"))
    assert made["state"] == "creating"
    assert made["replay"] is False
    layout_id, pane_id = made["layout_id"], made["panes"][0]["pane_id"]

    page = await caller.result(names["M2"], {"container_id": container, "limit": 200})
    assert page.keys() == {"items", "next_cursor", "position"}
    (row,) = [row for row in page["items"] if row["id"] == layout_id]
    assert (row["origin"], row["ready_pane_count"], row["state"]) == ("managed", 0, "creating")

    detail = await caller.result(names["M3"], {"layout_id": layout_id, "include_terminal_panes": True})
    assert [pane["id"] for pane in detail["panes"]] == [pane["pane_id"] for pane in made["panes"]]
    listed = await caller.result(names["M4"], {"layout_id": layout_id, "state": "creating"})
    assert {pane["id"] for pane in listed["items"]} == {pane["pane_id"] for pane in made["panes"]}
    pane = await caller.result(names["M5"], {"pane_id": pane_id, "include_predecessor_chain": True})
    assert pane["predecessor_chain"] == []
    assert {
        "layout_id": layout_id,
        "container_id": container,
        "label": made["panes"][0]["label"],
    }.items() <= pane.items()
    assert "predecessor_chain" not in await caller.result(names["M5"], {"pane_id": pane_id})

    refused = await caller.call(names["M6"], {"pane_id": pane_id})
    assert refused["error"]["code"] == "managed_pane_illegal_transition"
    assert refused["error"]["details"] == {
        "pane_id": pane_id,
        "current_state": "creating",
        "requested_action": "remove",
    }
    reserved = await caller.call(names["M8"], {"pane_id": pane_id})
    assert reserved["error"]["code"] == "not_implemented"
    assert reserved["error"]["details"] == {"reserved_since": "FEAT-013"}


async def test_a_command_asked_again_with_its_id_is_decided_once(
    operator: Caller, worlds: BenchWorld, transport: str
) -> None:
    parameters = {**create("host", f"twice-{transport}"), "command_id": SystemIds().uuid7()}
    first, second = [await operator.result("managed.layout.create", parameters) for _ in range(2)]
    assert first == second
    recorded = await worlds.world.get(f"/v1/commands/{parameters['command_id']}")
    assert recorded["result"] == first


async def test_an_idempotency_key_answers_the_present_state(operator: Caller, transport: str) -> None:
    parameters = {**create("host", f"keyed-{transport}"), "idempotency_key": f"key-{transport}"}
    first, second = [await operator.result("app.managed_layout_create", parameters) for _ in range(2)]
    assert (first["replay"], second["replay"]) == (False, True)
    assert second["layout_id"] == first["layout_id"]


WRONG: list[tuple[str, Any, str]] = [
    ("managed.layout.list", {"state": "purple"}, "state"),
    ("managed.layout.list", {"limit": 0}, "limit"),
    ("managed.layout.list", {"limit": "50"}, "limit"),
    ("managed.layout.list", {"cursor": "nonsense"}, "cursor"),
    ("managed.layout.list", {"layout_id": "x"}, "layout_id"),
    ("managed.layout.detail", {}, "layout_id"),
    ("managed.layout.detail", {"layout_id": "x", "include_terminal_panes": 1}, "include_terminal_panes"),
    ("managed.pane.list", {"state": "gone"}, "state"),
    ("managed.pane.detail", {"pane": "x"}, "pane"),
    ("managed.pane.remove", {}, "pane_id"),
    ("managed.pane.remove", {"pane_id": "x", "command_id": "no-uuid"}, "id"),
    ("managed.pane.remove", {"pane_id": "x", "command_id": 7}, "command_id"),
    ("managed.pane.remove", {"pane_id": "x", "origin": "host"}, "origin"),
    ("managed.layout.list", [], "payload"),
]


@pytest.mark.parametrize(("name", "parameters", "field"), WRONG)
async def test_wrong_parameters_are_named(operator: Caller, name: str, parameters: Any, field: str) -> None:
    error = (await operator.call(name, parameters))["error"]
    assert error["code"] == "validation_failed"
    assert error["details"]["field"] == field


async def test_an_unknown_method_is_answered_with_the_nearest_names(operator: Caller, peer: Caller) -> None:
    answer = await operator.call("app.managed_layout_lst")
    assert answer["app_contract_version"] == "1.1"
    assert answer["error"]["code"] == "validation_failed"
    assert answer["error"]["details"]["field"] == "method"
    assert "app.managed_layout_list" in answer["error"]["details"]["reason"]
    reason = (await peer.call("managed.layout.lst"))["error"]["details"]["reason"]
    assert "managed.layout.list" in reason
    assert "app." not in reason


async def test_pages_follow_each_other_across_states(operator: Caller, transport: str) -> None:
    for number in range(2):
        await operator.result("managed.layout.create", create("host", f"page-{transport}-{number}"))
    seen: list[str] = []
    parameters: dict[str, Any] = {"limit": 1}
    while True:
        page = await operator.result("managed.layout.list", parameters)
        seen += [row["id"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    whole = await operator.result("managed.layout.list", {"limit": 200})
    assert seen == [row["id"] for row in whole["items"]]
    assert len(seen) >= 2


async def test_a_bench_sees_and_touches_its_own_only(worlds: BenchWorld, peer: Caller, transport: str) -> None:
    theirs = [await worlds.world.create_layout(f"own-{transport}", container_id=each) for each in (OTHER, "host")]
    for outcome in theirs:
        layout_id, pane_id = outcome["result"]["layout_id"], outcome["result"]["panes"][0]["pane_id"]
        refused = [
            await peer.call("managed.layout.detail", {"layout_id": layout_id, "after": outcome["position"]}),
            await peer.call("managed.layout.detail", {"layout_id": "unknown"}),
            await peer.call("managed.pane.detail", {"pane_id": pane_id}),
            await peer.call("managed.pane.detail", {"pane_id": "unknown"}),
            await peer.call("managed.pane.remove", {"pane_id": pane_id}),
            await peer.call("managed.pane.recreate", {"predecessor_pane_id": pane_id}),
        ]
        assert all(answer == refused[0] for answer in refused), refused
        assert refused[0]["error"]["code"] == "host_only"
        assert refused[0]["error"]["details"] == {}
        assert (await peer.result("managed.pane.list", {"layout_id": layout_id}))["items"] == []
        assert (await peer.result("managed.layout.list", {"container_id": OTHER}))["items"] == []
    refused = await peer.call("managed.layout.create", create(OTHER, "elsewhere"))
    assert refused["error"]["code"] == "host_only"
    mine = await peer.result("managed.layout.list", {"limit": 200})
    assert {row["container_id"] for row in mine["items"]} <= {BENCH}


async def test_answers_go_to_inboxes_of_the_caller_only(worlds: BenchWorld) -> None:
    """A reply subject that is no inbox of the caller's is not answered, and nothing is written to the log there."""
    end = await worlds.world.log.last_position()
    await worlds.operator.publish(f"tower.rpc.{NODE}.host.managed.layout.list", b"{}", reply="tower.evt.local.a.b.c")
    await worlds.operator.ask(f"tower.rpc.{NODE}.host.managed.layout.list", b"{}")
    assert await worlds.world.log.last_position() == end
