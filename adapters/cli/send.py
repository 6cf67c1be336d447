"""`agenttower pane send`: type a text into a pane, and say whether it was seen to arrive."""

import sys
from typing import Annotated, Final

import typer

from adapters.cli import output, references
from adapters.cli.client import Queries, Row
from adapters.cli.command import Cli, Json
from adapters.cli.failures import Failure
from adapters.cli.panes import PaneReference
from adapters.cli.settling import event_name

MOST_BYTES: Final = 64 * 1024
END_TIMEOUT_S: Final = 120.0
"""Texts before this one and other work of the container come first."""

_REASONS: Final = {
    "interrupted": "the tower ended while it was typed: it may have arrived, look before you send it again",
    "pane_gone": "the pane is gone",
    "process_ended": "the process of the pane has ended",
    "text_lost": "the tower's copy of the text is gone",
    "refused": "tmux did not take it",
    "unreachable": "tmux gave no answer: it may have arrived, look before you send it again",
}
"""Why a text was not sent, for people."""


def send(
    cli: Cli,
    pane: PaneReference,
    text: Annotated[str, typer.Argument(help="What to type, up to 64 KiB; - reads it from standard input.")],
    enter: Annotated[bool, typer.Option(help="Press Enter when the program has taken the text.")] = True,
    wait: Annotated[bool, typer.Option(help="Wait until it is typed.")] = True,
    as_json: Json = False,
) -> None:
    """Type a text into a pane as one paste, then press Enter."""
    pane_id = references.pane_id(cli.queries, pane)
    typed = _from_stdin() if text == "-" else text
    outcome = cli.command("pane", "send", {"pane_id": pane_id, "text": typed, "enter": enter})
    send_id, position = outcome["result"]["send_id"], outcome["position"]
    said = {"command_id": outcome["command_id"], "position": position, **outcome["result"]}
    end = _end(cli.queries, send_id, pane_id, after=position) if wait else None
    reason = None if end is None else end.get("reason")
    if as_json and reason is None:
        output.say_json(said if end is None else {**said, "seen": end["seen"]})
    elif end is None:
        output.say(f"Pane {pane_id} is sent {len(typed.encode())} bytes, {send_id}")
    if reason is not None:
        raise Failure(f"not sent to pane {pane_id}: {_REASONS.get(reason, reason)}", code=reason, details=said)
    if end is not None and not as_json:
        seen = "and seen to arrive" if end["seen"] else "but was not seen to arrive: the program may be busy"
        output.say(f"Typed into pane {pane_id}, {seen}")


def _from_stdin() -> str:
    """Without the line feed at its end, which Enter stands for."""
    data = sys.stdin.buffer.read(MOST_BYTES + 2)
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise Failure(f"standard input is not UTF-8, at byte {error.start}") from error


def _end(queries: Queries, send_id: str, pane_id: str, *, after: int) -> Row:
    """The data of the event that ends the sending."""
    try:
        for _, event in queries.stream({"kind": "pane", "id": pane_id}, after=after, timeout_s=END_TIMEOUT_S):
            data = event.get("data", {})
            if data.get("send_id") == send_id and event_name(event) in ("pane.text_sent", "pane.send_failed"):
                return data
    except TimeoutError:
        pass
    raise Failure(
        f"text {send_id} is not typed within {END_TIMEOUT_S:g} s; it is still on its way",
        f"`agenttower events query --id {pane_id}` shows what became of it",
    )
