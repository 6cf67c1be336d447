"""`agenttower exec list|show|cancel|resume|input`; `run` and `follow` have a file of their own."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from adapters.cli import output, references
from adapters.cli.answering import standard_input
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register
from adapters.cli.elapsed import spent
from adapters.cli.failures import Failure
from adapters.cli.running import ExecutionReference, follow_, run

if TYPE_CHECKING:
    from rich.text import Text

State = Literal["requested", "running", "retrying", "paused", "completed", "failed", "cancelled", "timed_out", "lost"]

_SHOWN: Final = (
    ("session_id", "session"),
    ("state", "state"),
    ("attempt", "attempt"),
    ("due_at", "next attempt"),
    ("requested_at", "requested"),
    ("started_at", "started"),
    ("ended_at", "ended"),
    ("execution_time", "took"),
    ("truncated_bytes", "output not kept"),
    ("timeout_s", "time limit"),
    ("priority", "priority"),
    ("concurrency_key", "concurrency key"),
    ("idempotency_key", "idempotency key"),
    ("mode", "mode"),
    ("children", "processes left"),
    ("worker_restarted", "worker restarted"),
    ("value_bytes", "bytes of value"),
)
"""Field of an execution -> how `show` calls it, in this order."""

_USUAL: Final = {"priority": 4, "children": 0, "mode": "unknown"}
"""What goes without saying."""


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["exec"]
    register(group, "run")(run)
    register(group, "follow")(follow_)
    register(group, "list")(list_)
    register(group, "show")(show)
    register(group, "cancel")(cancel)
    register(group, "resume")(resume)
    register(group, "input")(input_)


def list_(
    cli: Cli,
    state: Annotated[State | None, typer.Option(help="Only executions in this state.")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Only executions of this session.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List executions: first those that have not ended, then newest first."""
    page = output.page(cli.queries, "/v1/executions", limit=limit, state=state, session_id=session)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say("No executions. `agenttower exec run -c '1 + 1'` makes one.")
        return
    now = output.now()
    rows = [
        (
            output.short(row["id"]),
            "-" if row.get("throwaway") else row["session_id"],
            output.state(row["state"]),
            row.get("attempt") or "-",
            _took(row),
            output.age(row.get("requested_at") or output.made_at(row["id"]), now),
            output.first_line(row.get("code")),
        )
        for row in page["items"]
    ]
    output.table(("ID", "SESSION", "STATE", "ATTEMPT", "TOOK", "REQUESTED", "CODE"), rows, wide=("CODE", "SESSION"))
    output.more(page)


def _took(row: Row) -> str:
    took = row.get("execution_time")
    return "-" if took is None or not row.get("ended_at") else spent(took)


def show(cli: Cli, execution: ExecutionReference, as_json: Json = False) -> None:
    """Show one execution: its code, how it went, what it asks."""
    found = cli.queries.get(f"/v1/executions/{references.execution_id(cli.queries, execution)}")
    if as_json:
        output.say_json(found)
    else:
        _print(found)


def cancel(
    cli: Cli,
    execution: ExecutionReference,
    whole_session: Annotated[
        bool, typer.Option("--session", help="Also tasks that earlier executions of its session left running.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Cancel an execution: one that runs is interrupted, one that waits never runs."""
    execution_id = references.execution_id(cli.queries, execution)
    data: dict[str, object] = {"execution_id": execution_id, "scope": "session" if whole_session else "execution"}
    outcome = cli.command("execution", "cancel", data)
    if as_json:
        output.say_json(_said(outcome, execution_id))
        return
    state = outcome["result"].get("state")
    output.say(f"Execution {execution_id} is {'cancelled' if state == 'cancelled' else 'told to end'}")


def resume(cli: Cli, execution: ExecutionReference, as_json: Json = False) -> None:
    """Run a paused execution again."""
    execution_id = references.execution_id(cli.queries, execution)
    outcome = cli.command("execution", "resume", {"execution_id": execution_id})
    if as_json:
        output.say_json(_said(outcome, execution_id))
    else:
        output.say(f"Execution {execution_id} waits for its turn")


def input_(
    cli: Cli,
    execution: ExecutionReference,
    value: Annotated[str | None, typer.Argument(help="The answer; read from standard input if it is -.")] = None,
    number: Annotated[
        int | None, typer.Option("--n", min=1, help="The n-th question, not the oldest open one.")
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="There is no more input: EOFError in the code.")] = False,
    as_json: Json = False,
) -> None:
    """Answer what an execution asks. Without VALUE it is read from the terminal, a secret one without echo."""
    if end and value is not None:
        raise typer.BadParameter("give a value or --end", param_hint="--end")
    execution_id = references.execution_id(cli.queries, execution)
    found = cli.queries.get(f"/v1/executions/{execution_id}")
    if not end and (value is None or value == "-"):
        value = _read(found, number)
    outcome = cli.command(
        "execution",
        "answer",
        {"execution_id": execution_id, "value": value, **({} if number is None else {"n": number})},
        nulls=True,
    )
    if as_json:
        output.say_json(_said(outcome, execution_id))
    else:
        output.say(f"Execution {execution_id} has its answer")


def _read(found: Row, number: int | None) -> str | None:
    """A line of standard input; on a terminal under the question itself."""
    asked = [question for question in found.get("input_requests") or () if number in (None, question["n"])]
    with standard_input() as lines:
        if lines.is_terminal:
            if not asked:
                raise Failure(f"execution {found['id']} is {found['state']} and asks nothing now")
            sys.stderr.write(str(asked[0].get("prompt") or "> "))
            sys.stderr.flush()
            if asked[0].get("secret"):
                lines.hide()
        while not lines.is_ready:
            lines.read()
        return lines.take()


def _said(outcome: Row, execution_id: str) -> Row:
    return {
        "command_id": outcome["command_id"],
        "position": outcome["position"],
        "execution_id": execution_id,
        **outcome["result"],
    }


def _print(row: Row) -> None:
    from rich.text import Text

    lines = [
        (name, _shown(field, row[field]))
        for field, name in _SHOWN
        if row.get(field) not in (None, "", False) and row[field] != _USUAL.get(field)
    ]
    for question in row.get("input_requests") or ():
        secret = " (secret)" if question.get("secret") else ""
        lines.append((f"asks ({question['n']})", f"{question.get('prompt') or '…'}{secret}"))
    output.card("Execution", row["id"], lines)
    out = output.console()
    for name, text in (("code", row.get("code")), ("value", _value(row)), ("error", _error(row.get("error")))):
        if text:
            output.say()
            output.write(Text(name, style="bold"), out)
            output.write(Text(text.rstrip("\n")), out)


def _shown(field: str, value: Any) -> "str | Text":
    if field == "state":
        return output.state(value)
    if field in ("execution_time", "timeout_s"):
        return spent(value)
    if field.endswith("_at"):
        return output.second(value)
    return "yes" if value is True else str(value)


def _value(row: Row) -> str | None:
    return None if row["state"] != "completed" or row.get("repr") in (None, "None") else row["repr"]


def _error(error: Row | None) -> str | None:
    if not error:
        return None
    return error.get("traceback") or f"{error.get('code') or error.get('exception_type')}: {error.get('message')}"
