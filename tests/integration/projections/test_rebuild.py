"""A read model built anew from the log: equal to the old one, which serves meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from adapters.sql import SqlDatabase
from domain.envelope import Stored
from projections import layouts
from projections.projection import Projection
from projections.rebuild import RebuildFailed, rebuild, rebuild_all
from projections.registry import PROJECTIONS
from projections.tables import POSITIONS, SHADOW, ReadTable
from tests.integration.projections.conftest import TIMEOUT_S, Start, dump
from tests.integration.projections.recorded import ListLog, random_history, stored, undecodable
from tests.unit import builders as b
from tests.waiting import eventually

NAMES = [projection.name for projection in PROJECTIONS]


@pytest.mark.parametrize("seed", [21, 22])
async def test_a_rebuilt_one_equals_the_live_one(database: SqlDatabase, running: Start, seed: int) -> None:
    entries, _ = random_history(seed, 400, sessions=0.2)
    log = ListLog()
    tower = await running(log)
    for start in range(0, len(entries), 61):
        await log.append(*entries[start : start + 61])
        await tower.caught_up()
    live = await dump(database)
    for name in NAMES:
        seen = [(0, 0)]
        await tower.projector.rebuild(name, lambda done, total, seen=seen: seen.append((done, total)))
        assert seen[-1] == (len(entries), len(entries))
    assert await dump(database) == live
    assert await _left_over(database) == []
    # Twice: the names of indexes and tables are free again.
    await tower.projector.rebuild("layouts")
    assert await dump(database) == live
    await log.record(*b.ready_layout("L", "m1"))
    await tower.caught_up()
    assert (await tower.models.layouts()).position == log.last


async def _left_over(database: SqlDatabase) -> list[str]:
    return await database.read(
        lambda connection: [name for name in sa.inspect(connection).get_table_names() if name.endswith(SHADOW)]
    )


async def test_all_in_one_reading_of_the_log(database: SqlDatabase, running: Start) -> None:
    """Each from where its shadow stands; one that cannot go on holds up none of the others."""
    entries, _ = random_history(27, 200)
    log = ListLog(entries)
    tower = await running(log)
    await tower.caught_up()
    live = await dump(database)
    seen: dict[str, tuple[int, int]] = {}

    def on_progress(name: str, done: int, total: int) -> None:
        seen[name] = (done, total)

    await rebuild_all(database, log, [*PROJECTIONS, *PROJECTIONS], on_progress)
    assert await dump(database) == live
    assert seen == dict.fromkeys(NAMES, (len(entries), len(entries)))

    await tower.stop()
    await log.append(undecodable(log.last + 1, "layout"), stored(b.spawned("L-m1"), log.last + 2))
    with pytest.raises(RebuildFailed, match=r"layouts: event .*; events: event "):
        await rebuild_all(database, log, PROJECTIONS)
    whole = len(entries)
    shadows = {f"layouts{SHADOW}": whole, f"events{SHADOW}": whole}
    stopped = {"layouts": whole, "events": whole}
    assert await _positions(database) == dict.fromkeys(NAMES, whole + 2) | stopped | shadows


async def test_the_indexes_are_there_afterwards(database: SqlDatabase, running: Start) -> None:
    tower = await running(ListLog())

    def indexed(connection: sa.Connection) -> dict[str, set[tuple[Any, ...]]]:
        there = sa.inspect(connection)
        return {
            read.name: {tuple(index["column_names"]) for index in there.get_indexes(read.name)}
            for projection in PROJECTIONS
            for read in projection.tables
        }

    before = await database.read(indexed)
    assert all(before.values())
    for name in NAMES:
        await tower.projector.rebuild(name)
    assert await database.read(indexed) == before
    # Nothing of it stays with the definitions, which live as long as the process.
    assert not any(read.table.indexes for projection in PROJECTIONS for read in projection.tables)


async def test_the_old_one_serves_and_goes_on_meanwhile(database: SqlDatabase, running: Start) -> None:
    log = SlowLog()
    for number in range(10):
        await log.record(*b.ready_layout(f"L{number}", "m1"))
    tower = await running(log)
    await tower.caught_up()
    log.slow.clear()
    task = asyncio.create_task(tower.projector.rebuild("layouts"))
    async with asyncio.timeout(TIMEOUT_S):
        await log.reading.wait()
    assert len((await tower.models.layouts()).items) == 10
    await log.record(*b.ready_layout("new", "m1"))
    await tower.caught_up()
    assert (await tower.models.layouts()).items[0]["id"] == "new"
    log.slow.set()
    await task
    page = await tower.models.layouts()
    assert (page.items[0]["id"], page.position) == ("new", log.last)


class SlowLog(ListLog):
    """Reads (not follows) of more than one entry wait for `slow` after their first batch."""

    def __init__(self, entries: Sequence[Stored] = (), batch: int = 500) -> None:
        super().__init__(entries, batch=batch)
        self.slow = asyncio.Event()
        self.slow.set()
        self.reading = asyncio.Event()

    async def read(self, after: int, until: int | None = None) -> AsyncGenerator[Sequence[Stored], None]:
        alone = until is not None and until - after == 1
        async for batch in super().read(after, until):
            yield batch
            if not alone:
                self.reading.set()
                await self.slow.wait()


async def test_it_keeps_up_with_a_log_that_grows(database: SqlDatabase, running: Start) -> None:
    entries, _ = random_history(23, 600)
    log = ListLog(entries[:300], batch=20)
    tower = await running(log)

    async def grow() -> None:
        for entry in entries[300:]:
            await log.append(entry)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(grow())
        for name in NAMES:
            await tower.projector.rebuild(name)
    await tower.caught_up()
    live = await dump(database)
    for name in NAMES:
        await tower.projector.rebuild(name)
    assert await dump(database) == live
    assert len(live["events"]) == len(entries) + 1


async def test_one_that_was_interrupted_goes_on(database: SqlDatabase, running: Start) -> None:
    entries, _ = random_history(24, 300)
    whole = len(entries)
    assert whole > 250
    tower = await running(ListLog(entries))
    await tower.caught_up()
    live = await dump(database)
    await tower.stop()

    class Interrupted(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        await rebuild(database, ListLog(entries[:200], batch=200), layouts.PROJECTION, interrupt)
    positions = await _positions(database)
    assert positions == dict.fromkeys(NAMES, whole) | {"layouts" + SHADOW: 200}

    reads: list[int] = []

    class Watched(ListLog):
        async def read(self, after: int, until: int | None = None) -> AsyncGenerator[Sequence[Stored], None]:
            reads.append(after)
            async for batch in super().read(after, until):
                yield batch

    await rebuild(database, Watched(entries), layouts.PROJECTION)
    assert min(reads) == 200
    assert await dump(database) == live
    assert await _positions(database) == {projection.name: whole for projection in PROJECTIONS}


async def _positions(database: SqlDatabase) -> dict[str, int]:
    def work(connection: sa.Connection) -> dict[str, int]:
        rows = connection.execute(sa.select(POSITIONS.c.name, POSITIONS.c.position))
        return {row.name: row.position for row in rows}

    return await database.read(work)


# --- definitions that change ----------------------------------------------------------------------------------------


async def test_a_changed_mapping_is_rebuilt_by_itself(database: SqlDatabase, running: Start) -> None:
    log = SlowLog()
    await log.record(*b.ready_layout("L", "m1"))
    before = await running(log)
    await before.caught_up()
    await before.stop()

    log.slow.clear()
    after = await running(log, _replaced(msgspec.structs.replace(layouts.PROJECTION, version=2)))
    async with asyncio.timeout(TIMEOUT_S):
        await log.reading.wait()
    row = await after.state("layouts")
    assert row["state"] == "behind"
    assert "its definition changed: it is being rebuilt" in row["reason"]
    # The old one serves, at its position.
    assert (await after.models.layouts()).items[0]["id"] == "L"
    await log.record(*b.ready_layout("K", "m1"))
    await after.models.wait_for(log.last, TIMEOUT_S, model="agents")
    assert [item["id"] for item in (await after.models.layouts()).items] == ["L"]
    log.slow.set()
    await after.caught_up()
    assert [item["id"] for item in (await after.models.layouts()).items] == ["K", "L"]
    await eventually(lambda: after.progress["layouts"].trouble is None, "it follows the log again")


async def test_a_changed_table_does_not_serve_until_it_is_rebuilt(database: SqlDatabase, running: Start) -> None:
    log = SlowLog()
    await log.record(*b.ready_layout("L", "m1"))
    tower = await running(log, _replaced(_without_label(layouts.PROJECTION)))
    await tower.caught_up("agents")
    await tower.stop()
    log.slow.clear()
    tower = await running(log)
    with pytest.raises(Exception, match=r"read_model_behind.*being rebuilt"):
        await tower.models.panes()
    with pytest.raises(Exception, match="read_model_behind"):
        await tower.models.wait_for(1, 0.01)
    log.slow.set()
    await tower.caught_up()
    assert (await tower.models.panes()).items[0]["label"] == "m1"


def _replaced(projection: Projection) -> list[Projection]:
    return [projection if one.name == projection.name else one for one in PROJECTIONS]


def _without_label(projection: Projection) -> Projection:
    """An older definition of the table of panes, that holds nothing yet."""
    table, panes = projection.tables
    metadata = sa.MetaData()
    older = sa.Table(panes.name, metadata, *(c._copy() for c in panes.table.columns if c.name != "label"))
    return msgspec.structs.replace(
        projection, tables=(table, ReadTable(older, panes.indexes)), fold=lambda rows, recorded: None
    )


# --- poison ---------------------------------------------------------------------------------------------------------


async def test_poison_leaves_the_old_one_as_it_is(database: SqlDatabase, running: Start) -> None:
    log = ListLog()
    await log.record(*b.ready_layout("L", "m1"))
    tower = await running(log)
    await tower.caught_up()
    before = await dump(database, [layouts.PROJECTION])
    poison = await log.append(undecodable(log.last + 1, "pane"))
    with pytest.raises(RebuildFailed, match=rf"layouts: event \S+ at position {poison} cannot be applied"):
        await tower.projector.rebuild("layouts")
    assert await dump(database, [layouts.PROJECTION]) == before


async def test_a_stopped_one_goes_on_after_a_rebuild(database: SqlDatabase, running: Start) -> None:
    """Stopped by an event that today's code can take: the rebuild passes it, by the tower or by another process."""
    log = ListLog()
    await log.record(*b.ready_layout("L", "m1"))
    poison = undecodable(log.last + 1, "layout")
    await log.append(poison)
    tower = await running(log)
    await eventually(lambda: tower.progress["layouts"].stop, "layouts stops")
    await eventually(lambda: tower.progress["events"].stop, "events stops")
    log.entries.remove(poison)
    await log.record(*b.ready_layout("K", "m1"))
    await tower.projector.rebuild("layouts")
    await tower.caught_up("layouts")
    assert {row["id"] for row in (await tower.models.layouts()).items} == {"K", "L"}


