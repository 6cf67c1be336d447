"""The interface of a whole tower in its own process: effects at work, uvloop underneath, ended by a signal."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from adapters.cli.child_tower import ChildTower
from domain.messages import HOST
from tests.integration.http.test_stream import Told, listening
from tests.needs import need

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def tower() -> Iterator[ChildTower]:
    need("tmux")
    with ChildTower() as running:
        running.start()
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(tower: ChildTower) -> AsyncIterator[httpx.AsyncClient]:
    token = (tower.home / "http.token").read_text()
    async with httpx.AsyncClient(
        base_url=tower.running.http, headers={"Authorization": f"Bearer {token}"}, timeout=30
    ) as connected:
        yield connected


async def test_a_layout_is_followed_from_command_to_ready(client: httpx.AsyncClient) -> None:
    async with listening(client) as listener:
        data = {"container_id": HOST, "template_name": "1m+2s", "tmux_session_name": "followed"}
        body = {"noun": "layout", "verb": "create", "data": data, "correlationid": "story"}
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        outcome = (await client.post("/v1/commands", json=body, headers=headers)).json()
        layout_id = outcome["result"]["layout_id"]
        story: list[Told] = []
        async with asyncio.timeout(30):
            while not story or not (story[-1].event.startswith("agenttower.layout.state_changed")):
                story += await listener.events(1)
    assert story[-1].data["data"]["to"] == "ready"
    positions = [told.id for told in story]
    assert positions == sorted(set(filter(None, positions)))

    shown = (await client.get(f"/v1/layouts/{layout_id}", params={"after": positions[-1]})).json()
    assert shown["state"] == "ready"
    assert shown["ready_pane_count"] == 3
    assert all(pane["pid"] and pane["agent_id"] and pane["log_path"] for pane in shown["panes"])
    page = (await client.get("/v1/events", params={"correlation_id": "story", "limit": 200})).json()
    assert [item["position"] for item in page["items"]] == [told.id for told in story]
    assert all(TRACE in item["traceparent"] for item in page["items"])
    metrics = (await client.get("/metrics")).text
    assert 'agenttower_panes{state="ready"} 3.0' in metrics
    assert 'agenttower_projection_lag_events{projection="layouts"}' in metrics
    assert (await client.get("/readyz")).status_code == 200


async def test_a_signal_ends_the_stream_and_the_tower(tower: ChildTower, client: httpx.AsyncClient) -> None:
    async with listening(client) as listener:
        stopping = asyncio.create_task(asyncio.to_thread(tower.stop))
        with pytest.raises(EOFError):
            await listener.events(1_000_000)
        async with asyncio.timeout(15):
            await stopping
    log = (tower.home / "tower.log").read_text()
    assert "Traceback" not in log
