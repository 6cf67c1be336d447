"""The bench socket: who asks is what the kernel says, and a bench sees and touches its own container only."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from fastapi.routing import APIRoute

from adapters.http import benches as marks
from adapters.http.probes import router as probes
from adapters.http.routes import v1
from domain.containers import ContainerFacts, ContainerRecordFound
from tests.integration.http.benches import BENCH, OTHER, Bench, BenchWorld, bench_world, curl
from tests.integration.http.world import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_ONLY = {"code": "host_only", "message": "only the operator may do this", "details": {}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds() -> AsyncIterator[BenchWorld]:
    async with bench_world() as running:
        yield running


def create(container_id: str, session: str) -> dict[str, Any]:
    return {"container_id": container_id, "template_name": "1m+2s", "tmux_session_name": session}


async def made_by(bench: Bench, container_id: str, session: str) -> dict[str, Any]:
    told = await bench.command("layout.create", create(container_id, session))
    assert told.status == 200, told
    return told.body


async def refused(bench: Bench, path: str, *options: str, data: Any = None) -> bool:
    """Whether this is answered as everything that is not the caller's."""
    told = await bench.ask(path, *options, data=data)
    return told.status == 403 and told.body["error"] == HOST_ONLY


# --- who asks ------------------------------------------------------------------------------------------------------


async def test_a_process_of_this_machine_is_the_operator_without_a_token(worlds: BenchWorld) -> None:
    body = {"noun": "layout", "verb": "create", "data": create("host", "of-host")}
    told = await worlds.ask("/v1/commands", data=body)
    assert told.status == 200, told
    recorded = await worlds.ask(f"/v1/commands/{told.body['command_id']}?after={told.body['position']}")
    assert recorded.body["actor"] == "host"


async def test_a_process_in_a_container_is_that_container(worlds: BenchWorld) -> None:
    outcome = await made_by(worlds.bench, BENCH, "of-bench")
    recorded = await worlds.bench.ask(f"/v1/commands/{outcome['command_id']}?after={outcome['position']}")
    assert (recorded.status, recorded.body["actor"]) == (200, BENCH)


@pytest.mark.parametrize(
    "name",
    [f"docker/{BENCH}", f"machine/libpod-{BENCH}.scope/container", f"lxc/{BENCH[:12]}", f"docker-{BENCH}.scope/below"],
)
async def test_whatever_its_cgroup_is_called_by_the_engine(worlds: BenchWorld, name: str) -> None:
    bench = Bench(worlds.world, name)
    assert (await bench.ask("/v1/layouts")).status == 200
    assert await refused(bench, "/v1/commands", data={"noun": "container", "verb": "scan", "data": {}})


@pytest.mark.parametrize(
    "name", ["nothing-of-ours", "docker/" + "ef" * 32, f"docker/{BENCH}/{OTHER}", f"docker/{'ef' * 32}/docker/{BENCH}"]
)
async def test_who_cannot_be_told_is_refused_everything(worlds: BenchWorld, name: str) -> None:
    """Of no container, of an unknown one, of two, of one inside of an unknown one."""
    bench = Bench(worlds.world, name, uid=0)
    for path in ("/v1/layouts", "/v1/events/stream", "/healthz", "/openapi.json", "/nothing"):
        assert await refused(bench, path), path
    told = await bench.ask("/v1/rpc/managed.layout.list", data={})
    assert (told.status, told.body) == (403, {"ok": False, "error": HOST_ONLY})


async def test_a_container_counts_as_it_is_registered_now(worlds: BenchWorld) -> None:
    new = "0f" * 32
    bench = Bench(worlds.world, f"docker-{new}.scope")
    assert await refused(bench, "/v1/layouts")
    known = [ContainerFacts(container_id=each, name=each[:4]) for each in (BENCH, OTHER)]
    facts = ContainerFacts(container_id=new, name="new")
    await worlds.world.follow_up(ContainerRecordFound(containers=(*known, facts)))
    assert (await bench.ask("/v1/layouts")).status == 200
    await worlds.world.follow_up(ContainerRecordFound(containers=tuple(known)))
    assert await refused(bench, "/v1/layouts")


SPOOFS = [
    ("-H", "X-Forwarded-For: 127.0.0.1"),
    ("-H", "X-Origin: host"),
    ("-H", "Tower-Origin: host"),
    ("-H", "Forwarded: for=127.0.0.1;host=localhost"),
    ("-H", "X-Forwarded-Host: localhost", "-H", "X-Real-IP: 127.0.0.1"),
    ("-H", "Host: host"),
    ("-H", f"Host: {OTHER}"),
    ("-H", "Origin: http://localhost"),
    ("-H", f"Authorization: Bearer {TOKEN}"),
    ("-H", f"X-Container-Id: {OTHER}"),
    ("-A", f"host {OTHER}"),
]


async def test_nothing_that_a_request_says_changes_who_asks(worlds: BenchWorld) -> None:
    theirs = (await worlds.world.create_layout("spoofed", container_id=OTHER))["result"]["layout_id"]
    plain = await worlds.bench.ask(f"/v1/layouts/{theirs}")
    assert (plain.status, plain.body["error"]) == (403, HOST_ONLY)
    for spoof in SPOOFS:
        assert await worlds.bench.ask(f"/v1/layouts/{theirs}", *spoof) == plain, spoof
        assert await refused(worlds.bench, "/v1/rpc/app.managed_layout_list", *spoof, data={}), spoof
    body = {"noun": "layout", "verb": "remove", "data": {"layout_id": theirs}}
    for field in ({"origin": "host"}, {"actor": "host"}, {"peer": OTHER}):
        told = await worlds.bench.ask("/v1/commands", data=body | field)
        assert (told.status, told.body["error"]["code"]) == (422, "validation_failed")
    assert await refused(worlds.bench, "/v1/commands", data=body)
    told = await worlds.bench.ask("/v1/layouts?origin=host")
    assert (told.status, told.body["error"]["details"]["field"]) == (422, "origin")


