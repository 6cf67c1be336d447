"""`agenttower layout restore`: after a reboot, everything that was lost comes back in its old place."""

from typing import Annotated, Any, Final

import typer

from adapters.cli import complete, output, references, settling
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json
from adapters.cli.failures import Failure
from adapters.cli.panes import where_it_stands

_STATES: Final = ("creating", "failed")
"""States of a layout that may have lost panes."""


def restore(
    cli: Cli,
    layout: Annotated[
        str | None,
        typer.Argument(
            metavar="[LAYOUT]",
            help="Id, its beginning or end, or the tmux session name.",
            autocompletion=complete.layouts,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every layout that has lost panes.")] = False,
    container: Annotated[
        str | None,
        typer.Option(help="With --all: only layouts of this container.", autocompletion=complete.containers),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until every pane has settled.")] = True,
    as_json: Json = False,
) -> None:
    """Bring back the panes that went with their tmux server: after a reboot, `layout restore --all`."""
    if everything == (layout is not None):
        raise typer.BadParameter("name a layout, or give --all", param_hint="LAYOUT")
    if container is not None and not everything:
        raise typer.BadParameter("goes with --all", param_hint="--container")
    layouts = _lost(cli, container) if layout is None else [{"id": references.layout_id(cli.queries, layout)}]
    restored = [_ask(cli, row["id"]) for row in layouts]
    for each in restored:
        _look(cli, each, wait=wait, quiet=as_json)
    if as_json:
        output.say_json({"layouts": [{key: each[key] for key in each if key != "rows"} for each in restored]})
    else:
        _print(restored)
    _check(restored, wait=wait)


def _lost(cli: Cli, container: str | None) -> list[Row]:
    """The layouts that may have lost panes, oldest first."""
    rows = [row for state in _STATES for row in cli.queries.items("/v1/layouts", state=state, container_id=container)]
    return sorted(rows, key=lambda row: row["id"])


def _ask(cli: Cli, layout_id: str) -> dict[str, Any]:
    outcome = cli.command("layout", "restore", {"layout_id": layout_id})
    return {"command_id": outcome["command_id"], "position": outcome["position"], **outcome["result"]}


def _look(cli: Cli, restored: dict[str, Any], *, wait: bool, quiet: bool) -> None:
    """Add what became of it: the layout's state, and that of each pane; `rows` for the table."""
    layout_id, position = restored["layout_id"], restored["position"]
    if wait and restored["recreated"]:
        title = f"Restoring {output.short(layout_id)}"
        settling.settled(cli.queries, layout_id, after=position, title=title, quiet=quiet)
    found = cli.queries.get(f"/v1/layouts/{layout_id}", after=position)
    panes = {pane["id"]: pane for pane in found["panes"]}
    session = found["tmux_session_name"]
    restored["tmux_session_name"], restored["state"] = session, found["state"]
    rows: list[tuple[Any, ...]] = []
    for made in restored["recreated"]:
        pane = panes.get(made["pane_id"], {"state": "removed"})
        made["state"], made["failed_stage"] = pane["state"], pane.get("failed_stage")
        rows.append((session, made["label"], output.state(pane["state"]), where_it_stands(pane)))
    for pane_id in restored["chain_too_deep"]:
        pane = panes.get(pane_id, {})
        rows.append((session, pane.get("label", output.short(pane_id)), output.state("failed"), "chain_too_deep"))
    conflicts = ((each["label"], each["code"]) for each in restored["conflicts"])
    restored["rows"] = [*rows, *((session, label, output.state("failed"), code) for label, code in conflicts)]


def _print(restored: list[dict[str, Any]]) -> None:
    rows = [row for each in restored for row in each["rows"]]
    if not rows:
        output.say("Nothing to restore: no pane was lost.")
        return
    output.table(("SESSION", "LABEL", "STATE", "AT"), rows, wide=("SESSION", "AT"))
    made = [pane for each in restored for pane in each["recreated"]]
    back = sum(pane["state"] == "ready" for pane in made)
    layouts = sum(bool(each["rows"]) for each in restored)
    output.say(f"{back} of {len(rows)} lost panes are back, in {layouts} layout{'s' * (layouts != 1)}")


def _check(restored: list[dict[str, Any]], *, wait: bool) -> None:
    """Raises `Failure` for what did not come back."""
    missing = [
        f"{pane['label']} is {pane['state']}"
        for each in restored
        for pane in each["recreated"]
        if wait and pane["state"] != "ready"
    ]
    missing += [f"{conflict['label']}: {conflict['message']}" for each in restored for conflict in each["conflicts"]]
    missing += [
        f"{output.short(pane_id)}: recreated 15 times" for each in restored for pane_id in each["chain_too_deep"]
    ]
    if missing:
        raise Failure(
            f"not everything came back: {'; '.join(missing)}",
            "`agenttower layout show LAYOUT` says more; a pane that was recreated 15 times needs a new layout",
        )
