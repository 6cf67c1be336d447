"""Exactly once, whatever happens to the database, to the log, or to the projector itself."""

import asyncio
import os
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import sqlalchemy as sa

from adapters.sql import SqlDatabase
from domain.errors import Rejection
from domain.layouts import events as e
from projections.ports import DatabaseTrouble
from projections.registry import PROJECTIONS
from projections.tables import POSITIONS
from tests.integration.projections.conftest import TIMEOUT_S, Place, Running, Start, dump, postgres_server
from tests.integration.projections.recorded import ListLog, random_history, stored, undecodable
from tests.unit import builders as b
from tests.waiting import eventually


@pytest.fixture
def log() -> ListLog:
    return ListLog()


async def _state_is(tower: Running, name: str, state: str) -> dict[str, Any]:
    async def probe() -> dict[str, Any]:
        row = await tower.state(name)
        return row if row["state"] == state else {}

    return await eventually(probe, f"{name} is {state}")


# --- once -----------------------------------------------------------------------------------------------------------


async def test_a_projector_goes_on_where_the_one_before_ended(
    database: SqlDatabase, running: Start, log: ListLog
) -> None:
    entries, _ = random_history(11, 150)
    first = await running(log)
    await log.append(*entries[:100])
    await first.caught_up()
    before = await dump(database)
    await first.stop()
    second = await running(log)
    assert [row["position"] for row in await second.models.projections()] == [100] * len(PROJECTIONS)
    assert await dump(database) == before
    await log.append(*entries[100:])
    await second.caught_up()
    assert len((await dump(database))["events"]) == len(entries) + 1


async def test_one_that_is_killed_at_any_moment_repeats_nothing(
    database: SqlDatabase, place: Place, running: Start, tmp_path: Path
) -> None:
    entries, _ = random_history(12, 200)
    log = ListLog(entries, batch=7)
    for name in ("layouts", "agents", "containers", "events") * 4:
        tower = await running(log)
        # In the midst of a batch: some have it already, one is at it, some have not.
        await tower.models.wait_for(min(tower.progress[name].position + 10, log.last), TIMEOUT_S, model=name)
        await tower.stop()
    tower = await running(log)
    await tower.caught_up()
    assert await dump(database) == await _straight(entries, place, running, tmp_path)


async def test_two_projectors_on_one_database(
    database: SqlDatabase, place: Place, running: Start, tmp_path: Path
) -> None:
    entries, _ = random_history(13, 200)
    logs = ListLog(), ListLog()
    other = place.open()
    try:
        towers = await running(logs[0]), await running(logs[1], on=other)
        for start in range(0, len(entries), 37):
            for log in logs:
                await log.append(*entries[start : start + 37])
        for tower in towers:
            await tower.caught_up()
        assert await dump(database) == await _straight(entries, place, running, tmp_path)
        for tower in towers:
            await tower.stop()
    finally:
        await other.close()


async def _straight(entries: list[Any], place: Place, running: Start, tmp_path: Path) -> dict[str, list[Any]]:
    """The dump of a projector that nothing disturbed."""
    url = f"sqlite:///{tmp_path}/straight.sqlite" if place.url.startswith("sqlite") else place.url
    undisturbed = Place(url, f"{place.node}-straight").open()
    try:
        tower = await running(ListLog(entries), on=undisturbed)
        await tower.caught_up()
        found = await dump(undisturbed)
        await tower.stop()
        return found
    finally:
        await undisturbed.close()


# --- poison ---------------------------------------------------------------------------------------------------------


async def test_an_event_that_cannot_be_read_stops_those_that_want_it(running: Start, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "m1"))
    poison = await log.append(undecodable(log.last + 1, "layout"))
    await log.record(b.exited("L-m1"), b.moved("L-m1", "ready", "degraded", "process_exited"))
    tower = await running(log)
    await tower.caught_up("agents")
    for name in ("layouts", "events"):
        row = await _state_is(tower, name, "stopped")
        assert (row["position"], row["stopped_position"]) == (poison - 1, poison)
        assert row["stopped_event"] == "tower.evt.local.layout.some-id.happened"
        assert f"position {poison}: not an event envelope" in row["reason"]
    row = await tower.state("agents")
    assert (row["state"], row["position"], row["lag"], row["reason"]) == ("running", log.last, 0, None)
    # What came before it is there, and answers say how far they reach.
    assert (await tower.models.layouts()).position == poison - 1
    assert (await tower.models.agents()).items[0]["state"] == "degraded"
    await log.record(b.moved("L-m1", "degraded", "removed"))
    await tower.caught_up("agents")


