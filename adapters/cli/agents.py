"""`agenttower agent list|adopt|report`."""

from typing import Annotated, Final, Literal

import typer

from adapters.cli import complete, output, references
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register

COLUMNS: Final = ("ID", "LABEL", "ROLE", "STATE", "ORIGIN", "PANE", "CONTAINER", "TMUX", "REGISTERED")
UNMANAGED_COLUMNS: Final = ("CONTAINER", "TMUX", "PLACE", "PID", "COMMAND", "TITLE", "ADOPTED AS")

ContainerOption = Annotated[
    str | None, typer.Option(help="Only agents of this container.", autocompletion=complete.containers)
]


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["agent"]
    register(group, "list")(list_)
    register(group, "adopt")(adopt)
    register(group, "report")(report)


def list_(
    cli: Cli,
    container: ContainerOption = None,
    origin: Annotated[
        Literal["managed", "adopted"] | None, typer.Option(help="Only panes of layouts, or only adopted ones.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="Only agents in this state; an adopted one is running or gone.")
    ] = None,
    unmanaged: Annotated[
        bool, typer.Option("--unmanaged", help="Instead: the panes that the last scan found and no tower made.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List the agents: the panes of layouts, and those that were adopted."""
    container_id = references.container_id(cli.queries, container) if container else None
    if unmanaged:
        _list_unmanaged(cli, container_id, limit, as_json)
        return
    query = {"container_id": container_id, "origin": origin, "state": state}
    page = output.page(cli.queries, "/v1/agents", limit=limit, **query)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say("No agents. Every pane of a layout becomes one, and `agenttower agent adopt` makes one of any pane.")
        return
    now = output.now()
    rows = [
        (
            output.short(row["id"]),
            row["label"],
            row["role"] or "-",
            output.state(row["state"]),
            row["origin"],
            output.short(row["pane_id"]),
            output.container(row["container_id"]),
            row["tmux_pane_id"] or "-",
            output.age(row["registered_at"], now),
        )
        for row in page["items"]
    ]
    output.table(COLUMNS, rows, wide=("CONTAINER", "REGISTERED", "ROLE"))
    output.more(page)


def _list_unmanaged(cli: Cli, container_id: str | None, limit: int, as_json: bool) -> None:
    """What the last scan of each container found, with the label of those adopted since."""
    known = list(cli.queries.items("/v1/containers"))
    containers = [row for row in known if row["state"] != "gone" and container_id in (None, row["id"])]
    adopted = {
        (row["container_id"], row["tmux_pane_id"], row["pid"]): row["label"]
        for row in cli.queries.items("/v1/agents", origin="adopted", state="running", container_id=container_id)
    }
    panes: list[Row] = []
    for container in containers:
        found = cli.queries.items(f"/v1/containers/{container['id']}/unmanaged-panes", most=limit - len(panes))
        panes += [
            {**pane, "adopted_as": adopted.get((container["id"], pane["tmux_pane_id"], pane["pid"]))} for pane in found
        ]
    if as_json:
        output.say_json({"items": panes})
        return
    if not panes:
        output.say("The last scan found no such pane. `agenttower container scan` looks again.")
        return
    names = {row["id"]: row["name"] for row in containers}
    rows = [
        (
            names[pane["container_id"]],
            pane["tmux_pane_id"],
            f"{pane['session_name']}:{pane['window_index']}.{pane['pane_index']}",
            pane["pid"],
            pane["command"],
            pane["title"],
            pane["adopted_as"] or "-",
        )
        for pane in panes
    ]
    output.table(UNMANAGED_COLUMNS, rows, wide=("TITLE", "PLACE", "COMMAND"))


def adopt(
    cli: Cli,
    container: Annotated[
        str,
        typer.Argument(
            metavar="CONTAINER", help="Name or id; host is this machine.", autocompletion=complete.containers
        ),
    ],
    tmux_pane: Annotated[
        str, typer.Argument(metavar="TMUX_PANE", help="Its id in tmux, as %12; `agent list --unmanaged` shows them.")
    ],
    label: Annotated[str, typer.Option(help="What it is called; of no other pane or agent of the container.")],
    role: Annotated[str | None, typer.Option(help="As of a slot of a template, e.g. slave.")] = None,
    capability: Annotated[str | None, typer.Option(help="What it is good for, e.g. review.")] = None,
    as_json: Json = False,
) -> None:
    """Make an agent of a pane that the tower did not make. The tower looks at it, and never touches it."""
    data: dict[str, object] = {
        "container_id": references.container_id(cli.queries, container),
        "tmux_pane_id": tmux_pane,
        "label": label,
        "role": role,
        "capability": capability,
    }
    outcome = cli.command("agent", "adopt", data)
    result = outcome["result"]
    if as_json:
        output.say_json({"command_id": outcome["command_id"], "position": outcome["position"], **result})
        return
    before = "; it was before" if result["replay"] else ""
    output.say(f"Pane {tmux_pane} is agent {result['agent_id']}, called {result['label']}{before}")


def report(
    cli: Cli,
    agent_session: Annotated[str, typer.Argument(metavar="SESSION", help="What the agent calls its own session.")],
    pane: Annotated[
        str,
        typer.Option(
            help="The managed pane that it runs in.", envvar="AGENTTOWER_PANE_ID", autocompletion=complete.panes
        ),
    ],
    as_json: Json = False,
) -> None:
    """Tell the tower the session id of the agent in a pane, so that a pane in its place can resume it.

    Inside a managed pane it knows which pane.
    """
    pane_id = references.pane_id(cli.queries, pane)
    outcome = cli.command("agent", "report", {"pane_id": pane_id, "agent_session": agent_session})
    result = outcome["result"]
    if as_json:
        output.say_json({"command_id": outcome["command_id"], "position": outcome["position"], **result})
        return
    before = "; it did before" if result["replay"] else ""
    output.say(f"Agent {result['agent_id']} has session {agent_session}{before}")
