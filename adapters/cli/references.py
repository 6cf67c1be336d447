"""Naming a layout, a pane, a container, an execution, a session or a promise on the command line: an id, the beginning
or the end of one, or a name.

A layout also goes by its tmux session, a pane by its label or `session/label`, a container by its name or the beginning
of either. What stands for several things is refused with the list of them, whatever the command.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from adapters.cli.client import Queries, Row
from adapters.cli.failures import Failure
from adapters.cli.output import container, short

HOST: Final = "host"
"""This machine, which needs no look-up."""

RECENT: Final = 2_000
"""Executions, sessions and promises that are looked through for the beginning or the end of an id."""

SHOWN: Final = 8
"""Candidates named in the message about an ambiguous reference."""


def layout_id(queries: Queries, reference: str) -> str:
    """The one layout that `reference` names. A session name prefers the layout that is not removed."""
    rows = list(queries.items("/v1/layouts"))
    found = _by_id(rows, reference)
    if not found:
        named = [row for row in rows if row.get("tmux_session_name") == reference]
        found = [row for row in named if row["state"] != "removed"] or named
    if not found:
        raise Failure(
            f"no layout has an id that begins or ends with {reference!r}, nor that session name",
            "`agenttower layout list` shows the layouts there are",
            code="managed_layout_not_found",
            details={"layout_id": reference},
        )
    return _only(found, reference, "layouts", lambda row: f"{short(row['id'])} {row.get('tmux_session_name')}")["id"]


def pane_id(queries: Queries, reference: str) -> str:
    """The one pane that `reference` names. A label prefers the living pane, then the newest of its chain."""
    return pane(queries, reference)["id"]


def pane(queries: Queries, reference: str) -> Row:
    rows = list(queries.items("/v1/panes"))
    found = _by_id(rows, reference)
    if not found:
        found = _by_label(queries, rows, reference)
    if not found:
        _refuse_adopted(queries, reference)
        raise Failure(
            f"no pane has an id that begins or ends with {reference!r}, nor that label",
            "`agenttower pane list` shows the panes there are",
            code="managed_pane_not_found",
            details={"pane_id": reference},
        )
    return _only(found, reference, "panes", lambda row: f"{short(row['id'])} {row.get('label')} {row['state']}")


def execution_id(queries: Queries, reference: str) -> str:
    """The one execution that `reference` names, of the `RECENT` last ones unless it is a whole id."""
    return _recent(
        queries, "execution", reference, lambda row: f"{short(row['id'])} {row['state']}", "`agenttower exec list`"
    )


def promise_id(queries: Queries, reference: str) -> str:
    """The one promise that `reference` names, of the `RECENT` last ones unless it is a whole id."""
    return _recent(
        queries, "promise", reference, lambda row: f"{row['id']} {row['state']}", "`agenttower promise list`"
    )


def session_id(queries: Queries, reference: str) -> str:
    """The one session that `reference` names, of the `RECENT` last ones unless it is a whole id."""
    return _recent(
        queries, "session", reference, lambda row: f"{row['id']} {row['state']}", "`agenttower session list`"
    )


def _recent(queries: Queries, kind: str, reference: str, describe: Callable[[Row], str], lists: str) -> str:
    path = f"/v1/{kind}s"
    whole = queries.ask(f"{path}/{quote(reference, safe='')}") if reference else None
    if whole is not None and whole.status == 200:
        return whole.body["id"]
    rows = queries.items(path, most=RECENT)
    found = [row for row in rows if reference and (row["id"].startswith(reference) or row["id"].endswith(reference))]
    if not found:
        raise Failure(
            f"no {kind} has an id that begins or ends with {reference!r}",
            f"{lists} shows the last ones",
            code=f"{kind}_not_found",
            details={f"{kind}_id": reference},
        )
    return _only(found, reference, f"{kind}s", describe)["id"]


def container_id(queries: Queries, reference: str) -> str:
    """The one container that `reference` names: whole id, whole name, beginning of either. Those that are gone come
    last in each of these ways."""
    if reference == HOST:
        return HOST
    rows = list(queries.items("/v1/containers"))
    ways: tuple[Callable[[Row], bool], ...] = (
        lambda row: row["id"] == reference,
        lambda row: row["name"] == reference,
        lambda row: bool(reference) and (row["id"].startswith(reference) or row["name"].startswith(reference)),
    )
    for way in ways:
        named = [row for row in rows if way(row)]
        found = [row for row in named if row["state"] != "gone"] or named
        if found:
            return _only(found, reference, "containers", lambda row: f"{container(row['id'])} {row['name']}")["id"]
    raise Failure(
        f"no container has an id or a name that begins with {reference!r}",
        "`agenttower container list` shows those that are known, `agenttower container scan` looks for others",
        code="container_not_found",
        details={"container_id": reference},
    )


def _refuse_adopted(queries: Queries, reference: str) -> None:
    """Whoever names an adopted agent learns why nothing is done with it."""
    rows = list(queries.items("/v1/agents", origin="adopted"))
    found = _by_id(rows, reference) or [row for row in rows if row["label"] == reference and row["state"] != "gone"]
    if found:
        agent_id = found[0]["id"]
        raise Failure(
            f"{reference} was adopted (agent {agent_id}): the tower looks at its pane and does not touch it",
            f"it is yours: tmux pane {found[0]['tmux_pane_id']}",
            code="managed_pane_protected_adopted",
            details={"agent_id": agent_id, "is_adopted": True},
        )


def _by_id(rows: Sequence[Row], reference: str) -> list[Row]:
    wanted = reference.lower().strip()
    exact = [row for row in rows if row["id"] == wanted]
    return exact or [row for row in rows if wanted and (row["id"].startswith(wanted) or row["id"].endswith(wanted))]


def _by_label(queries: Queries, rows: Sequence[Row], reference: str) -> list[Row]:
    session, _, label = reference.rpartition("/")
    named = [row for row in rows if row.get("label") == label]
    if session:
        layouts = {row["id"] for row in queries.items("/v1/layouts") if row.get("tmux_session_name") == session}
        named = [row for row in named if row.get("layout_id") in layouts]
    superseded = {row.get("predecessor_id") for row in rows}
    present = [row for row in named if row["id"] not in superseded]
    return [row for row in present if row["state"] != "removed"] or present


def _only(found: Sequence[Row], reference: str, what: str, describe: Callable[[Row], Any]) -> Row:
    if len(found) == 1:
        return found[0]
    shown = "; ".join(str(describe(row)) for row in found[:SHOWN])
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise Failure(f"{reference!r} stands for {len(found)} {what}: {shown}{more}", "give more of the id")
