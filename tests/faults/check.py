"""What must hold after every fault: the promises of the book, the chain, the read models, tmux, no orphans."""

import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from adapters.sql import SqlDatabase, open_database
from domain.envelope import Recorded, Stored
from domain.executions.state import Execution
from domain.layouts.state import Pane, PaneState
from domain.promises import PromiseState
from domain.sessions.events import SessionTurnStarted
from domain.tower import Tower
from projections.ports import Source
from projections.projector import Projector
from projections.rebuild import rebuild_all
from projections.registry import PROJECTIONS
from projections.tables import POSITIONS
from tests.faults.book import Driver
from tests.faults.child import NODE, Child
from tests.faults.firings import firings_again, open_runs
from tests.faults.words import typed_again
from tests.integration.projections.conftest import postgres_server
from tests.waiting import eventually

SETTLES_S = 120.0

Dump = dict[str, list[tuple[Any, ...]]]


async def check(driver: Driver) -> Tower:
    """All of it on a running tower, once it has come to rest; the state that its log gives."""
    await driver.settle_book()
    state = await at_rest(driver)
    log = await driver.recorded()
    wrong = driver.book.compare(log) + typed_again(driver.child.home) + taken_again(log) + firings_again(log)
    assert not wrong, "\n".join(wrong)
    await same_rows(driver)
    return state


def taken_again(log: Sequence[Recorded]) -> list[str]:
    """Turns of sessions that began more than once."""
    begun = Counter(
        (each.event.session_id, each.event.turn) for each in log if isinstance(each.event, SessionTurnStarted)
    )
    return [
        f"turn {turn} of session {session} began {times} times" for (session, turn), times in begun.items() if times > 1
    ]


async def verified(child: Child) -> None:
    """The chain, by the command that a person would use."""
    code, said = await child.cli("audit", "verify")
    assert code == 0, said


# --- tmux -------------------------------------------------------------------------------------------------------------


async def at_rest(driver: Driver) -> Tower:
    """Until no pane is being created and tmux is what the log says. The state then."""
    last: list[str] = []

    async def look() -> Tower | None:
        before = await driver.position()
        state = await driver.state()
        last[:] = [*unlike_tmux(state, driver.child), *(f"{send} has no end" for send in state.sends.open)]
        last[:] += [f"{each.execution_id} is under way" for each in state.executions.open.values() if not _asks(each)]
        last[:] += open_runs(state)
        last[:] += [f"session {session_id} has something to do" for session_id in state.sessions.active]
        last[:] += [f"{each} is under way" for each in state.executions.works]
        return state if not last and await driver.position() == before else None

    try:
        state = await eventually(look, "the tower is at rest", timeout_s=SETTLES_S)
    except AssertionError as error:
        raise AssertionError(f"tmux and the log do not agree:\n{chr(10).join(last)}\n{error}"[:4000]) from None
    assert state is not None
    return state


def _asks(execution: Execution) -> bool:
    """Whether it waits for a person."""
    return any(question.state is PromiseState.PENDING for question in execution.questions)


def unlike_tmux(state: Tower, child: Child) -> list[str]:
    """Where tmux is not what the state says, and what is not done: one line each."""
    seen = child.panes()
    by_id = {pane.pane_id: pane for pane in seen}
    lines = [f"pane {pane_id} stands {n} times in tmux" for pane_id in by_id if (n := _count(seen, pane_id)) > 1]
    servers = child.tmux_servers()
    lines += [f"several tmux servers run, of which one can be reached: {servers}"] if len(servers) > 1 else []
    lines += [f"scan {scan_id} is open" for scan_id in state.containers.open_scans]
    panes = state.layouts.panes
    for pane_id, found in by_id.items():
        pane = panes.get(pane_id)
        if pane is None or pane.state is PaneState.REMOVED:
            lines.append(f"tmux holds {found}, which is {'unknown' if pane is None else 'removed'}")
    for pane in panes.values():
        lines += _unlike(pane, by_id.get(pane.pane_id) is not None, pane.pane_id in by_id and by_id[pane.pane_id].dead)
    return lines


