"""`agenttower up`: run a tower in the foreground until Ctrl-C or SIGTERM."""

import gc
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from adapters.cli import output
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure

if TYPE_CHECKING:
    from adapters.app import TowerInfo
    from adapters.settings import Settings

COLLECT_EVERY: Final = 50_000
"""Objects made before the cyclic garbage collector looks at the young ones. The tower makes hardly any cycles, and by
Python's default of 700 the collector takes a tenth of the processor under load."""

STOPS: Final = (signal.SIGINT, signal.SIGTERM)


def add(app: typer.Typer, _groups: dict[str, typer.Typer]) -> None:
    register(app, "up")(up)


def up(
    cli: Cli,
    http: Annotated[
        str | None, typer.Option(metavar="ADDRESS:PORT", help="Where to serve HTTP; port 0 takes any free one.")
    ] = None,
    nats_url: Annotated[
        str | None, typer.Option("--nats-url", metavar="URL", help="A broker of its own instead of the embedded one.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option("--database-url", metavar="URL", help="Postgres or SQLite for the read models.")
    ] = None,
    tmux_socket: Annotated[str | None, typer.Option(metavar="PATH", help="Socket of the tmux server.")] = None,
    launch_settle: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="When a launched command counts as alive.")
    ] = None,
    restart_backoff: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Wait before a pane's first restart by its policy.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(metavar="FORMAT", help="auto, console or json.")] = None,
    as_json: Json = False,
) -> None:
    """Run a tower in the foreground. It says where HTTP, broker and tmux are; Ctrl-C stops it, panes live on."""
    settings = _settings(
        {
            "home": cli.home,
            "node": cli.node,
            "http": http,
            "nats_url": nats_url,
            "database_url": database_url,
            "tmux_socket": tmux_socket,
            "launch_settle": launch_settle,
            "restart_backoff": restart_backoff,
            "log_format": log_format,
        }
    )
    cli.place.need_files()
    found = cli.place.running()
    if found is not None and found.node == settings.node and found.pid != 0 and _answers(cli):
        raise Failure(
            f"a tower of node {found.node} runs already: pid {found.pid}, home {settings.home}",
            "`agenttower status` shows it; for a second one give another --home, --node and --http",
        )
    _run(settings, as_json=as_json)


def _settings(flags: dict[str, object]) -> "Settings":
    from adapters.settings import SettingsError, load

    try:
        return load(flags)
    except SettingsError as error:
        raise Failure(str(error)) from error


def _answers(cli: Cli) -> bool:
    """Whether the tower of `tower.json` is really there: its process id may be another program's by now."""
    try:
        return cli.queries.ask("/healthz").status == 200
    except Failure:
        return False


def _run(settings: "Settings", *, as_json: bool) -> None:
    import asyncio

    import uvloop
    from sqlalchemy.exc import SQLAlchemyError

    from adapters.app import CannotStart, run_tower
    from adapters.nats.broker import BrokerFailed
    from adapters.nats.connection import BrokerProblem
    from adapters.nats.store_lock import StoreLocked
    from adapters.telemetry import configure_logging
    from domain.catalogue import UndecodableEvent
    from handlers.ledger import BrokenLog
    from handlers.ports import LogError, TerminalError
    from handlers.writer import SteppedDown
    from projections.ports import DatabaseTrouble

    gc.set_threshold(COLLECT_EVERY, 20, 20)
    in_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    configure_logging(json=in_json, node=settings.node)

    def ready(info: "TowerInfo") -> None:
        gc.collect()
        # What stands in memory now stays there: no collection has to walk over it again.
        gc.freeze()
        _announce(info, settings, as_json=as_json)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        tower = asyncio.current_task()
        assert tower is not None

        def stopped() -> None:
            if stop.is_set():
                # The second time it is meant: end now, as a crash would.
                tower.cancel()
            stop.set()

        for number in STOPS:
            loop.add_signal_handler(number, stopped)
        await run_tower(settings, on_ready=ready, stop=stop)

    known = (
        CannotStart,
        SteppedDown,
        BrokerFailed,
        BrokerProblem,
        StoreLocked,
        BrokenLog,
        UndecodableEvent,
        LogError,
        TerminalError,
        DatabaseTrouble,
        SQLAlchemyError,
        OSError,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except asyncio.CancelledError:
        raise typer.Exit(130) from None
    except known as error:
        raise Failure(f"the tower cannot run: {error}", "`agenttower doctor` looks at what it needs") from error
    if not as_json:
        output.say("The tower has stopped. Its panes live on; the next `agenttower up` takes them up again.")


def _announce(info: "TowerInfo", settings: "Settings", *, as_json: bool) -> None:
    if as_json:
        output.say_json({"pid": info.pid, "node": info.node, "http": info.http, "nats": info.nats, "tmux": info.tmux})
        return
    output.say(f"AgentTower runs: node {info.node}, pid {info.pid}. Ctrl-C stops it, panes live on.")
    output.say(f"  http    {info.http}")
    output.say(f"  broker  {output.address(info.nats)}")
    output.say(f"  tmux    {info.tmux}")
    output.say(f"  home    {settings.home}")
