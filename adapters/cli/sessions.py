"""`agenttower session spawn|list|show|instruct|resume|cancel|end|attach`, and `checkpoint|restore|fork` of names."""

import sys
import threading
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from adapters.cli import complete, output, references
from adapters.cli.attending import attach
from adapters.cli.client import Row
from adapters.cli.command import Cli, Json, register
from adapters.cli.conversing import Turned, converse
from adapters.cli.elapsed import spent
from adapters.cli.failures import Failure

State = Literal["waiting", "running", "completed", "error", "cancelled", "timed_out"]
Depth = Literal["none", "recent", "all"]
Scope = Literal["conversation", "agents", "full"]

SessionReference = Annotated[
    str, typer.Argument(metavar="SESSION", help="Id, its beginning or end.", autocompletion=complete.sessions)
]
Instruction = Annotated[str, typer.Argument(metavar="INSTRUCTION", help="What to do; - reads standard input.")]

PREPARING_S: Final = 120.0
"""How long a bundle that is being prepared is waited for; one in git may have to be fetched."""

AGAIN_S: Final = 0.3

_SHOWN: Final = (
    ("session_name", "name"),
    ("state", "state"),
    ("bundle_name", "bundle"),
    ("runtime", "runtime"),
    ("parent_session_id", "parent"),
    ("background", "in the background"),
    ("stale", "bundle loaded anew since"),
    ("turn_count", "turns completed"),
    ("waiting", "instructions waiting"),
    ("timeout_s", "time limit"),
    ("created_at", "spawned"),
    ("rested_at", "at rest since"),
    ("ended_at", "ended"),
    ("error_type", "error"),
    ("exit_code", "exit code"),
)
"""Field of a session -> how `show` calls it, in this order."""


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    group = groups["session"]
    for name, function in (
        ("spawn", spawn),
        ("list", list_),
        ("show", show),
        ("instruct", instruct),
        ("resume", resume),
        ("cancel", cancel),
        ("end", end),
        ("attach", attach),
        ("checkpoint", checkpoint),
        ("restore", restore),
        ("fork", fork),
    ):
        register(group, name)(function)


