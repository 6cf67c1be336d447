"""`agenttower layout create|list|show|remove`; `restore` has a file of its own."""

from typing import Annotated, Any

import typer

from adapters.cli import complete, output, references, restoring, settling
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure
from adapters.cli.panes import PANE_COLUMNS, pane_cells

LayoutReference = Annotated[
    str,
    typer.Argument(
        metavar="LAYOUT",
        help="Id, its beginning or end, or the tmux session name.",
        autocompletion=complete.layouts,
    ),
]


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["layout"]
    register(group, "create")(create)
    register(group, "list")(list_)
    register(group, "show")(show)
    register(group, "remove")(remove)
    register(group, "restore")(restoring.restore)


def create(
    cli: Cli,
    template: Annotated[
        str,
        typer.Option(help="The layout's template, such as 1m+2s.", autocompletion=complete.templates),
    ],
    session_name: Annotated[str, typer.Option("--session-name", help="Name of the tmux session to make.")],
    container: Annotated[
        str,
        typer.Option(
            help="Where: a container's name or id, or the beginning of either.", autocompletion=complete.containers
        ),
    ] = "host",
    override: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE:LABEL=PROFILE", help="Another launch profile for one pane; repeatable."),
    ] = None,
    working_dir: Annotated[str | None, typer.Option(metavar="DIR", help="Where the panes start.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Asked again with the same key, nothing is made twice.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until every pane has settled.")] = True,
    as_json: Json = False,
) -> None:
    """Create a layout: a tmux session with the panes of a template."""
    overrides = dict(_override(text) for text in override or ())
    container_id = references.container_id(cli.queries, container)
    outcome = cli.command(
        "layout",
        "create",
        {
            "container_id": container_id,
            "template_name": template,
            "tmux_session_name": session_name,
            "launch_command_overrides": overrides,
            "working_dir": working_dir,
        },
        idempotency_key,
    )
    result = outcome["result"]
    layout_id = result["layout_id"]
    if wait:
        title = f"Layout {session_name} ({template}) on {container}"
        layout = settling.settled(cli.queries, layout_id, after=outcome["position"], title=title, quiet=as_json)
        panes = [{**pane, "pane_id": pane["id"]} for pane in layout["panes"]]
        result = {**result, "state": layout["state"], "failed_stage": layout.get("failed_stage"), "panes": panes}
    if as_json:
        output.say_json({"command_id": outcome["command_id"], "position": outcome["position"], **result})
    elif wait:
        _print_layout(cli, cli.queries.get(f"/v1/layouts/{layout_id}"))
    else:
        again = ", which was there already" if result.get("replay") else ""
        output.say(f"Layout {layout_id} is {result['state']}{again}: {len(result['panes'])} panes")
    if wait and result["state"] != "ready":
        raise unsettled(result["panes"], f"layout {layout_id}", result["state"])


def list_(
    cli: Cli,
    state: Annotated[str | None, typer.Option(help="Only layouts in this state.")] = None,
    container: Annotated[
        str | None, typer.Option(help="Only layouts of this container.", autocompletion=complete.containers)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List layouts: first those that are creating, degraded or ready, last the removed ones."""
    container_id = references.container_id(cli.queries, container) if container else None
    page = output.page(cli.queries, "/v1/layouts", limit=limit, state=state, container_id=container_id)
    if as_json:
        output.say_json(page)
        return
    now = output.now()
    rows = [
        (
            output.short(row["id"]),
            row.get("tmux_session_name", "-"),
            output.state(row["state"]),
            row.get("ready_pane_count", "-"),
            row.get("template_name", "-"),
            output.container(row.get("container_id")),
            output.age(output.made_at(row["id"]), now),
        )
        for row in page["items"]
    ]
    if not rows:
        output.say("No layouts. `agenttower layout create --template 1m+2s --session-name demo` makes one.")
        return
    output.table(("ID", "SESSION", "STATE", "READY", "TEMPLATE", "CONTAINER", "CREATED"), rows, wide=("SESSION",))
    output.more(page)


def show(
    cli: Cli,
    layout: LayoutReference,
    everything: Annotated[bool, typer.Option("--all", help="Also panes that were removed or replaced.")] = False,
    as_json: Json = False,
) -> None:
    """Show a layout and its panes."""
    layout_id = references.layout_id(cli.queries, layout)
    found = cli.queries.get(f"/v1/layouts/{layout_id}", include_terminal_panes=str(everything).lower())
    if as_json:
        output.say_json(found)
        return
    _print_layout(cli, found)


def remove(cli: Cli, layout: LayoutReference, as_json: Json = False) -> None:
    """Remove a layout: every pane of it ends."""
    layout_id = references.layout_id(cli.queries, layout)
    outcome = cli.command("layout", "remove", {"layout_id": layout_id})
    if as_json:
        result = outcome["result"]
        output.say_json({"command_id": outcome["command_id"], "position": outcome["position"], **result})
        return
    count = len(outcome["result"].get("removed_pane_ids", ()))
    output.say(f"Layout {layout_id} is removed" + (f": {count} panes ended" if count else "; it was before"))


def unsettled(panes: list[Row], what: str, state: str) -> Failure:
    """The failure of a wait that ended, but not ready."""
    faults = [
        f"{pane['label']} is {pane['state']} at {pane['failed_stage']}"
        for pane in panes
        if pane["state"] in ("failed", "degraded") and pane.get("failed_stage")
    ]
    return Failure(
        f"{what} is {state}: {'; '.join(faults) or 'see its panes'}",
        "`agenttower pane logs PANE` shows what a pane printed, `agenttower pane recreate PANE` makes it anew",
    )


def _override(text: str) -> tuple[str, str]:
    slot, equals, profile = text.partition("=")
    role, colon, label = slot.partition(":")
    if not (equals and colon and role and label and profile):
        raise typer.BadParameter(
            f"{text!r} is not ROLE:LABEL=PROFILE, such as slave:s1=claude", param_hint="--override"
        )
    return slot, profile


def _print_layout(_cli: Cli, layout: dict[str, Any]) -> None:
    from rich.text import Text

    line = Text.assemble(
        "Layout ",
        (layout["id"], "bold"),
        f"\n{layout.get('tmux_session_name')} ({layout.get('template_name')})"
        f" on {output.container(layout.get('container_id'))}: ",
        output.state(layout["state"]),
        f", created {output.age(output.made_at(layout['id']), output.now())}",
    )
    if layout.get("failed_stage"):
        line.append(f", at {layout['failed_stage']}")
    output.write(line, output.console())
    if layout["panes"]:
        output.say()
        output.table(PANE_COLUMNS, [pane_cells(pane) for pane in layout["panes"]], wide=("RUNS", "AT"))
