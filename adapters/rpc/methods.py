"""The table of the predecessor's methods: their two names, and the command or query that each one is.

The first name is the operator's, the second one that of peers in containers; the operator may use both. Sessions, which
the predecessor had not, are asked for in the same way, by the operator alone.
"""

import difflib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from adapters.rpc import queries as q
from domain.errors import Rejection, host_only
from domain.messages import HOST

APP_PREFIX: Final = "app."
CONTRACT_VERSION: Final = "1.1"
"""Stands as `app_contract_version` beside every answer to an `app.` name."""

Reads = Callable[[q.Models, str, Any], Awaitable[Any]]
"""A query: the read models as the caller sees them, who asks, the parameters."""


class Command(NamedTuple):
    """Asks the writer for `noun.verb`; the parameters are its data."""

    noun: str
    verb: str


class Query(NamedTuple):
    """Asks the read models."""

    reads: Reads
    parameters: type[q.Parameters]


class Method(NamedTuple):
    number: str
    does: Command | Query
    operator_name: str
    bench_name: str


METHODS: Final = (
    Method("M1", Command("layout", "create"), "app.managed_layout_create", "managed.layout.create"),
    Method("M2", Query(q.layouts, q.LayoutList), "app.managed_layout_list", "managed.layout.list"),
    Method("M3", Query(q.layout, q.LayoutDetail), "app.managed_layout_detail", "managed.layout.detail"),
    Method("M4", Query(q.panes, q.PaneList), "app.managed_pane_list", "managed.pane.list"),
    Method("M5", Query(q.pane, q.PaneDetail), "app.managed_pane_detail", "managed.pane.detail"),
    Method("M6", Command("pane", "remove"), "app.managed_pane_remove", "managed.pane.remove"),
    Method("M7", Command("pane", "recreate"), "app.managed_pane_recreate", "managed.pane.recreate"),
    Method(
        "M8",
        Command("pane", "promote"),
        "app.managed_pane_promote_from_adopted",
        "managed.pane.promote_from_adopted",
    ),
)

SESSION_METHODS: Final = tuple(
    Method(f"S{number}", Command("session", verb), f"app.session_{verb}", f"app.session_{verb}")
    for number, verb in enumerate(("spawn", "instruct", "resume", "cancel", "end"), 1)
)

_BY_NAME: Final[Mapping[str, Method]] = {
    name: method for method in (*METHODS, *SESSION_METHODS) for name in (method.operator_name, method.bench_name)
}
NAMES: Final = tuple(_BY_NAME)


def find(name: str, caller: str) -> Method:
    """The method of that name. Raises `validation_failed` with the nearest names for one that nobody knows, and
    `host_only` for a name of the operator's that somebody else uses."""
    method = _BY_NAME.get(name)
    if method is None:
        raise _unknown(name, caller)
    if name == method.operator_name and caller != HOST:
        raise host_only()
    return method


def is_command(name: str) -> bool:
    method = _BY_NAME.get(name)
    return method is not None and isinstance(method.does, Command)


def lasts(name: str) -> bool:
    """Whether its answer may wait for what a session says."""
    method = _BY_NAME.get(name)
    return method is not None and isinstance(method.does, Command) and method.does.noun == "session"


def _unknown(name: str, caller: str) -> Rejection:
    known = [each for each in NAMES if caller == HOST or not each.startswith(APP_PREFIX)]
    nearest = difflib.get_close_matches(name[:200], known, n=3, cutoff=0.5)
    reason = f"no method is called so; {'nearest: ' if nearest else 'known: '}{', '.join(nearest or known)}"
    return Rejection("validation_failed", f"method: {reason}", field="method", reason=reason)