async def test_another_user_of_this_machine_is_nobody(worlds: BenchWorld) -> None:
    """The mode lets everybody connect; it is the kernel's word that lets them in."""
    command = ["setpriv", "--reuid", "1234", "--clear-groups", *curl(str(worlds.socket), "/v1/layouts")]
    worlds.world.home.chmod(0o755)
    try:
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)
    finally:
        worlds.world.home.chmod(0o700)
    assert done.stdout.endswith("\n403")
    assert '"host_only"' in done.stdout


# --- what a bench sees ---------------------------------------------------------------------------------------------


async def test_two_benches_cannot_see_each_other(worlds: BenchWorld) -> None:
    mine, theirs = [
        await made_by(bench, container, "side-by-side")
        for bench, container in ((worlds.bench, BENCH), (worlds.other, OTHER))
    ]
    after = f"after={max(mine['position'], theirs['position'])}"
    for path in ("layouts", "panes"):
        page = (await worlds.bench.ask(f"/v1/{path}?limit=200&{after}")).body
        assert {row["container_id"] for row in page["items"]} == {BENCH}
        assert (await worlds.bench.ask(f"/v1/{path}?container_id={OTHER}&{after}")).body["items"] == []
    assert (await worlds.bench.ask(f"/v1/agents?{after}")).status == 200
    layout_id, pane_id = theirs["result"]["layout_id"], theirs["result"]["panes"][0]["pane_id"]
    for path in (f"layouts/{layout_id}", "layouts/unknown", f"panes/{pane_id}", "panes/unknown"):
        assert await refused(worlds.bench, f"/v1/{path}?{after}"), path
    assert (await worlds.bench.ask(f"/v1/layouts/{mine['result']['layout_id']}?{after}")).status == 200
    assert (await worlds.bench.ask(f"/v1/panes?layout_id={layout_id}&{after}")).body["items"] == []
    told = await worlds.bench.ask(f"/v1/commands/{theirs['command_id']}?{after}")
    assert (told.status, told.body["error"]["code"]) == (404, "command_not_found")


async def test_the_audit_query_tells_a_bench_of_its_own(worlds: BenchWorld) -> None:
    mine, theirs = [
        await made_by(bench, container, "audited")
        for bench, container in ((worlds.bench, BENCH), (worlds.other, OTHER))
    ]
    await worlds.world.create_layout("audited-too")
    refusal = (await worlds.bench.command("layout.remove", {"layout_id": theirs["result"]["layout_id"]})).body
    position = refusal["position"]
    seen, cursor = [], ""
    while True:
        page = (await worlds.bench.ask(f"/v1/events?limit=7&after={position}{cursor}")).body
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    about = {event["subject"] for event in seen if event["kind"] in ("layout", "pane")}
    assert {mine["result"]["layout_id"], *(pane["pane_id"] for pane in mine["result"]["panes"])} <= about
    assert theirs["result"]["layout_id"] not in str(seen)
    assert OTHER not in str(seen)
    assert {event["actor"] for event in seen if event["kind"] == "command"} <= {BENCH}
    assert {event["subject"] for event in seen if event["kind"] == "container"} == {BENCH}
    assert {event["kind"] for event in seen} <= {"layout", "pane", "container", "command"}
    filtered = (await worlds.bench.ask(f"/v1/events?id={theirs['result']['layout_id']}")).body
    assert filtered["items"] == []


async def test_the_stream_tells_a_bench_of_its_own(worlds: BenchWorld) -> None:
    start = await worlds.world.log.last_position()
    theirs = await made_by(worlds.other, OTHER, "streamed")
    mine = await made_by(worlds.bench, BENCH, "streamed")
    end = mine["position"]
    wait = f"/v1/events/stream?after_position={start}"
    told = await worlds.bench.ask(wait, "--max-time", "2")
    lines = [line for line in told.body.splitlines() if line.startswith("id: ")]
    assert int(lines[-1].removeprefix("id: ")) == end
    assert mine["result"]["layout_id"] in told.body
    assert theirs["result"]["layout_id"] not in told.body
    assert told.body.count("event: agenttower.") == end - theirs["position"]


async def test_a_bench_learns_no_reasons_of_the_towers_own(worlds: BenchWorld) -> None:
    ready = (await worlds.bench.ask("/readyz")).body
    assert all(check.keys() == {"ok"} for check in ready["checks"].values())
    listed = (await worlds.bench.ask("/v1/projections")).body["items"]
    assert all(row["reason"] is None and row["stopped_event"] is None for row in listed)
    assert await refused(worlds.bench, "/metrics")


def routes() -> dict[str, bool]:
    """Path -> whether it is for benches."""
    every = (*v1.routes, *probes.routes)
    return {route.path: marks.is_for_benches(route.endpoint) for route in every if isinstance(route, APIRoute)}


async def test_what_is_not_made_for_benches_is_refused_to_them(worlds: BenchWorld) -> None:
    closed = sorted(path for path, is_open in routes().items() if not is_open)
    assert closed
    for path in closed:
        assert await refused(worlds.bench, path), path


# --- the socket ----------------------------------------------------------------------------------------------------


async def test_everybody_may_connect_and_the_folder_can_be_entered(worlds: BenchWorld) -> None:
    assert worlds.socket.stat().st_mode & 0o777 == 0o666
    assert worlds.socket.parent.stat().st_mode & 0o777 == 0o755
    assert str(worlds.socket).endswith("/bench/tower.sock")
