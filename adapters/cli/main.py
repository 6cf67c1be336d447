"""The command line `agenttower`: what there is, and where each command is written."""

import importlib
from typing import Annotated, Final

import typer

from adapters.cli.command import HomeOption, NodeOption

GROUPS: Final = {
    "layout": "Create, list, show and remove managed tmux layouts.",
    "pane": "List, show, remove and recreate panes; type into them, read their logs, attach to them.",
    "agent": "The registry of agents.",
    "container": "The containers that the tower knows; look for others.",
    "template": "The templates that layouts are made from.",
    "profile": "The launch profiles that panes are started with.",
    "bundle": "The bundles that sessions are made from: check them, reload them, compose others over them.",
    "exec": "Run Python code in supervised workers; answer what it asks, stop it.",
    "session": "Spawn sessions from bundles, give them instructions, read what was said.",
    "background": "Background sessions: what listens to triggers, and how it fares.",
    "trigger": "Fire triggers by hand; see what was fired, and what became of it.",
    "promise": "Durable promises: make them, settle them.",
    "events": "Ask the event log, or follow it; tell something, wait for what others tell.",
    "audit": "Verify the event log.",
    "credentials": "Broker users of containers and of those who only read.",
    "projections": "The read models: how far they are, and how to rebuild them.",
}

MODULES: Final = (
    "up",
    "demo",
    "status",
    "doctor",
    "layouts",
    "panes",
    "agents",
    "containers",
    "launching",
    "bundles",
    "executions",
    "sessions",
    "backgrounds",
    "promises",
    "events",
    "telling",
    "audit",
    "projections",
    "credentials",
)
"""Each has `add(app, groups)`. They load what they need when they run, so that `--help` stays quick."""


def build() -> typer.Typer:
    app = typer.Typer(
        name="agenttower",
        help="An event-sourced control plane for fleets of coding agents in tmux.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def shared(
        home: HomeOption = None,
        node: NodeOption = None,
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
        ] = False,
    ) -> None:
        """An event-sourced control plane for fleets of coding agents in tmux."""

    groups = {name: typer.Typer(help=text, no_args_is_help=True) for name, text in GROUPS.items()}
    for name in MODULES:
        importlib.import_module(f"adapters.cli.{name}").add(app, groups)
    for name, group in groups.items():
        app.add_typer(group, name=name)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("agenttower"))
        raise typer.Exit


def main() -> None:
    # The same name however it was started: completion is registered for it.
    build()(prog_name="agenttower")
