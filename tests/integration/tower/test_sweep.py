"""The sweep's schedule stands in the broker, from the first start on and after a crash."""

import msgspec

from adapters.nats.connection import connect
from adapters.nats.wire import headers_of
from tests.integration.tower.conftest import NODE, Desk


async def schedule(desk: Desk) -> dict[str, str]:
    """The headers of the sweep's schedule."""
    client = await connect(desk.broker_url, name="look")
    try:
        subject = msgspec.json.encode({"last_by_subj": f"tower.timer.{NODE}.sweep"})
        return headers_of((await client.ask(f"$JS.API.DIRECT.GET.TOWER_TIMERS_{NODE}", subject)).header)
    finally:
        await client.close()


async def test_it_is_a_durable_timer_of_60_seconds(desk: Desk):
    headers = await schedule(desk)
    assert headers["Nats-Schedule"] == "@every 60s"
    assert headers["Nats-Schedule-Target"] == f"tower.due.{NODE}.sweep"
