"""`agenttower events emit|wait`: what sessions tell each other, from a terminal."""

import json
from typing import Annotated, Any

import typer

from adapters.cli import complete, output
from adapters.cli.client import Sent
from adapters.cli.command import Cli, Json, register
from adapters.cli.failures import Failure
from adapters.cli.values import value_of

Names = Annotated[list[str], typer.Argument(metavar="NAME…", help="work:completed, work:*, or * for all.")]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="SESSION", help="Only what this session tells; may be given several times."),
]


def add(_app: typer.Typer, groups: dict[str, typer.Typer]) -> None:
    register(groups["events"], "emit")(emit)
    register(groups["events"], "wait")(wait)


def emit(
    cli: Cli,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Two words with a colon between: work:completed.")],
    data: Annotated[
        str | None, typer.Option(help="JSON, or else a text as it stands; - reads it from standard input.")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(metavar="SESSION", help="The session that tells it.", autocompletion=complete.sessions),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell sessions and whoever else listens that something happened."""
    outcome = cli.command("session", "emit", {"name": name, "data": value_of(data), "session_id": session})
    result = outcome["result"]
    if as_json:
        output.say_json({"command_id": outcome["command_id"], "position": outcome["position"], **result})
        return
    output.say(f"Told {result['name']} at position {outcome['position']}")


def wait(
    cli: Cli,
    names: Names,
    source: Sources = None,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="POSITION", help="From behind this position; without it from now on.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="End after so many.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.001, help="Give up then; without it wait for ever.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Wait for something that a session tells; `session:completed`, `session:error`, `session:end` are told too."""
    query = {"name": names, "source": source or None}
    told = cli.queries.server_sent("/v1/session-events/stream", query, after=after, timeout_s=timeout)
    try:
        for seen, sent in enumerate(told, 1):
            if as_json:
                output.say_json(sent.data)
            else:
                _say(sent)
            if seen == count:
                return
    except TimeoutError:
        raise Failure(f"nothing more of {', '.join(names)} within {timeout:g} s") from None
    raise Failure(f"the tower at {cli.running.http} ended the subscription", "see whether it still runs")


def _say(sent: Sent) -> None:
    event: dict[str, Any] = sent.data
    data = "" if event["data"] is None else json.dumps(event["data"], ensure_ascii=False)
    line = (
        f"{event['position']:>6} {output.clock_time(event['time'])} {event['name']} {event['source_session_id']} {data}"
    )
    output.say(line.rstrip())
