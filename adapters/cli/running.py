"""`agenttower exec run|follow`: Python code in a worker of the tower, as if it ran in this terminal."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from adapters.cli import complete, output, references
from adapters.cli.answering import Lines, keyboard, standard_input
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json
from adapters.cli.failures import Failure
from adapters.cli.watching import Watched, watch

ExecutionReference = Annotated[
    str,
    typer.Argument(metavar="EXECUTION", help="Id, its beginning or end.", autocompletion=complete.executions),
]


def run(
    cli: Cli,
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="Python file; - reads standard input.")] = None,
    code: Annotated[str | None, typer.Option("-c", metavar="CODE", help="The code itself.")] = None,
    session: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Run in this session, whose names live on; made if it is new."),
    ] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="It ends after so long.")] = None,
    follow: Annotated[bool, typer.Option(help="Show what it prints, as it does.")] = True,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Only start it, and print its id.")] = False,
    retry_safe: Annotated[
        bool, typer.Option("--retry-safe", help="It may run again when the tower or its worker dies in the midst.")
    ] = False,
    max_attempts: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Run it again when it fails, N times in all.")
    ] = None,
    priority: Annotated[int, typer.Option(min=0, max=9, help="Of those that wait, 9 goes first.")] = 4,
    concurrency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="One at a time runs for a key, in order.")
    ] = None,
    reject_busy: Annotated[
        bool, typer.Option("--reject-busy", help="Be refused when the session is busy, rather than wait.")
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Asked again with the same key, nothing runs twice.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run Python code, and stay with it: its output, its questions, its last value.

    Questions (input) are answered from standard input. Ctrl-C cancels it; a second Ctrl-C leaves it to itself. Exit
    code 0 when it completed, n for sys.exit(n), else 1.
    """
    text = _code(file, code)
    retry = {"safe": retry_safe, **({} if max_attempts is None else {"max_attempts": max_attempts})}
    wanted: dict[str, object] = {
        "code": text,
        "session_id": session,
        "timeout": timeout,
        "retry": retry if retry_safe or max_attempts is not None else None,
        "priority": priority,
        "concurrency_key": concurrency_key,
        "when_busy": "reject" if reject_busy else "queue",
    }
    outcome = cli.command("execution", "request", wanted, idempotency_key)
    result, position = outcome["result"], outcome["position"]
    execution_id = result["execution_id"]
    if detach:
        said = {"command_id": outcome["command_id"], "position": position, **result}
        output.say_json(said) if as_json else output.say(execution_id)
        return
    lines = keyboard() if file == "-" else standard_input()
    _stay(cli, execution_id, position, lines, follow=follow, as_json=as_json)


def follow_(cli: Cli, execution: ExecutionReference, as_json: Json = False) -> None:
    """Show what an execution printed, and stay with it until it ends, as `exec run` does."""
    position = cli.queries.get("/v1/executions", limit=1)["position"]
    execution_id = references.execution_id(cli.queries, execution)
    _stay(cli, execution_id, position, standard_input(), follow=True, as_json=as_json)


def _code(file: str | None, code: str | None) -> str:
    if (file is None) == (code is None):
        raise typer.BadParameter("give one of FILE, - for standard input, or -c CODE", param_hint="FILE")
    if code is not None:
        return code
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(str(file)).read_bytes()
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = "standard input" if file == "-" else file
        raise Failure(f"{name} is not UTF-8, at byte {error.start}") from error


def _stay(cli: Cli, execution_id: str, position: int, lines: Lines, *, follow: bool, as_json: bool) -> None:
    """Until it ends; then this process ends as it did."""
    with lines:
        watched = watch(cli, execution_id, position, lines, shows=follow, quiet=as_json)
    if as_json:
        row = cli.queries.get(f"/v1/executions/{execution_id}", after=watched.position)
        printed = {"stdout": "".join(watched.stdout), "stderr": "".join(watched.stderr)} if follow else {}
        output.say_json({**row, **printed})
    else:
        _say_end(execution_id, watched)
    code = exit_code(watched)
    if code:
        raise typer.Exit(code)


def exit_code(watched: Watched) -> int:
    """0 completed, n for `sys.exit(n)`, else 1."""
    if watched.state == "completed":
        return 0
    error = watched.data.get("error") or {}
    if watched.state == "failed" and error.get("exception_type") == "SystemExit":
        return int(error.get("exit_code") or 0)
    return 1


def _say_end(execution_id: str, watched: Watched) -> None:
    """The value on stdout, as Python's prompt shows it; else on stderr what went wrong."""
    data = watched.data
    if watched.state == "completed":
        if data.get("repr") not in (None, "None"):
            output.say(data["repr"] + (" …" if data.get("truncated") else ""))
        if data.get("value_digest"):
            output.note(f"The whole value: GET /v1/executions/{execution_id}/value, {data['value_bytes']} bytes")
        return
    error = data.get("error") or {}
    if watched.state == "failed":
        _say_error(error)
        return
    if error.get("traceback"):
        output.note(error["traceback"].rstrip("\n"))
    output.note(f"Execution {output.short(execution_id)} {_ENDINGS[watched.state]}{_restarted(data)}")


_ENDINGS: Final = {
    "cancelled": "is cancelled",
    "timed_out": "timed out",
    "lost": "is lost: the tower ended while it ran, and nobody knows how far it came",
    "paused": "is paused, no attempt is left: `agenttower exec resume` runs it again, `exec cancel` ends it",
}


def _restarted(data: Row) -> str:
    return (
        "; its worker was ended with it: names are those of the last checkpoint" if data.get("worker_restarted") else ""
    )


def _say_error(error: dict[str, Any]) -> None:
    """As Python would: the traceback; of `sys.exit(text)` the text alone."""
    message = error.get("message", "")
    if error.get("exception_type") == "SystemExit":
        if message not in ("", "None", str(error.get("exit_code"))):
            output.note(message)
    elif error.get("traceback"):
        output.note(error["traceback"].rstrip("\n"))
    else:
        output.note(f"{error.get('code') or error.get('exception_type', 'failed')}: {message}")