async def test_a_stopped_one_goes_on_after_another_process_rebuilt_it(database: SqlDatabase, running: Start) -> None:
    good, _ = random_history(25, 50)
    log = ListLog([*good, undecodable(len(good) + 1, "layout")])
    tower = await running(log)
    await eventually(lambda: tower.progress["events"].stop, "events stops")
    log.entries[-1] = random_history(26, 50)[0][0]
    log.entries[-1] = msgspec.structs.replace(log.entries[-1], position=len(good) + 1)
    for projection in PROJECTIONS:
        await rebuild(database, log, projection)
    await tower.models.wait_for(log.last, TIMEOUT_S, model="agents")
    await eventually(lambda: tower.progress["events"].stop is None, "events goes on")
    await tower.caught_up()


async def test_a_pruned_log_is_not_enough(database: SqlDatabase, running: Start) -> None:
    log = ListLog()
    await log.record(*b.ready_layout("L", "m1"))
    tower = await running(log)
    await tower.caught_up()
    del log.entries[:4]
    with pytest.raises(RebuildFailed, match=r"nothing from position 1 to 4 any more \(pruned\)"):
        await tower.projector.rebuild("layouts")
    assert (await tower.models.layouts()).items[0]["state"] == "ready"


async def test_a_database_of_another_log_is_filled_from_this_one(database: SqlDatabase, running: Start) -> None:
    other = ListLog()
    await other.record(*b.ready_layout("other", "m1", "s1"))
    tower = await running(other)
    await tower.caught_up()
    await tower.stop()
    log = ListLog()
    await log.record(*b.ready_layout("L", "m1"))
    tower = await running(log)
    await eventually(lambda: tower.progress["layouts"].stop, "layouts stops")
    for name in NAMES:
        await tower.projector.rebuild(name)
    await tower.caught_up()
    assert [row["id"] for row in (await tower.models.layouts()).items] == ["L"]
