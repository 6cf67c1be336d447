"""Causes as a tree: command -> events -> effects -> commands."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapters.cli import output
from adapters.cli.client import Row
from adapters.cli.settling import event_name

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree


@dataclass
class Command:
    """A command and the events that it recorded; `actor` asked for it, `cause` is the event that made an effect ask."""

    id: str
    actor: str
    cause: str | None
    events: list["Happened"] = field(default_factory=list)


@dataclass
class Happened:
    """An event and the commands that effects sent because of it."""

    event: Row
    commands: list[Command] = field(default_factory=list)


def build(events: Iterable[Row]) -> list[Command]:
    """The commands that no listed event caused, each with everything that came of it, in order of the log."""
    commands: dict[str, Command] = {}
    happened: dict[str, Happened] = {}
    for event in sorted(events, key=lambda row: int(row["position"])):
        command = commands.setdefault(
            event["commandid"], Command(event["commandid"], event["actor"], event.get("causationid"))
        )
        happened[event["id"]] = Happened(event)
        command.events.append(happened[event["id"]])
    roots: list[Command] = []
    for command in commands.values():
        cause = happened.get(command.cause or "")
        (roots if cause is None or _is_ancestor(command, cause) else cause.commands).append(command)
    return roots


def _is_ancestor(command: Command, cause: Happened) -> bool:
    """Whether a command claims to be caused by an event of its own."""
    return cause.event["commandid"] == command.id


def as_json(command: Command) -> dict[str, Any]:
    return {
        "command_id": command.id,
        "actor": command.actor,
        "events": [
            {"event": child.event, "effects": [as_json(caused) for caused in child.commands]}
            for child in command.events
        ],
    }


def draw(command: Command) -> "Tree":
    from rich.tree import Tree

    root = Tree(_command_line(command, "command"), guide_style="dim")
    _grow(root, command)
    return root


def _grow(branch: "Tree", command: Command) -> None:
    for child in command.events:
        leaf = branch.add(_event_line(child.event))
        for caused in child.commands:
            _grow(leaf.add(_command_line(caused, "effect -> command")), caused)


def _command_line(command: Command, what: str) -> "Text":
    from rich.text import Text

    return Text.assemble((f"{what} ", "bold"), output.short(command.id), f" by {output.container(command.actor)}")


def _event_line(event: Row) -> "Text":
    from rich.text import Text

    from adapters.cli.events import what

    said = what(event.get("data", {}))
    style = output.STATE_STYLES.get(str(event.get("data", {}).get("to")), "")
    return Text.assemble(
        (f"{event['position']} ", "dim"),
        (event_name(event), "cyan"),
        f" {output.short(event['subject'])}",
        (f"  {said}" if said else "", style),
    )