async def test_an_entry_that_the_tower_did_not_write_is_passed_over(running: Start, log: ListLog) -> None:
    """Even if it looks like an event: without a chain value it is somebody else's."""
    await log.record(*b.ready_layout("L", "m1"))
    forged = msgspec.structs.replace(stored(b.moved("L-m1", "ready", "removed"), log.last + 1), headers={})
    position = await log.append(forged)
    await log.append(msgspec.structs.replace(undecodable(log.last + 1, "pane"), headers={}))
    tower = await running(log)
    for name in ("layouts", "agents", "events"):
        await tower.caught_up(name)
    pane = await tower.models.pane("L-m1")
    assert pane is not None
    assert pane["state"] == "ready"
    assert position not in [event["position"] for event in (await tower.models.events(limit=200)).items]


async def test_an_event_that_a_table_cannot_hold_is_found_in_its_batch(running: Start, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "m1", "s1"))
    # More than 64 bits: both databases refuse it.
    poison = await log.record(e.PaneProcessExited(pane_id="L-m1", layout_id="L", exit_code=2**63))
    await log.record(*b.ready_layout("K", "m1"))
    tower = await running(log)
    row = await _state_is(tower, "layouts", "stopped")
    assert (row["position"], row["stopped_position"], row["stopped_event"]) == (poison - 1, poison, f"event-{poison}")
    assert row["reason"]
    assert await tower.models.layout("L") is not None
    assert await tower.models.layout("K") is None
    await tower.caught_up("agents")
    await tower.caught_up("events")


async def test_waiting_for_what_is_stopped_ends_at_once(running: Start, log: ListLog) -> None:
    await log.append(undecodable(1, "layout"))
    tower = await running(log)
    for ask in (tower.models.wait_for(1, TIMEOUT_S), tower.models.wait_for(1, TIMEOUT_S, model="panes")):
        with pytest.raises(Rejection) as refused:
            async with asyncio.timeout(TIMEOUT_S / 2):
                await ask
        assert (refused.value.code, refused.value.details) == ("read_model_behind", {"after": 1, "position": 0})
    await tower.models.wait_for(1, TIMEOUT_S, model="agents")


# --- waiting --------------------------------------------------------------------------------------------------------


async def test_waiting_for_a_position(running: Start, log: ListLog) -> None:
    tower = await running(log)
    waits = [asyncio.create_task(tower.models.wait_for(n, TIMEOUT_S)) for n in (3, 1, 2, 9)]
    await log.record(*b.layout("L"))
    await asyncio.gather(*waits[:3])
    assert (await tower.models.layouts()).position == 3
    assert not waits[3].done()
    await log.record(*b.ready("L-m1"))
    await waits[3]
    await tower.models.wait_for(1, 0.0)


async def test_a_position_that_does_not_come(running: Start, log: ListLog) -> None:
    await log.record(*b.layout("L"))
    tower = await running(log)
    await tower.caught_up()
    with pytest.raises(Rejection) as refused:
        await tower.models.wait_for(99, 0.05)
    assert (refused.value.code, refused.value.details) == ("read_model_behind", {"after": 99, "position": 3})


# --- the database ---------------------------------------------------------------------------------------------------


async def test_a_locked_database_is_waited_out(place: Place, running: Start, log: ListLog) -> None:
    database = place.open(lock_timeout_s=0.05)
    try:
        await log.record(*b.layout("L"))
        tower = await running(log, on=database)
        await tower.caught_up()
        with _locked(place):
            await log.record(*b.ready("L-m1"))
            row = await _state_is(tower, "layouts", "behind")
            assert row["position"] == 3
            await eventually(lambda: "lock" in (tower.progress["layouts"].trouble or ""), "the trouble is named")
        await tower.caught_up()
        assert await tower.state("layouts") == {
            "name": "layouts",
            "state": "running",
            "position": 9,
            "lag": 0,
            "stalled_s": 0.0,
            "reason": None,
            "stopped_event": None,
            "stopped_position": None,
        }
        await tower.stop()
    finally:
        await database.close()


class _locked:  # noqa: N801 - used like a function
    """Another program holds what the projector needs."""

    def __init__(self, place: Place) -> None:
        if place.url.startswith("sqlite"):
            self._other: Any = sqlite3.connect(place.url.removeprefix("sqlite:///"), isolation_level=None)
            self._other.execute("BEGIN IMMEDIATE")
        else:
            self._other = psycopg.connect(place.url)
            self._other.execute(f'LOCK TABLE "tower_{place.node}".projections')

    def __enter__(self) -> None:
        return

    def __exit__(self, *error: object) -> None:
        self._other.rollback()
        self._other.close()


async def test_tables_that_vanish_are_made_and_filled_again(
    database: SqlDatabase, running: Start, log: ListLog
) -> None:
    entries, _ = random_history(14, 60)
    tower = await running(log)
    await log.append(*entries[:50])
    await tower.caught_up()
    names = [POSITIONS.name, *(read.name for projection in PROJECTIONS for read in projection.tables)]

    def destroy(connection: sa.Connection) -> None:
        for name in names:
            connection.exec_driver_sql(f"DROP TABLE {name}")

    await database.write(destroy)
    await log.append(*entries[50:])
    await eventually(lambda: tower.progress["events"].position == len(entries), "all are applied")
    assert len((await dump(database))["events"]) == len(entries) + 1


