"""`agenttower container list|scan`."""

from typing import Annotated, Final, Literal

import typer

from adapters.cli import output
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure

SCAN_TIMEOUT_S: Final = 60.0
"""Longer than engine and tmux servers may take together, those of a great many containers left out."""

_COLUMNS: Final = ("ID", "NAME", "STATE", "IMAGE", "USER", "UNMANAGED", "SCANNED")


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["container"]
    register(group, "list")(list_)
    register(group, "scan")(scan)


def list_(
    cli: Cli,
    state: Annotated[
        Literal["running", "stopped", "gone"] | None, typer.Option(help="Only containers in this state.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List the containers that the tower knows: this machine, called host, and those that a scan has found."""
    page = output.page(cli.queries, "/v1/containers", limit=limit, state=state)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say(f"No container is {state}." if state else "No containers.")
        return
    _print(page["items"])
    output.more(page)


def scan(
    cli: Cli,
    wait: Annotated[bool, typer.Option(help="Wait until the scan is done, and show what it found.")] = True,
    as_json: Json = False,
) -> None:
    """Look which containers there are, and for panes in them that the tower did not make."""
    outcome = cli.command("container", "scan", {})
    scan_id, position = outcome["result"]["scan_id"], outcome["position"]
    answer: Row = {"command_id": outcome["command_id"], "position": position, "scan_id": scan_id}
    if not wait:
        output.say_json(answer) if as_json else output.say(f"Scan {scan_id} is under way")
        return
    done_at, found = _done(cli, scan_id, position)
    containers = list(cli.queries.items("/v1/containers", after=done_at))
    if as_json:
        known = [row for row in containers if row["state"] != "gone"]
        answer |= {"position": done_at, "reason": found["reason"], "containers": known}
        output.say_json({**answer, "unmanaged": found["unmanaged"]})
        return
    _print([row for row in containers if row["state"] != "gone"])
    if found["unmanaged"]:
        output.say()
        _print_panes(found["unmanaged"], {row["id"]: row["name"] for row in containers})
    if found["reason"]:
        output.note(f"Not all could be looked at: {found['reason']}")


def _done(cli: Cli, scan_id: str, position: int) -> tuple[int, Row]:
    """Position and data of the event that ends the scan."""
    query = {"id": scan_id, "type": "container.scanned"}
    try:
        for at, event in cli.queries.stream(query, after=position, timeout_s=SCAN_TIMEOUT_S):
            return at, event["data"]
    except TimeoutError:
        pass
    raise Failure(
        f"scan {scan_id} has not ended within {SCAN_TIMEOUT_S:g} s",
        f"it goes on: `agenttower events query --id {scan_id}` shows its end",
    )


def _print(containers: list[Row]) -> None:
    now = output.now()
    rows = [
        (
            output.container(row["id"]),
            row["name"],
            output.state(row["state"]),
            row["image"] or "-",
            _user(row),
            "-" if row["unmanaged_pane_count"] is None else row["unmanaged_pane_count"],
            output.age(row["scanned_at"], now),
        )
        for row in containers
    ]
    output.table(_COLUMNS, rows, wide=("NAME", "IMAGE"))


def _user(row: Row) -> str:
    return str(row["user"] or ("-" if row["uid"] is None else row["uid"]))


def _print_panes(panes: list[Row], names: dict[str, str]) -> None:
    rows = [
        (
            names.get(pane["container_id"], output.container(pane["container_id"])),
            f"{pane['session_name']}:{pane['window_index']}.{pane['pane_index']}",
            pane["tmux_pane_id"],
            pane["pid"],
            pane["command"],
            pane["title"],
        )
        for pane in panes
    ]
    output.table(("CONTAINER", "PLACE", "TMUX", "PID", "COMMAND", "TITLE"), rows, wide=("COMMAND", "TITLE", "PLACE"))
