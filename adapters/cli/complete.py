"""What the shell offers when Tab is pressed: quick, and silent when there is nothing to offer.

A running tower is asked with a short deadline; no tower, no answer or a faulty setting offers nothing.
"""

from collections.abc import Callable, Iterator
from typing import Final

import typer

from adapters.cli.client import Queries, Row
from adapters.cli.failures import Failure
from adapters.cli.output import container, first_line, short
from adapters.cli.place import find

DEADLINE_S: Final = 0.5
MOST: Final = 100
"""Rows asked for at most: a list longer than this helps nobody."""

ENDED: Final = ("removed", "gone")
"""States of what nobody names any more."""

Offer = list[tuple[str, str]]


def templates(incomplete: str) -> Offer:
    """Built-in templates, and those of the operator's files."""
    from adapters.cli.launching import read_files

    known = sorted(read_files().known.templates.items())
    return [(name, f"{len(template.panes)} panes") for name, template in known if name.startswith(incomplete)]


def profiles(incomplete: str) -> Offer:
    from adapters.cli.launching import read_files

    known = sorted(read_files().known.profiles.items())
    return [(name, profile.command[0]) for name, profile in known if name.startswith(incomplete)]


def layouts(context: typer.Context, incomplete: str) -> Offer:
    rows = _rows(context, "/v1/layouts")
    return _ids(rows, incomplete, lambda row: f"{row.get('tmux_session_name')} ({row['state']})")


def panes(context: typer.Context, incomplete: str) -> Offer:
    rows = _rows(context, "/v1/panes")
    return _ids(rows, incomplete, lambda row: f"{row.get('label')} ({row['state']})")


def bundles(context: typer.Context, incomplete: str) -> Offer:
    rows = _rows(context, "/v1/bundles")
    return [(row["name"], row["uri"]) for row in rows if row["name"] and row["name"].startswith(incomplete)]


def executions(context: typer.Context, incomplete: str) -> Offer:
    rows = _rows(context, "/v1/executions")
    return _ids(rows, incomplete, lambda row: f"{first_line(row.get('code'))} ({row['state']})")


def sessions(context: typer.Context, incomplete: str) -> Offer:
    rows = _rows(context, "/v1/sessions")
    return _ids(rows, incomplete, lambda row: f"{row['session_name']} ({row['state']})")


def backgrounds(context: typer.Context, incomplete: str) -> Offer:
    rows = _rows(context, "/v1/background-sessions")
    return [(row["name"], row["state"]) for row in rows if row["name"].startswith(incomplete)]


def promises(context: typer.Context, incomplete: str) -> Offer:
    """Those that somebody can settle."""
    rows = _rows(context, "/v1/promises", state="pending")
    return [(row["id"], row["state"]) for row in rows if row["id"].startswith(incomplete)]


def containers(context: typer.Context, incomplete: str) -> Offer:
    """Names, and ids once one is begun."""
    offer: Offer = []
    for row in _rows(context, "/v1/containers"):
        name, identifier = row["name"], container(row["id"])
        if row["id"] != "host" and name.startswith(incomplete):
            offer.append((name, f"{identifier} ({row['state']})"))
        elif row["id"] != "host" and row["id"].startswith(incomplete):
            offer.append((identifier if identifier.startswith(incomplete) else row["id"], f"{name} ({row['state']})"))
    return [("host", "this machine"), *offer] if "host".startswith(incomplete) else offer


def _ids(rows: list[Row], incomplete: str, describe: Callable[[Row], str]) -> Offer:
    if not incomplete:
        return [(short(row["id"]), describe(row)) for row in rows]
    by_end = [(short(row["id"]), describe(row)) for row in rows if short(row["id"]).startswith(incomplete)]
    by_start = [(row["id"], describe(row)) for row in rows if row["id"].startswith(incomplete)]
    return by_end + by_start


def _rows(context: typer.Context, path: str, **query: object) -> list[Row]:
    def given(name: str) -> Iterator[str]:
        for params in (context.params, context.find_root().params):
            if params.get(name):
                yield str(params[name])

    try:
        place = find(next(given("home"), None), next(given("node"), None))
        running = place.running()
        if running is None:
            return []
        with Queries(place, running, timeout_s=DEADLINE_S) as queries:
            return [row for row in queries.items(path, most=MOST, **query) if row["state"] not in ENDED]
    except (Failure, OSError, KeyError, TypeError):
        return []
