"""`agenttower agent list`."""

from typing import Annotated

import typer

from adapters.cli import output
from adapters.cli.command import Cli, Json, register


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    register(groups["agent"], "list")(list_)


def list_(
    cli: Cli, limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50, as_json: Json = False
) -> None:
    """List the registered agents."""
    page = output.page(cli.queries, "/v1/agents", limit=limit)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say("No agents. Every pane of a layout becomes one.")
        return
    now = output.now()
    rows = [
        (
            output.short(row["id"]),
            row.get("label") or "-",
            row.get("role") or "-",
            output.state(row.get("state")),
            row.get("origin") or "-",
            output.short(row.get("pane_id")),
            output.age(output.made_at(row["id"]), now),
        )
        for row in page["items"]
    ]
    output.table(("ID", "LABEL", "ROLE", "STATE", "ORIGIN", "PANE", "REGISTERED"), rows)
    output.more(page)