def spawn(
    cli: Cli,
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Path, URI or name of a bundle.")],
    instruction: Instruction,
    name: Annotated[str | None, typer.Option(help="Its name; the bundle's without one.")] = None,
    session_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id; made up without one.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="SESSION", help="The session that it is spawned below.")] = None,
    agent: Annotated[
        bool, typer.Option("--agent", help="BUNDLE is an agent of the parent's bundle, or `self`.")
    ] = False,
    inherit_tools: Annotated[bool, typer.Option("--inherit-tools", help="Also has the parent's tools.")] = False,
    inherit_hooks: Annotated[bool, typer.Option("--inherit-hooks", help="Also has the parent's hooks.")] = False,
    inherit_providers: Annotated[bool, typer.Option(help="Has the parent's providers if it has none.")] = True,
    context_depth: Annotated[Depth, typer.Option(help="How much of what the parent said it knows.")] = "none",
    context_scope: Annotated[Scope, typer.Option(help="Whose words these are.")] = "conversation",
    context_turns: Annotated[int, typer.Option(min=1, help="With --context-depth recent: how many turns.")] = 5,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="It ends after so long.")] = None,
    background: Annotated[bool, typer.Option("--background", "-d", help="Only start it, and print its id.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Asked again with the same key, nothing starts twice.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Spawn a session from a bundle, and stay with it: what it says, as it says it.

    Ctrl-C cancels it; a second Ctrl-C leaves it to itself. Exit code 0 when it completed, else 1.
    """
    data: dict[str, object] = {
        "bundle": None if agent else located(bundle),
        "agent": bundle if agent else None,
        "instruction": _text(instruction),
        "parent_session_id": None if parent is None else references.session_id(cli.queries, parent),
        "session_id": session_id,
        "session_name": name,
        "inherit_providers": inherit_providers,
        "inherit_tools": inherit_tools,
        "inherit_hooks": inherit_hooks,
        "context_depth": context_depth,
        "context_scope": context_scope,
        "context_turns": context_turns,
        "timeout": timeout,
        "background": background,
    }
    outcome = _prepared(cli, data, idempotency_key)
    if background:
        said = _said(outcome)
        output.say_json(said) if as_json else output.say(said["session_id"])
        return
    _stay(cli, outcome, as_json=as_json)


def located(bundle: str) -> str:
    """As the tower finds it, which has another working directory: a path of here is made absolute."""
    path = Path(bundle)
    if "://" in bundle or path.is_absolute():
        return bundle
    is_path = bundle.startswith(("./", "../", "~")) or path.suffix in (".md", ".yaml", ".yml") or path.exists()
    return str(path.expanduser().resolve()) if is_path else bundle


def _prepared(cli: Cli, data: dict[str, object], idempotency_key: str | None) -> Row:
    """The outcome, once the bundle is prepared."""
    from adapters.system import SystemClock

    clock, waiting = SystemClock(), threading.Event()
    until = clock.monotonic() + PREPARING_S
    while True:
        try:
            return cli.command("session", "spawn", data, idempotency_key)
        except Failure as failure:
            if failure.code != "tower_busy" or clock.monotonic() > until:
                raise
        waiting.wait(AGAIN_S)


def list_(
    cli: Cli,
    state: Annotated[State | None, typer.Option(help="Only sessions in this state.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="Only sessions below this one.")] = None,
    bundle: Annotated[str | None, typer.Option(metavar="NAME", help="Only sessions from this bundle.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List sessions: first those that have something to do, then newest first."""
    query = {"state": state, "parent_session_id": parent, "bundle_name": bundle}
    page = output.page(cli.queries, "/v1/sessions", limit=limit, **query)
    if as_json:
        output.say_json(page)
        return
    if not page["items"]:
        output.say("No sessions. `agenttower session spawn BUNDLE INSTRUCTION` starts one.")
        return
    now = output.now()
    rows = [
        (
            output.short(row["id"]),
            row["session_name"] + (" (stale)" if row["stale"] else ""),
            row["bundle_name"],
            output.state(row["state"]),
            row["turn_count"],
            output.age(row["created_at"], now),
            output.first_line(row["instruction"]),
        )
        for row in page["items"]
    ]
    headings = ("ID", "NAME", "BUNDLE", "STATE", "TURNS", "SPAWNED", "INSTRUCTION")
    output.table(headings, rows, wide=("INSTRUCTION", "NAME"))
    output.more(page)


def show(
    cli: Cli,
    session: SessionReference,
    transcript: Annotated[bool, typer.Option("--transcript", help="What was said, whole.")] = False,
    as_json: Json = False,
) -> None:
    """Show one session: its bundle, its turns, what it said last."""
    session_id = references.session_id(cli.queries, session)
    if transcript:
        said = cli.queries.get(f"/v1/sessions/{session_id}/transcript")
        output.say_json(said) if as_json else _print_transcript(said)
        return
    found = cli.queries.get(f"/v1/sessions/{session_id}")
    output.say_json(found) if as_json else _print(found)


def instruct(cli: Cli, session: SessionReference, instruction: Instruction, as_json: Json = False) -> None:
    """Give a session a further instruction, and stay with it."""
    data: dict[str, object] = {
        "session_id": references.session_id(cli.queries, session),
        "instruction": _text(instruction),
    }
    _stay(cli, cli.command("session", "instruct", data), as_json=as_json)


def resume(
    cli: Cli,
    session: SessionReference,
    instruction: Annotated[
        str | None, typer.Argument(metavar="[INSTRUCTION]", help="What to do; - reads standard input.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="It ends after so long.")] = None,
    as_json: Json = False,
) -> None:
    """Let a session go on after an error or a time-out: with what waits, and with INSTRUCTION."""
    session_id = references.session_id(cli.queries, session)
    text = None if instruction is None else _text(instruction)
    outcome = cli.command("session", "resume", {"session_id": session_id, "instruction": text, "timeout": timeout})
    if "turn" in outcome["result"]:
        _stay(cli, outcome, as_json=as_json)
    elif as_json:
        output.say_json(_said(outcome))
    else:
        output.say(f"Session {session_id} goes on")


def cancel(cli: Cli, session: SessionReference, as_json: Json = False) -> None:
    """End a session on purpose, with those below it that somebody waits for."""
    _ended(cli, session, "cancel", "is cancelled", as_json=as_json)


def end(cli: Cli, session: SessionReference, as_json: Json = False) -> None:
    """Let a session take no further instruction; what waits is still done."""
    _ended(cli, session, "end", "takes no further instruction", as_json=as_json)


def _ended(cli: Cli, session: str, verb: str, done: str, *, as_json: bool) -> None:
    session_id = references.session_id(cli.queries, session)
    outcome = cli.command("session", verb, {"session_id": session_id})
    if as_json:
        output.say_json(_said(outcome))
        return
    told = "is told to end" if outcome["result"].get("state") == "running" and verb == "cancel" else done
    output.say(f"Session {session_id} {told}")


# --- names of Python sessions --------------------------------------------------------------------------------------

NamesOf = Annotated[str, typer.Argument(metavar="SESSION", help="Id of a session of executions.")]


def checkpoint(
    cli: Cli,
    session: NamesOf,
    verify: Annotated[bool, typer.Option("--verify", help="Load each name in another process to prove it.")] = False,
    as_json: Json = False,
) -> None:
    """Save the names of a Python session, when what waits there is done."""
    _names(cli, "checkpoint", {"session_id": session, "verify": verify}, "will be saved", as_json=as_json)


def restore(
    cli: Cli,
    session: NamesOf,
    checkpoint_: Annotated[
        str | None, typer.Option("--checkpoint", metavar="DIGEST", help="Not the last one, but this one.")
    ] = None,
    strategy: Annotated[
        Literal["overwrite", "preserve", "smart"], typer.Option(help="What becomes of names that are there.")
    ] = "overwrite",
    clear: Annotated[bool, typer.Option("--clear", help="Without the names that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Merge the names of a checkpoint into those of a Python session."""
    data = {"session_id": session, "checkpoint": checkpoint_, "strategy": strategy, "clear_existing": clear}
    _names(cli, "restore", data, "will be restored", as_json=as_json)


def fork(
    cli: Cli,
    source: Annotated[str, typer.Argument(metavar="FROM", help="A session, a checkpoint's digest, or an execution.")],
    session_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Of the new session.")] = None,
    as_json: Json = False,
) -> None:
    """A new Python session that starts with the names of a checkpoint."""
    outcome = cli.command("session", "fork", {"from": source, "session_id": session_id})
    output.say_json(_said(outcome)) if as_json else output.say(outcome["result"]["session_id"])


def _names(cli: Cli, verb: str, data: dict[str, Any], done: str, *, as_json: bool) -> None:
    outcome = cli.command("session", verb, data)
    output.say_json(_said(outcome)) if as_json else output.say(f"The names of session {data['session_id']} {done}")


# --- shared --------------------------------------------------------------------------------------------------------


def _text(instruction: str) -> str:
    if instruction != "-":
        return instruction
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure(f"standard input is not UTF-8, at byte {error.start}") from error


def _stay(cli: Cli, outcome: Row, *, as_json: bool) -> None:
    """Until the turn has ended; then this process ends as it did."""
    result = outcome["result"]
    session_id, turn = result["session_id"], int(result["turn"])
    # A repeat is answered with what was there: its turn may have ended long ago.
    since = 0 if result.get("replay") else outcome["position"]
    turned = converse(cli, session_id, turn, since, quiet=as_json)
    if as_json:
        row = cli.queries.get(f"/v1/sessions/{session_id}", after=turned.position)
        output.say_json(
            {**_said(outcome), "state": turned.state, "turn_count": row["turn_count"], "output": turned.text}
        )
    else:
        _say_end(session_id, turned)
    if turned.state != "completed":
        raise typer.Exit(1)


def _say_end(session_id: str, turned: Turned) -> None:
    """On stderr what went wrong."""
    short = output.short(session_id)
    match turned.state:
        case "error":
            output.note(f"{turned.data['error_type']}: {turned.data['error']}")
            output.note(f"`agenttower session resume {short} …` lets session {short} go on")
        case "timed_out":
            output.note(f"Session {short} timed out; `agenttower session resume {short} …` lets it go on")
        case "cancelled":
            output.note(f"Session {short} is cancelled")
        case _:
            pass


def _said(outcome: Row) -> Row:
    return {"command_id": outcome["command_id"], "position": outcome["position"], **outcome["result"]}


def _print(row: Row) -> None:
    from rich.text import Text

    lines: list[tuple[str, str | Text]] = []
    for field, name in _SHOWN:
        value = row.get(field)
        if value not in (None, "", False, 0):
            lines.append((name, output.state(value) if field == "state" else _shown(field, value)))
    lines += [("warning", warning) for warning in row["warnings"]]
    output.card("Session", row["id"], lines)
    out = output.console()
    for turn in row["turns"]:
        output.say()
        took = "" if turn["execution_time"] is None else f" {spent(turn['execution_time'])}"
        head = (f"turn {turn['turn']}", "bold"), " ", output.state(turn["state"]), took
        output.write(Text.assemble(*head), out)
        output.write(Text(f"> {output.first_line(turn['instruction'])}", style="dim"), out)
        if turn["output"]:
            output.write(Text(turn["output"].rstrip("\n")), out)
        if turn["error"]:
            output.write(Text(f"{turn['error_type']}: {turn['error']}"), out)


def _shown(field: str, value: Any) -> str:
    if field == "timeout_s":
        return spent(value)
    if field.endswith("_at"):
        return output.when(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return "yes" if value is True else str(value)


def _print_transcript(said: Row) -> None:
    from rich.text import Text

    out = output.console()
    for message in said["messages"]:
        name = "" if message["name"] is None else f" {message['name']}"
        output.write(Text(f"{message['role']}{name}", style="bold"), out)
        output.write(Text(message["content"].rstrip("\n")), out)
