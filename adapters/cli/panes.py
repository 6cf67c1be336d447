"""`agenttower pane list|show|remove|recreate`; `send`, `logs` and `attach` have files of their own."""

from typing import Annotated, Any, Final

import typer

from adapters.cli import complete, output, references, settling
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register

PaneReference = Annotated[
    str,
    typer.Argument(
        metavar="PANE",
        help="Id, its beginning or end, label, or session/label.",
        autocompletion=complete.panes,
    ),
]

PANE_COLUMNS: Final = ("ID", "LABEL", "ROLE", "STATE", "AT", "RUNS", "TMUX", "PID")

_SHOWN: Final = (
    ("label", "label"),
    ("role", "role"),
    ("capability", "capability"),
    ("state", "state"),
    ("failed_stage", "at stage"),
    ("exit_code", "exit code"),
    ("signal", "signal"),
    ("launch_profile", "command"),
    ("layout_id", "layout"),
    ("container_id", "container"),
    ("tmux_pane_id", "tmux pane"),
    ("pid", "pid"),
    ("agent_id", "agent"),
    ("log_path", "log"),
    ("restart", "restart"),
    ("restart_due_at", "restart due"),
    ("restart_given_up", "restart given up"),
    ("predecessor_id", "recreated from"),
    ("chain_depth", "generation"),
)
"""Field of a pane -> how `show` calls it, in this order."""


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    from adapters.cli import attach, logs, send

    group = groups["pane"]
    register(group, "list")(list_)
    register(group, "show")(show)
    register(group, "remove")(remove)
    register(group, "recreate")(recreate)
    register(group, "send")(send.send)
    register(group, "logs")(logs.logs)
    register(group, "attach")(attach.attach)


def pane_cells(pane: Row) -> tuple[Any, ...]:
    """One row of `PANE_COLUMNS`."""
    return (
        output.short(pane["id"]),
        pane.get("label", "-"),
        pane.get("role", "-"),
        output.state(pane["state"]),
        where_it_stands(pane),
        pane.get("launch_profile") or pane.get("command") or "-",
        pane.get("tmux_pane_id") or "-",
        pane.get("pid") or "-",
    )


def where_it_stands(pane: Row) -> str:
    """The failed stage, how the process ended, what the restart policy does: `process_exited, signal 9, restarted`."""
    ending = ""
    if pane.get("signal") is not None:
        ending = f"signal {pane['signal']}"
    elif pane.get("exit_code") is not None:
        ending = f"exit {pane['exit_code']}"
    return ", ".join(part for part in (pane.get("failed_stage") or "", ending, _restarts(pane)) if part) or "-"


def _restarts(pane: Row) -> str:
    if pane.get("restart_given_up"):
        return f"rests: {pane['restart_given_up']}"
    count = pane.get("restart_count") or 0
    said = f"restarted {count} times" if count > 1 else "restarted" * count
    return "restarts soon" if pane.get("restart_due_at") else said


