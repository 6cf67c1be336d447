"""`agenttower projections list|rebuild`: the read models.

A rebuild is this process's own work, on the database and the log, whether a tower runs or not: it builds shadow tables
and puts them in place in one transaction, so that a running tower serves the old ones meanwhile and is not slowed down.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adapters.cli import output
from adapters.cli.client import quiet_logs
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure
from adapters.cli.place import NATS_FILE
from adapters.cli.status import PROJECTION_COLUMNS, projection_cells

if TYPE_CHECKING:
    from adapters.nats.log import JetStreamLog
    from adapters.settings import Settings
    from projections.projection import Projection

TRIES: Final = 5
"""A rebuild goes on where it was interrupted, so a busy database is worth another try."""

OnProgress = Callable[[str, int, int], None]
"""Called with a projection's name, the position reached and the log's last."""


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    register(groups["projections"], "list")(list_)
    register(groups["projections"], "rebuild")(rebuild)


def list_(cli: Cli, as_json: Json = False) -> None:
    """List the read models: how far each is, and why it stopped if it did."""
    found = cli.queries.get("/v1/projections")
    if as_json:
        output.say_json(found)
        return
    output.table(PROJECTION_COLUMNS, [projection_cells(row, found["position"]) for row in found["items"]])


def rebuild(
    cli: Cli,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; all by default.")] = None,
    as_json: Json = False,
) -> None:
    """Build read models anew from the log, while the old ones serve; goes on where it was interrupted."""
    import asyncio

    from adapters.settings import SettingsError, load
    from adapters.system import SystemClock
    from projections.registry import PROJECTIONS, find

    wanted = [(name, find(name)) for name in names or [projection.name for projection in PROJECTIONS]]
    for name, projection in wanted:
        if projection is None:
            known = ", ".join(projection.name for projection in PROJECTIONS)
            raise typer.BadParameter(f"there is no read model {name!r}; known are {known}", param_hint="NAME")
    cli.place.need_files()
    running = cli.place.running()
    try:
        # Settings given to the running tower as flags are not known here; its node is.
        settings = load({"home": cli.home, "node": running.node if running else cli.node})
    except SettingsError as error:
        raise Failure(str(error)) from error
    quiet_logs()
    clock = SystemClock()
    started = clock.monotonic()
    with _bars(quiet=as_json) as progress:
        position = asyncio.run(_rebuild(cli, settings, [found for _, found in wanted if found], progress))
    elapsed_s = clock.monotonic() - started
    if as_json:
        output.say_json({"rebuilt": [name for name, _ in wanted], "position": position, "elapsed_s": elapsed_s})
        return
    for name, _ in wanted:
        output.say(f"Read model {name} is rebuilt from {position} events")
    output.say(f"in {elapsed_s:.1f} s")


async def _rebuild(cli: Cli, settings: "Settings", wanted: "list[Projection]", progress: OnProgress) -> int:
    from adapters.nats.broker import BrokerFailed
    from adapters.nats.connection import BrokerProblem
    from adapters.nats.store_lock import StoreLocked
    from adapters.sql import open_database
    from handlers.ports import LogError
    from projections.ports import DatabaseTrouble
    from projections.rebuild import RebuildFailed, rebuild_all

    database = open_database(settings.database_url, node=settings.node)
    try:
        async with _log(cli, settings) as log:
            for attempt in range(1, TRIES + 1):
                try:
                    await rebuild_all(database, log, wanted, progress)
                    break
                except (DatabaseTrouble, LogError):
                    if attempt == TRIES:
                        raise
            return await log.last_position()
    except RebuildFailed as error:
        raise Failure(str(error), "the old read model goes on serving") from error
    except (DatabaseTrouble, LogError, BrokerProblem, BrokerFailed, StoreLocked) as error:
        raise Failure(f"the rebuild stopped: {error}", "run it again: it goes on where it stopped") from error
    finally:
        await database.close()


@asynccontextmanager
async def _log(cli: Cli, settings: "Settings") -> "AsyncIterator[JetStreamLog]":
    """The event log: of the running tower's broker, of the broker in the settings, or of the embedded one, which is
    started for as long as this takes."""
    from adapters.nats.broker import EmbeddedBroker
    from adapters.nats.connection import connect
    from adapters.nats.log import JetStreamLog

    @asynccontextmanager
    async def connected(url: str) -> AsyncIterator[JetStreamLog]:
        connection = await connect(url, name="agenttower-rebuild")
        try:
            yield JetStreamLog(connection, settings.node)
        finally:
            await connection.close()

    if cli.place.running() is not None:
        async with connected(cli.place.secret(NATS_FILE)) as log:
            yield log
    elif settings.nats_url is not None:
        async with connected(settings.nats_url) as log:
            yield log
    else:
        if not (settings.home / "nats").is_dir():
            raise Failure(f"there is no log in {settings.home}: no tower has run there", "name its home with --home")
        async with (
            EmbeddedBroker(settings.home, settings.node, listen=settings.nats_listen) as broker,
            connected(broker.operator_url) as log,
        ):
            yield log


class _bars:  # noqa: N801, used as a statement
    """A progress bar a read model on a terminal's stderr, nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> OnProgress:
        out = output.console(stderr=True)
        if not self._quiet and out.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=out, transient=True)
            self._bars.start()
        return self._show

    def __exit__(self, *_exc: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _show(self, name: str, done: int, end: int) -> None:
        if self._bars is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=end)
        self._bars.update(self._tasks[name], completed=done, total=end)
