"""The read side on the log of a real nats-server."""

import os
import signal
from collections.abc import Sequence

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.log import MAX_BATCH, JetStreamLog
from adapters.sql import SqlDatabase
from domain.envelope import Stored
from handlers.ports import Entry, LogUnavailable
from projections.registry import PROJECTIONS
from tests.integration.projections.conftest import TIMEOUT_S, Start, dump
from tests.integration.projections.recorded import random_history
from tests.waiting import eventually


async def append(log: JetStreamLog, entries: Sequence[Stored]) -> int:
    last = entries[0].position - 1
    for start in range(0, len(entries), MAX_BATCH):
        batch = [Entry(one.subject, one.payload, one.headers) for one in entries[start : start + MAX_BATCH]]
        last = await log.append(batch, expected_last=last)
    return last


async def answers(log: JetStreamLog) -> bool:
    try:
        return await log.last_position() > 0
    except LogUnavailable:
        return False


async def test_followed_as_it_grows_and_rebuilt_from_it(
    database: SqlDatabase, running: Start, event_log: JetStreamLog
) -> None:
    entries, state = random_history(31, 800)
    assert len(entries) > 1000
    await append(event_log, entries[:600])
    tower = await running(event_log)
    await tower.caught_up()
    for start in range(600, len(entries), 150):
        last = await append(event_log, entries[start : start + 150])
        await tower.models.wait_for(last, TIMEOUT_S)
        assert (await tower.models.events(after_position=last - 1)).items[0]["position"] == last
    assert {row["lag"] for row in await tower.models.projections()} == {0}
    for layout_id, layout in state.layouts.layouts.items():
        row = await tower.models.layout(layout_id)
        assert row is not None
        assert row["state"] == layout.state
    live = await dump(database)
    for projection in PROJECTIONS:
        await tower.projector.rebuild(projection.name)
    assert await dump(database) == live


async def test_a_broker_that_is_away_for_a_while(
    database: SqlDatabase, running: Start, event_log: JetStreamLog, broker: EmbeddedBroker
) -> None:
    entries, _ = random_history(32, 100)
    half = len(entries) // 2
    await append(event_log, entries[:half])
    tower = await running(event_log)
    await tower.caught_up()
    killed = broker.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: broker.pid not in (None, killed), "the broker is back")
    await broker.wait_ready()
    await eventually(lambda: answers(event_log), "the log answers")
    await append(event_log, entries[half:])
    await tower.models.wait_for(len(entries), TIMEOUT_S)
    assert len((await dump(database))["events"]) == len(entries) + 1
