"""`agenttower status`: the running tower at a glance."""

import contextlib
from collections import Counter
from typing import Any

import typer

from adapters.cli import output
from adapters.cli.client import Queries
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure

STATES = ("creating", "degraded", "ready", "failed")
OPEN = ("requested", "running", "retrying", "paused")
"""Of executions: those that have ended may be very many."""


def add(app: typer.Typer, _groups: dict[str, typer.Typer]) -> None:
    register(app, "status")(status)


def status(cli: Cli, as_json: Json = False) -> None:
    """Show the running tower: where it is, how far its read models are, what it looks after."""
    found = gather(cli)
    if as_json:
        output.say_json(found)
        return
    _print(found)


def gather(cli: Cli) -> dict[str, Any]:
    """Everything that `status` shows. Raises `Failure` when no tower runs."""
    queries, running = cli.queries, cli.running
    ready = queries.ask("/readyz").body
    node = running.node or queries.get("/healthz")["node"]
    projections: dict[str, Any] = {"position": None, "items": []}
    layouts: dict[str, int] | None = None
    panes: dict[str, int] | None = None
    # Without its database a tower decides commands all the same: what is not known is left out.
    with contextlib.suppress(Failure):
        projections = queries.get("/v1/projections")
        layouts, panes = _by_state(queries, "/v1/layouts"), _by_state(queries, "/v1/panes")
    background: dict[str, int] | None = None
    subscriptions: list[dict[str, Any]] | None = None
    with contextlib.suppress(Failure):  # A bench peer is not told of them.
        background = dict(Counter(row["state"] for row in queries.items("/v1/background-sessions")))
        subscriptions = queries.get("/v1/session-events/subscriptions")["items"]
    executions: dict[str, int] | None = None
    with contextlib.suppress(Failure):  # A bench peer is not told of them.
        executions = {state: sum(1 for _ in queries.items("/v1/executions", state=state)) for state in OPEN}
    return {
        **running.as_json(),
        "node": node,
        "home": str(cli.place.home),
        "uptime_s": round(max(0.0, output.now().timestamp() - running.since), 1),
        "ready": bool(isinstance(ready, dict) and ready.get("ready")),
        "checks": ready.get("checks", {}) if isinstance(ready, dict) else {},
        "position": projections["position"],
        "projections": projections["items"],
        "layouts": layouts,
        "panes": panes,
        "executions": executions,
        "background": background,
        "subscriptions": subscriptions,
    }


def _by_state(queries: Queries, path: str) -> dict[str, int]:
    """How many rows are in each state but `removed`, which stand at the end of the list and may be very many."""
    counts: Counter[str] = Counter()
    for row in queries.items(path):
        if row["state"] == "removed":
            break
        counts[row["state"]] += 1
    return {state: counts[state] for state in STATES}


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    out = output.console()
    if found["ready"]:
        ready = Text("ready", style="green")
    else:
        reasons = [f"{name}: {check.get('reason')}" for name, check in found["checks"].items() if not check.get("ok")]
        ready = Text("not ready: " + ("; ".join(reasons) or "it does not say why"), style="red")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    if found["pid"]:
        grid.add_row("tower", Text.assemble(f"node {found['node']}, pid {found['pid']}, ", ready))
        grid.add_row("uptime", output.duration(found["uptime_s"]))
    else:
        # Over the bench socket it does not say where it is.
        grid.add_row("tower", Text.assemble(f"node {found['node']}, ", ready))
    for name in ("http", "nats", "tmux", "home") if found["pid"] else ("http",):
        shown = output.address(found[name]) if name == "nats" else found[name]
        grid.add_row({"nats": "broker"}.get(name, name), shown)
    grid.add_row("log", "not known" if found["position"] is None else f"{found['position']} events")
    for name in ("layouts", "panes", "executions", "background"):
        grid.add_row(name, _counts(found[name]))
    if found["subscriptions"]:
        grid.add_row("subscriptions", _lags(found["subscriptions"]))
    output.write(grid, out)
    end: int = found["position"] or 0
    if found["projections"]:
        output.say()
        output.table(PROJECTION_COLUMNS, [projection_cells(row, end) for row in found["projections"]])


PROJECTION_COLUMNS = ("READ MODEL", "STATE", "POSITION", "LAG", "REASON")


def projection_cells(row: dict[str, Any], end: int) -> tuple[Any, ...]:
    """One row of `PROJECTION_COLUMNS`; `end` is the log's last position."""
    lag = row.get("lag", max(0, end - row["position"]))
    return row["name"], output.state(row["state"]), row["position"], lag, row.get("reason") or "-"


def _lags(subscriptions: list[dict[str, Any]]) -> str:
    """How many, and which ones are behind."""
    behind = [f"{each['id']} is {each['lag']} events behind" for each in subscriptions if each["lag"]]
    return "; ".join([str(len(subscriptions)), *behind])


def _counts(counts: dict[str, int] | None) -> Any:
    from rich.text import Text

    said = Text("not known" if counts is None else "none")
    parts = [Text.assemble(f"{count} ", output.state(state)) for state, count in (counts or {}).items() if count]
    return Text(", ").join(parts) if parts else said
