"""`agenttower events query|tail`: the audit trail, asked or followed."""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

import typer

from adapters.cli import complete, output, references
from adapters.cli.client import Queries, Row
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure
from adapters.cli.settling import event_name

Kind = Annotated[str | None, typer.Option(metavar="KIND", help="Only of this kind: layout, pane, node, command.")]
Aggregate = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="Only of this layout or pane.", autocompletion=complete.panes),
]
Type = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only of this type, such as pane.state_changed.")
]
Actor = Annotated[str | None, typer.Option(metavar="WHO", help="Only by this actor: host, tower, policy, a container.")]
Correlation = Annotated[str | None, typer.Option("--correlation", metavar="ID", help="Only what came of this command.")]
After = Annotated[int | None, typer.Option("--after", min=0, metavar="POSITION", help="Only after this position.")]

LOOKED_AT: Final = 10_000
"""Latest events searched for the full form of a shortened correlation id."""

_AGO: Final = re.compile(r"(\d+)\s*(s|min|m|h|d)\Z")
_UNITS: Final = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
_FULL_ID_LENGTH: Final = 36


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    register(groups["events"], "query")(query)
    register(groups["events"], "tail")(tail)


def query(
    cli: Cli,
    kind: Kind = None,
    aggregate: Aggregate = None,
    type_: Type = None,
    actor: Actor = None,
    correlation: Correlation = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From this time on: 2026-01-02T03:04:05Z, or 10min, 2h, 3d ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before this time.")] = None,
    after: After = None,
    limit: Annotated[int, typer.Option(min=1, help="Events at most.")] = 50,
    tree: Annotated[bool, typer.Option("--tree", help="Draw causes: command, events, effects, commands.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the event log."""
    queries = cli.queries
    correlation_id = _correlation(queries, correlation)
    found = output.page(
        queries,
        "/v1/events",
        limit=limit if correlation_id is None or not tree else LOOKED_AT,
        kind=kind,
        id=_aggregate(queries, aggregate),
        type=_full_type(type_),
        actor=actor,
        correlation_id=correlation_id,
        since=_time(since, "--since"),
        until=_time(until, "--until"),
        after_position=after,
    )
    if tree:
        from adapters.cli import tree as causes

        roots = causes.build(found["items"])
        if as_json:
            output.say_json({"commands": [causes.as_json(root) for root in roots], "position": found["position"]})
            return
        out = output.console()
        for root in roots:
            output.write(causes.draw(root), out)
    elif as_json:
        output.say_json(found)
        return
    elif found["items"]:
        output.table(EVENT_COLUMNS, [event_cells(event) for event in found["items"]], wide=("WHAT",))
    if not found["items"]:
        output.say("No events match.")
    if not as_json and found["next_cursor"]:
        last = found["items"][-1]["position"]
        output.note(f"There are more than these {len(found['items'])}: --after {last} goes on, --limit shows more.")


def tail(
    cli: Cli,
    kind: Kind = None,
    aggregate: Aggregate = None,
    type_: Type = None,
    actor: Actor = None,
    correlation: Correlation = None,
    after: After = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after this many events.")] = None,
    as_json: Json = False,
) -> None:
    """Follow the event log, one line an event, until interrupted."""
    queries = cli.queries
    wanted = {
        "kind": kind,
        "id": _aggregate(queries, aggregate),
        "type": _full_type(type_),
        "actor": actor,
        "correlation_id": _correlation(queries, correlation),
    }
    out = output.console()
    for seen, (_, event) in enumerate(queries.stream(wanted, after=after), 1):
        if as_json:
            output.say_json(event)
        else:
            out.print(_line(event), overflow="ellipsis", no_wrap=True, crop=True)
        if seen == count:
            return


EVENT_COLUMNS: Final = ("POS", "TIME", "EVENT", "ID", "BY", "WHAT")


def event_cells(event: Row) -> tuple[Any, ...]:
    """One row of `EVENT_COLUMNS`."""
    return (
        event["position"],
        output.clock_time(event["time"]),
        event_name(event),
        output.short(event["subject"]),
        output.container(event["actor"]),
        what(event.get("data", {})),
    )


def what(data: Row) -> str:
    """What an event says beyond its name, in a few words."""
    said: list[str] = []
    if "from" in data and "to" in data:
        said.append(f"{data['from']} -> {data['to']}")
    for key, form in _SAID.items():
        value = data.get(key)
        # Generation 0 is every pane that was not recreated.
        if value not in (None, "", [], ()) and not (key == "chain_depth" and value == 0):
            said.append(form.format(value if not isinstance(value, list) else len(value)))
    return ", ".join(said)


_SAID: Final = {
    "failed_stage": "at {}",
    "code": "{}",
    "verb": "on {}",
    "template_name": "{}",
    "label": "{}",
    "reason": "{}",
    "exit_code": "exit {}",
    "signal": "signal {}",
    "tmux_pane_id": "{}",
    "pid": "pid {}",
    "chain_depth": "generation {}",
    "pane_ids": "{} panes",
}
"""Field of an event's data -> how it is told."""


def _line(event: Row) -> Any:
    from rich.text import Text

    if "type" not in event:
        return Text(
            f"{event['position']:>6} no event of the tower's: {event.get('subject', '')} {event['reason']}", "red"
        )
    position, time, name, subject, by, told = event_cells(event)
    told = Text(told, style=output.STATE_STYLES.get(str(event.get("data", {}).get("to")), ""))
    return Text.assemble((f"{position:>6} ", "dim"), f"{time} {name:<28} {subject} {by:<5} ", told)


def _full_type(name: str | None) -> str | None:
    """`pane.removed` in the form that is recorded; a full name as it is."""
    if name is None or name.startswith("agenttower."):
        return name
    from domain import catalogue

    for entry in catalogue.EVENTS:
        if entry.name == name:
            return entry.wire_name
    known = ", ".join(entry.name for entry in catalogue.EVENTS)
    raise typer.BadParameter(f"there is no event {name!r}; known are {known}", param_hint="--type")


def _aggregate(queries: Queries, reference: str | None) -> str | None:
    if reference is None or len(reference) == _FULL_ID_LENGTH:
        return reference
    try:
        return references.pane_id(queries, reference)
    except Failure as unknown:
        if unknown.code != "managed_pane_not_found":
            raise
    try:
        return references.layout_id(queries, reference)
    except Failure as unknown:
        if unknown.code != "managed_layout_not_found":
            raise
    # Aggregates of other kinds (a node, say) go by their whole name.
    return reference


def _correlation(queries: Queries, reference: str | None) -> str | None:
    if reference is None or len(reference) == _FULL_ID_LENGTH:
        return reference
    known = {
        identifier
        for event in queries.items("/v1/events", most=LOOKED_AT)
        for identifier in (event["correlationid"],)
        if identifier.startswith(reference) or identifier.endswith(reference)
    }
    if len(known) == 1:
        return known.pop()
    if not known:
        return reference
    raise Failure(f"{reference!r} stands for {len(known)} commands", "give more of the id")


def _time(text: str | None, option: str) -> str | None:
    """ISO 8601 with a zone; a time without one is local, and `10min` is ten minutes ago."""
    if text is None:
        return None
    ago = _AGO.match(text.strip())
    if ago is not None:
        return (output.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat().replace("+00:00", "Z")
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-01-02T03:04:05Z, or 10min, 2h, 3d for so long ago", param_hint=option
        ) from error
