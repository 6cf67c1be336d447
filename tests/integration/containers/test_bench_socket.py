"""The bench socket inside real containers: each is told from the other by the kernel, whoever its user is."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from adapters.http.bench_socket import path_in
from domain.containers import ContainerFacts, ContainerRecordFound
from tests.integration.containers.engines import Container
from tests.integration.http.benches import curl, serve_bench
from tests.integration.http.world import running_world
from tests.needs import need

INSIDE = "/run/agenttower"


async def ask(container: Container, path: str, *options: str, data: Any = None) -> tuple[int, Any]:
    words = curl(f"{INSIDE}/tower.sock", path, *options, data=data)
    body, _, status = (await asyncio.to_thread(container.execute, *words)).rpartition("\n")
    return int(status), json.loads(body)


async def test_two_containers_act_each_on_its_own(start: Callable[..., Container]) -> None:
    need("tmux", "curl")
    async with running_world() as world:
        await serve_bench(world)
        mounts = {path_in(world.home).parent: f"{INSIDE}:ro"}
        first, second, unknown = [
            await asyncio.to_thread(lambda user=user: start(mounts=mounts, user=user)) for user in ("", "dev", "")
        ]
        facts = [ContainerFacts(container_id=each.container_id, name=each.name) for each in (first, second)]
        await world.follow_up(ContainerRecordFound(containers=tuple(facts)))

        made: dict[str, str] = {}
        position = 0
        for container in (first, second):
            parameters = {
                "container_id": container.container_id,
                "template_name": "1m+2s",
                "tmux_session_name": "own",
            }
            status, outcome = await ask(
                container, "/v1/commands", data={"noun": "layout", "verb": "create", "data": parameters}
            )
            assert status == 200, outcome
            made[container.container_id] = outcome["result"]["layout_id"]
            position = outcome["position"]
        for container, other in ((first, second), (second, first)):
            _, page = await ask(container, f"/v1/layouts?after={position}")
            assert [row["id"] for row in page["items"]] == [made[container.container_id]]
            theirs = made[other.container_id]
            for spoof in ((), ("-H", "X-Origin: host"), ("-H", f"Host: {other.container_id}")):
                status, answer = await ask(container, f"/v1/layouts/{theirs}", *spoof)
                assert (status, answer["error"]["code"], answer["error"]["details"]) == (403, "host_only", {})
            status, answer = await ask(
                container, "/v1/commands", data={"noun": "layout", "verb": "remove", "data": {"layout_id": theirs}}
            )
            assert (status, answer["error"]["code"]) == (403, "host_only")
        status, answer = await ask(unknown, "/v1/layouts")
        assert (status, answer["error"]["code"]) == (403, "host_only")
