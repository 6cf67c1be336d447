"""/healthz, /readyz and /metrics: on a tower that is well, and on one whose broker or read models are not."""

import asyncio
import os
import signal
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.http.readiness import Readiness
from adapters.http.services import Row
from adapters.system import SystemClock
from domain.envelope import CHAIN_HEADER
from handlers.ports import Entry
from tests.integration.http.world import World
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_tower_that_is_well(shared_world: World) -> None:
    assert await shared_world.get("/healthz") == {"node": "local", "ok": True}
    answer = await eventually(lambda: _ready(shared_world))
    assert answer["checks"]["broker"]["ok"]
    assert {"projection layouts", "projection events", "projection agents"} <= answer["checks"].keys()


async def _ready(world: World) -> dict[str, Any]:
    answer = await world.client.get("/readyz")
    return answer.json() if answer.status_code == 200 and answer.json()["ready"] else {}


async def test_metrics_count_outcomes_and_panes(shared_world: World) -> None:
    await shared_world.create_layout("counted")
    rejected = await shared_world.post("pane.remove", {"pane_id": "nobody"})
    assert rejected.status_code == 404
    answer = await shared_world.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'agenttower_commands_total{code="",outcome="accepted"}' in answer.text
    assert 'agenttower_commands_total{code="managed_pane_not_found",outcome="rejected"} 1.0' in answer.text
    assert 'agenttower_panes{state="creating"} 3.0' in answer.text
    assert "agenttower_append_seconds_bucket" in answer.text


async def test_a_broker_that_does_not_answer(world: World) -> None:
    """Queries of the database go on; what needs the broker says so; all is well again afterwards."""
    outcome = await world.create_layout()
    await world.get("/v1/layouts", after=outcome["position"])
    pid = world.broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        readiness, listed, projections = await asyncio.gather(
            world.client.get("/readyz"), world.client.get("/v1/layouts"), world.client.get("/v1/projections")
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    assert listed.status_code == 200
    assert readiness.status_code == 503
    assert not readiness.json()["ready"]
    assert "does not answer" in readiness.json()["checks"]["broker"]["reason"]
    assert projections.status_code == 503
    assert projections.json()["error"]["code"] == "temporarily_unavailable"
    assert projections.json()["error"]["details"] == {"part": "broker"}
    await eventually(lambda: _ready(world), "ready again")


async def test_a_projection_that_stopped(world: World) -> None:
    """An entry of the log that no projection can read stops them, with place and reason."""
    world.writing.cancel()
    end = await world.log.last_position()
    poison = Entry("tower.evt.local.pane.x.poisoned", b"{}", {CHAIN_HEADER: "00" * 32})
    await world.log.append([poison], expected_last=end)
    answer = await eventually(lambda: _not_ready(world))
    reason = answer["checks"]["projection layouts"]["reason"]
    assert f"position {end + 1}" in reason
    assert "not an event envelope" in reason


async def _not_ready(world: World) -> dict[str, Any]:
    answer = await world.client.get("/readyz")
    return answer.json() if answer.status_code == 503 else {}


class LaterClock(SystemClock):
    """The machine's clock, `ahead` of itself."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


async def test_a_projection_that_does_not_move(world: World) -> None:
    """Behind, and the event that waits is older than it may be; right after it was recorded that is no fault."""
    world.projecting.cancel()
    await asyncio.wait([world.projecting])
    await world.create_layout()
    rows = await world.services.read_models.projections()
    assert all(row["lag"] > 0 for row in rows)
    # As they look to somebody who asks an hour after the last move.
    rested = [{**row, "stalled_s": 3600.0} for row in rows]

    async def projections() -> Sequence[Row]:
        return rested

    for ahead, ok in [(timedelta(), True), (timedelta(seconds=20), False)]:
        ready = Readiness(projections, world.log.last_position, world.log.get, LaterClock(ahead))
        client = await world.serve(ready=ready)
        answer = await client.get("/readyz")
        assert answer.status_code == (200 if ok else 503)
        check = answer.json()["checks"]["projection layouts"]
        assert check["ok"] is ok
        assert check["lag"] > 0
        assert ok or "behind" in check["reason"]


async def test_a_database_that_is_broken(world: World) -> None:
    """Said to be the database, without what it says itself."""
    outcome = await world.create_layout()
    await world.get("/v1/layouts", after=outcome["position"])
    world.projecting.cancel()
    await asyncio.wait([world.projecting])
    for file in world.home.glob("tower.sqlite*"):
        file.write_bytes(b"no database " * 1000)
    answer = await world.client.get("/v1/layouts")
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "temporarily_unavailable"
    assert answer.json()["error"]["details"] == {"part": "database"}