def _count(seen: Sequence[Any], pane_id: str) -> int:
    return sum(pane.pane_id == pane_id for pane in seen)


def _unlike(pane: Pane, there: bool, dead: bool) -> list[str]:
    match pane.state:
        case PaneState.CREATING:
            return [f"pane {pane.pane_id} is still being created"]
        case PaneState.READY if not there or dead:
            return [f"pane {pane.pane_id} is ready, and {'dead' if there else 'not'} in tmux"]
        case PaneState.DEGRADED if not there:
            return [f"pane {pane.pane_id} is degraded, and not in tmux"]
        case _:
            return []


# --- read models ------------------------------------------------------------------------------------------------------


class Upto:
    """The log as it was when it ended at a position."""

    def __init__(self, stored: Sequence[Stored]) -> None:
        self._stored = stored

    async def last_position(self) -> int:
        return self._stored[-1].position if self._stored else 0

    async def read(self, after: int, until: int | None = None) -> AsyncIterator[Sequence[Stored]]:
        yield [each for each in self._stored if after < each.position <= (until or each.position)]

    def follow(self, after: int) -> AsyncIterator[Sequence[Stored]]:
        return self.read(after)


async def same_rows(driver: Driver) -> None:
    """Read models made from nothing but the log equal those of the tower, row by row and column by column."""
    live = await _live(driver.child.database, (await driver.stored())[-1].position)
    position = live[PROJECTIONS[0].name][0][0]
    # The log may have grown meanwhile.
    stored = [each for each in await driver.stored() if each.position <= position]
    with tempfile.TemporaryDirectory(prefix="at-rebuilt-") as folder:
        expected = await rebuilt(f"sqlite:///{folder}/rebuilt.sqlite", stored)
    for name, rows in expected.items():
        for number, (row, other) in enumerate(zip(rows, live[name], strict=False)):
            assert row == other, f"{name}, row {number}: rebuilt {row}, live {other}"
        assert len(rows) == len(live[name]), f"{name}: {len(rows)} rows rebuilt, {len(live[name])} live"


async def rebuilt(url: str, stored: Sequence[Stored]) -> Dump:
    """All rows made from nothing but the log. Raises what a projection cannot take."""
    source: Source = Upto(stored)
    database = open_database(url, node=NODE)
    try:
        await Projector(database, source).prepare()
        await rebuild_all(database, source, PROJECTIONS)
        return await dump(database)
    finally:
        await database.close()


async def rows_on_postgres(stored: Sequence[Stored]) -> None:
    """The same log gives the same rows there."""
    with tempfile.TemporaryDirectory(prefix="at-pg-") as folder, postgres_server(Path(folder)) as server:
        there = await rebuilt(server.get_uri(), stored)
        assert there == await rebuilt(f"sqlite:///{folder}/rebuilt.sqlite", stored)


async def _live(database: Path, position: int) -> Dump:
    """The tower's own rows, once its projections have come to this position of the log or beyond it, together."""
    opened = open_database(f"sqlite:///{database}", node=NODE)
    try:

        async def arrived() -> Dump | None:
            rows = await dump(opened)
            at = {rows[each.name][0][0] for each in PROJECTIONS}
            return rows if len(at) == 1 and min(at) >= position else None

        return cast(Dump, await eventually(arrived, f"the read models are at {position}"))
    finally:
        await opened.close()


async def dump(database: SqlDatabase) -> Dump:
    """Every column of every row in the order of keys, after the position of each projection."""

    def work(connection: sa.Connection) -> Dump:
        found: Dump = {}
        for projection in PROJECTIONS:
            at = sa.select(POSITIONS.c.position, POSITIONS.c.fingerprint).where(POSITIONS.c.name == projection.name)
            found[projection.name] = [tuple(one) for one in connection.execute(at)]
            for read in projection.tables:
                rows = connection.execute(sa.select(read.table).order_by(read.table.c[read.key]))
                found[f"{projection.name}: {read.name}"] = [tuple(one) for one in rows]
        return found

    return await database.read(work)
