"""The sweep's schedule stands in the broker, from the first start on and after a crash."""

import base64
import json

from adapters.nats.connection import connect, js_api
from tests.integration.tower.conftest import Desk

NODE = "demo"


async def schedule(desk: Desk) -> str:
    """The headers of the sweep's schedule."""
    home = desk.tower.home
    password = json.loads((home / "nats" / "users.json").read_text())["tower"]
    _, _, address = (home / "nats.url").read_text().strip().rpartition("@")
    client = await connect(f"nats://tower:{password}@{address}", name="look")
    try:
        wanted = {"last_by_subj": f"tower.timer.{NODE}.sweep"}
        found = await js_api(client, f"STREAM.MSG.GET.TOWER_TIMERS_{NODE}", wanted)
        return base64.b64decode(found["message"]["hdrs"]).decode()
    finally:
        await client.close()


async def test_it_is_a_durable_timer_of_60_seconds(desk: Desk):
    for _ in range(2):
        headers = (await schedule(desk)).splitlines()
        assert "Nats-Schedule: @every 60s" in headers
        assert f"Nats-Schedule-Target: tower.due.{NODE}.sweep" in headers
        desk.restart()