async def test_a_database_set_back_to_an_older_backup_goes_on_from_there(
    database: SqlDatabase, place: Place, running: Start, tmp_path: Path
) -> None:
    """While the tower runs: it notices at its next event that the database knows less than it thought."""
    entries, _ = random_history(15, 120)
    log = ListLog()
    tower = await running(log)
    await log.append(*entries[:40])
    await tower.caught_up()
    tables = [POSITIONS.name, *(read.name for projection in PROJECTIONS for read in projection.tables)]

    def back_up(connection: sa.Connection) -> None:
        for name in tables:
            connection.exec_driver_sql(f"CREATE TABLE backup_{name} AS SELECT * FROM {name}")

    def restore(connection: sa.Connection) -> None:
        for name in tables:
            connection.exec_driver_sql(f"DELETE FROM {name}")
            connection.exec_driver_sql(f"INSERT INTO {name} SELECT * FROM backup_{name}")

    await database.write(back_up)
    await log.append(*entries[40:90])
    await tower.caught_up()
    await database.write(restore)
    await log.append(*entries[90:])
    straight = await _straight(entries, place, running, tmp_path)

    async def whole() -> bool:
        return await dump(database) == straight

    await eventually(whole, "everything is applied once")


async def test_a_database_file_deleted_under_a_running_tower(tmp_path: Path, log: ListLog) -> None:
    database = Place(f"sqlite:///{tmp_path}/tower.sqlite", "local").open()
    tower = Running(database, log, PROJECTIONS)
    try:
        await log.record(*b.layout("L"))
        await tower.start()
        await tower.caught_up()
        for suffix in ("", "-wal", "-shm"):
            os.unlink(f"{tmp_path}/tower.sqlite{suffix}")
        await log.record(*b.ready("L-m1"))
        await eventually(lambda: tower.progress["layouts"].position == log.last, "all are applied")
        assert await tower.models.pane("L-m1") is not None
    finally:
        await tower.stop()
        await database.close()


async def test_a_postgres_that_is_gone_for_a_while(short_tmp: Path, log: ListLog) -> None:
    with postgres_server(short_tmp) as server:
        database = Place(server.get_uri(), "local").open()
        tower = Running(database, log, PROJECTIONS)
        try:
            await log.record(*b.layout("L"))
            await tower.start()
            await tower.caught_up()
            await asyncio.to_thread(server.stop)
            await log.record(*b.ready("L-m1"))
            await eventually(lambda: tower.progress["layouts"].trouble, "the trouble is named")
            assert (await tower.state("layouts"))["state"] == "behind"
            with pytest.raises(DatabaseTrouble):
                await tower.models.panes()
            await asyncio.to_thread(server.start)
            await tower.caught_up()
            assert (await tower.models.panes()).items[0]["state"] == "ready"
        finally:
            await tower.stop()
            await database.close()


# --- the log --------------------------------------------------------------------------------------------------------


async def test_a_database_of_another_log_is_left_alone(database: SqlDatabase, running: Start) -> None:
    first = await running(ListLog([stored(event, n) for n, event in enumerate(b.ready_layout("L", "m1"), 1)]))
    await first.caught_up()
    await first.stop()
    before = await dump(database)
    shorter = ListLog([stored(event, n) for n, event in enumerate(b.layout("K", "m1"), 1)])
    longer = ListLog([stored(event, n) for n, event in enumerate(b.ready_layout("K", "m1", "s1"), 1)])
    for log in (shorter, longer):
        tower = await running(log)
        for name in ("layouts", "agents", "containers", "events"):
            row = await _state_is(tower, name, "stopped")
            assert "belongs to another log" in row["reason"]
        assert await dump(database) == before
        await tower.stop()


async def test_a_log_that_begins_too_late(running: Start, log: ListLog) -> None:
    """Pruned up to 40 while this database had seen nothing."""
    await log.append(stored(b.spawned("L-m1"), 41))
    tower = await running(log)
    for name in ("layouts", "agents", "containers", "events"):
        row = await _state_is(tower, name, "stopped")
        assert row["position"] == 0
        assert "nothing from position 1 to 40 (pruned)" in row["reason"]


async def test_a_log_that_fails_is_read_again(running: Start) -> None:
    class Failing(ListLog):
        failures = 3

        async def last_position(self) -> int:
            if self.failures:
                self.failures -= 1
                raise OSError("no broker")
            return await super().last_position()

    log = Failing()
    await log.record(*b.layout("L"))
    tower = await running(log)
    await eventually(lambda: tower.progress["layouts"].position == 3, "all are applied")
    assert log.failures == 0