def list_(
    cli: Cli,
    state: Annotated[str | None, typer.Option(help="Only panes in this state.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Only panes of this layout.", autocompletion=complete.layouts)
    ] = None,
    container: Annotated[
        str | None, typer.Option(help="Only panes of this container.", autocompletion=complete.containers)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List panes: first those that are creating, degraded or ready, last the removed ones; then adopted ones, unless
    a layout or a state is asked for. (In JSON they stand apart, as `adopted`.)"""
    layout_id = references.layout_id(cli.queries, layout) if layout else None
    container_id = references.container_id(cli.queries, container) if container else None
    query = {"state": state, "layout_id": layout_id, "container_id": container_id}
    page = output.page(cli.queries, "/v1/panes", limit=limit, **query)
    whole = state is None and layout is None and not page["next_cursor"]
    adopted = _adopted(cli, container_id, limit) if whole else []
    if as_json:
        output.say_json({**page, "adopted": adopted})
        return
    if not page["items"] and not adopted:
        output.say("No panes. `agenttower layout create --template 1m+2s --session-name demo` makes some.")
        return
    rows = [(*pane_cells(pane), pane["origin"]) for pane in page["items"]]
    rows += [(*_adopted_cells(agent), agent["origin"]) for agent in adopted]
    output.table((*PANE_COLUMNS, "ORIGIN"), rows, wide=("RUNS", "AT"))
    output.more(page)


def _adopted(cli: Cli, container_id: str | None, limit: int) -> list[Row]:
    """The operator's own panes that are agents: nothing but their place and that they are there is known of them."""
    query = {"origin": "adopted", "state": "running", "container_id": container_id}
    return list(cli.queries.items("/v1/agents", most=limit, **query))


def _adopted_cells(agent: Row) -> tuple[Any, ...]:
    """One row of `PANE_COLUMNS`."""
    return (
        output.short(agent["id"]),
        agent["label"],
        agent["role"] or "-",
        output.state(agent["state"]),
        "-",
        "-",
        agent["tmux_pane_id"],
        agent["pid"],
    )


def show(cli: Cli, pane: PaneReference, as_json: Json = False) -> None:
    """Show one pane, and the panes that it replaced."""
    pane_id = references.pane_id(cli.queries, pane)
    found = cli.queries.get(f"/v1/panes/{pane_id}", include_predecessor_chain="true")
    if as_json:
        output.say_json(found)
        return
    _print_pane(found)


def remove(cli: Cli, pane: PaneReference, as_json: Json = False) -> None:
    """Remove a pane: its process ends, its log stays."""
    pane_id = references.pane_id(cli.queries, pane)
    outcome = cli.command("pane", "remove", {"pane_id": pane_id})
    if as_json:
        output.say_json(
            {"command_id": outcome["command_id"], "position": outcome["position"], "pane_id": pane_id}
            | outcome["result"]
        )
        return
    before = "" if outcome["result"].get("removed_pane_ids") else "; it was before"
    output.say(f"Pane {pane_id} is removed{before}")


def recreate(
    cli: Cli,
    pane: PaneReference,
    launch: Annotated[
        str | None,
        typer.Option(
            "--launch",
            metavar="PROFILE",
            help="Another launch profile than its predecessor's.",
            autocompletion=complete.profiles,
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Asked again with the same key, nothing is made twice.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the layout has settled.")] = True,
    as_json: Json = False,
) -> None:
    """Make a removed or failed pane anew, in its place."""
    predecessor_id = references.pane_id(cli.queries, pane)
    data: dict[str, object] = {"predecessor_pane_id": predecessor_id, "launch_command_override": launch}
    outcome = cli.command("pane", "recreate", data, idempotency_key)
    result, position = outcome["result"], outcome["position"]
    if wait:
        title = f"Recreating {output.short(predecessor_id)}"
        settling.settled(cli.queries, result["layout_id"], after=position, title=title, quiet=as_json)
        made = cli.queries.get(f"/v1/panes/{result['pane_id']}")
        result = {**result, "state": made["state"], "failed_stage": made.get("failed_stage")}
    if as_json:
        output.say_json({"command_id": outcome["command_id"], "position": position, **result})
    else:
        output.say(f"Pane {result['pane_id']} is {result['state']}, in place of {predecessor_id}")
    if wait and result["state"] in ("failed", "degraded"):
        from adapters.cli.layouts import unsettled

        raise unsettled([{"label": result["pane_id"], **result}], "the pane", result["state"])


def _print_pane(pane: Row) -> None:
    lines = [
        (name, output.state(pane[field]) if field == "state" else str(pane[field]))
        for field, name in _SHOWN
        if pane.get(field) not in (None, "")
    ]
    chain = pane.get("predecessor_chain") or []
    if len(chain) > 1:
        lines.append(("before that", ", ".join(output.short(_chain_id(link)) for link in chain[1:])))
    output.card("Pane", pane["id"], lines)


def _chain_id(link: Any) -> str:
    return link["id"] if isinstance(link, dict) else str(link)
