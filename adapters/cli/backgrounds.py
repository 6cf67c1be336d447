"""`agenttower background list|start|stop|status` and `agenttower trigger fire|list`."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adapters.cli import complete, output
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register
from adapters.cli.elapsed import spent
from adapters.cli.values import value_of

if TYPE_CHECKING:
    from rich.text import Text

State = Literal["stopped", "starting", "running", "failed"]
Became = Literal["waiting", "running", "completed", "failed", "dropped", "refused"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, or its id.", autocompletion=complete.backgrounds)]

RECENT = 5
"""Firings shown beneath one background session."""


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["background"]
    register(group, "list")(list_)
    register(group, "status")(status)
    register(group, "start")(start)
    register(group, "stop")(stop)
    register(groups["trigger"], "fire")(fire)
    register(groups["trigger"], "list")(triggers)


def list_(
    cli: Cli,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List background sessions: first those that failed, last those that are stopped."""
    page = output.page(cli.queries, "/v1/background-sessions", limit=limit, state=state)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say("No background sessions: declare them in agenttower.yaml, or spawn a bundle that does.")
        return
    now = output.now()
    rows = [
        (
            row["name"],
            output.state(row["state"]),
            row["running"],
            row["waiting"],
            row["trigger_count"],
            output.age(row["last_trigger"], now),
            ", ".join(dict.fromkeys(each["type"] for each in row["definition"]["triggers"])),
        )
        for row in page["items"]
    ]
    columns = ("NAME", "STATE", "RUNNING", "WAITING", "TAKEN", "LAST TRIGGER", "TRIGGERS")
    output.table(columns, rows, wide=("TRIGGERS", "NAME"))
    output.more(page)


def status(cli: Cli, name: Name, as_json: Json = False) -> None:
    """Show one background session, and what it was triggered by lately."""
    found = cli.queries.get(f"/v1/background-sessions/{name}")
    latest = cli.queries.get("/v1/triggers", background=found["id"], limit=RECENT)["items"]
    if as_json:
        output.say_json({**found, "triggers": latest})
        return
    output.card("Background session", found["id"], _lines(found))
    if latest:
        output.say()
        _table(latest)


def _lines(found: Row) -> "list[tuple[str, str | Text]]":
    definition = found["definition"]
    pool = f"{found['running']} of {definition['pool_size']}"
    lines: list[tuple[str, str | Text]] = [
        ("name", found["name"]),
        ("state", output.state(found["state"])),
        ("bundle", definition["bundle"]),
        ("declared", _declared(found)),
        ("running", pool),
        ("waiting", str(found["waiting"]) + (f", for {spent(found['lag'])}" if found["waiting"] else "")),
        ("triggers taken", str(found["trigger_count"])),
    ]
    counts = {"failed": "failed_count", "refused": "refused_count", "dropped": "dropped_count"}
    lines += [(said, str(found[field])) for said, field in counts.items() if found[field]]
    if found["last_trigger"]:
        lines.append(("last trigger", output.second(found["last_trigger"])))
    if found["restart_count"]:
        lines.append(("restarts", f"{found['restart_count']} of {definition['max_restarts']}"))
    if found["error"]:
        lines.append(("error", f"{found['error_type']}: {found['error']}"))
    if found["restart_at"]:
        lines.append(("starts again", output.second(found["restart_at"])))
    how = {each["trigger_index"]: f" ({each['how']})" for each in found["watching"]}
    lines += [("trigger", _trigger(each) + how.get(at, "")) for at, each in enumerate(definition["triggers"])]
    return lines


def _declared(found: Row) -> str:
    if found["source"] == "config":
        return "in agenttower.yaml"
    return f"by {found['bundle']}, session {found['parent_session_id']}"


def _trigger(trigger: Row) -> str:
    config = ", ".join(f"{key} {_short(value)}" for key, value in trigger.get("config", {}).items())
    return f"{trigger['type']}: {config}" if config else trigger["type"]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def start(cli: Cli, name: Name, as_json: Json = False) -> None:
    """Let a background session listen to its triggers."""
    _say(cli.command("background", "start", _named(name)), "starts", as_json)


def stop(cli: Cli, name: Name, as_json: Json = False) -> None:
    """Let a background session take nothing more: what waits is dropped, what runs goes on to its end."""
    _say(cli.command("background", "stop", _named(name)), "is stopped", as_json)


def _named(name: str) -> dict[str, object]:
    return {"background_id" if name.startswith("bg-") else "name": name}


def _say(outcome: Row, said: str, as_json: bool) -> None:
    result = outcome["result"]
    if as_json:
        output.say_json({"command_id": outcome["command_id"], "position": outcome["position"], **result})
        return
    before = ", as before" if result.get("replay") else ""
    output.say(f"Background session {result['background_id']} {said}{before}")


def fire(
    cli: Cli,
    name: Name,
    data: Annotated[
        str | None, typer.Option(help="JSON, or else a text as it stands; - reads it from standard input.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fire the `manual` trigger of a background session."""
    outcome = cli.command("trigger", "fire", {"name": name, "data": value_of(data)})
    result = outcome["result"]
    if as_json:
        output.say_json({"command_id": outcome["command_id"], "position": outcome["position"], **result})
        return
    where = {"run": f"runs as session {result.get('session_id')}", "waiting": "waits for its run"}
    became = where.get(result["state"], f"is refused: {result.get('reason')}")
    output.say(f"Trigger {output.short(result['trigger_id'])} of {result['background_id']} {became}")


def triggers(
    cli: Cli,
    background: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only of this background session.", autocompletion=complete.backgrounds),
    ] = None,
    state: Annotated[Became | None, typer.Option(help="Only those of which this became.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List what triggered background sessions, the latest first, and what became of it."""
    page = output.page(cli.queries, "/v1/triggers", limit=limit, background=background, state=state)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say("No triggers were fired.")
        return
    _table(page["items"])
    output.more(page)


def _table(items: list[Row]) -> None:
    now = output.now()
    rows = [
        (
            output.short(row["id"]),
            row["background_name"],
            row["event_name"] or row["file_path"] or row["type"],
            output.state(row["state"]),
            row["reason"] or row["error_type"] or "-",
            output.age(row["fired_at"], now),
            row["session_name"] or "-",
        )
        for row in items
    ]
    output.table(("ID", "BACKGROUND", "TRIGGER", "STATE", "WHY", "FIRED", "SESSION"), rows, wide=("TRIGGER", "SESSION"))
