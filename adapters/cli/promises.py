"""`agenttower promise list|show|create|resolve|reject|cancel`."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adapters.cli import complete, output, references
from adapters.cli.command import Cli, Json, register
from adapters.cli.elapsed import spent
from adapters.cli.values import value_of

if TYPE_CHECKING:
    from rich.text import Text

State = Literal["pending", "resolved", "rejected", "cancelled", "timed_out"]

PromiseReference = Annotated[
    str, typer.Argument(metavar="PROMISE", help="Id, its beginning or end.", autocompletion=complete.promises)
]
Value = Annotated[str | None, typer.Argument(help="JSON, or else a text as it stands; - reads it from standard input.")]


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["promise"]
    register(group, "list")(list_)
    register(group, "show")(show)
    register(group, "create")(create)
    register(group, "resolve")(resolve)
    register(group, "reject")(reject)
    register(group, "cancel")(cancel)


def list_(
    cli: Cli,
    state: Annotated[State | None, typer.Option(help="Only promises in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List promises, those of executions with them: first those that are pending, then newest first."""
    page = output.page(cli.queries, "/v1/promises", limit=limit, state=state)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say("No promises. `agenttower promise create ID` makes one.")
        return
    now = output.now()
    rows = [
        (
            _name(row),
            output.state(row["state"]),
            _left(row, now),
            output.age(row.get("created_at"), now),
            _about(row),
        )
        for row in page["items"]
    ]
    output.table(("ID", "STATE", "TIME LEFT", "MADE", "ABOUT"), rows, wide=("ABOUT", "ID"))
    output.more(page)


def _name(row: dict[str, Any]) -> str:
    """An end of the id that is enough to name it by."""
    execution_id = row.get("execution_id")
    return (
        row["id"].removeprefix("exec:").replace(execution_id, output.short(execution_id)) if execution_id else row["id"]
    )


def _left(row: dict[str, Any], now: Any) -> str:
    if row["state"] != "pending" or not row.get("deadline"):
        return "-"
    return spent(max(0.0, (output.when(row["deadline"]) - now).total_seconds()))


def _about(row: dict[str, Any]) -> str:
    """What it was settled with; of one that is pending, what it is made for."""
    if row["state"] != "pending":
        return "" if row.get("value") is None else json.dumps(row["value"], ensure_ascii=False)
    data = row.get("data")
    if row.get("purpose") == "execution":
        return "the end of the execution"
    if isinstance(data, dict) and data.get("kind") == "input":
        return f"asks: {data.get('prompt') or '…'}"
    return "" if data is None else json.dumps(data, ensure_ascii=False)


def show(
    cli: Cli,
    promise: PromiseReference,
    wait: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Wait so long until it is settled.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one promise."""
    promise_id = references.promise_id(cli.queries, promise)
    found = cli.queries.get(f"/v1/promises/{promise_id}", wait=wait)
    if as_json:
        output.say_json(found)
        return
    names = ("state", "owner", "created_at", "deadline", "settled_at", "data", "value")
    values = ((name, found.get(name)) for name in names)
    output.card(
        "Promise",
        found["id"],
        [(name.removesuffix("_at"), _shown(name, value)) for name, value in values if value is not None],
    )


def _shown(name: str, value: Any) -> "str | Text":
    if name == "state":
        return output.state(value)
    if name in ("created_at", "deadline", "settled_at"):
        return output.second(value)
    return value if name == "owner" else json.dumps(value, ensure_ascii=False)


def create(
    cli: Cli,
    promise_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="1 to 128 of A-Z a-z 0-9 _ : -; made up if none is given.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="It times out then; without one it waits for ever.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="What it is about: JSON, or a text.")] = None,
    as_json: Json = False,
) -> None:
    """Make a promise, for somebody to settle."""
    wanted: dict[str, object] = {"id": promise_id, "timeout": timeout, "data": value_of(data)}
    _say(cli.command("promise", "create", wanted), as_json)


def resolve(cli: Cli, promise: PromiseReference, value: Value = None, as_json: Json = False) -> None:
    """Keep a promise, with a value."""
    _settle(cli, "resolve", promise, value, as_json)


def reject(cli: Cli, promise: PromiseReference, value: Value = None, as_json: Json = False) -> None:
    """Break a promise, with a reason."""
    _settle(cli, "reject", promise, value, as_json)


def cancel(cli: Cli, promise: PromiseReference, value: Value = None, as_json: Json = False) -> None:
    """Take a promise back."""
    _settle(cli, "cancel", promise, value, as_json)


def _settle(cli: Cli, verb: str, promise: str, value: str | None, as_json: bool) -> None:
    promise_id = references.promise_id(cli.queries, promise)
    _say(cli.command("promise", verb, {"id": promise_id, "value": value_of(value)}), as_json)


def _say(outcome: dict[str, Any], as_json: bool) -> None:
    result = outcome["result"]
    if as_json:
        output.say_json({"command_id": outcome["command_id"], "position": outcome["position"], **result})
        return
    before = ", as it was before" if result.get("replay") else ""
    output.say(f"Promise {result['promise_id']} is {result['state']}{before}")
