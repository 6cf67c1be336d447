"""What a new session takes over from its parent's plan. Plans are plain maps; none is changed, all is copied."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

from domain.sessions.commands import Inherit

Plan = Mapping[str, Any]
Entry = Mapping[str, Any]


def inherited(
    plan: Plan,
    parent: Plan,
    *,
    providers: Inherit = True,
    tools: Inherit = False,
    hooks: Inherit = False,
) -> dict[str, Any]:
    """`plan` with what it inherits: providers if it has none of its own; tools and hooks that it does not define,
    before its own. What the parent's `spawn` excludes is not handed on."""
    made = deepcopy(dict(plan))
    if not entries(made, "providers"):
        made["providers"] = deepcopy(_offered(parent, "providers", providers))
    for kind, wanted in (("tools", tools), ("hooks", hooks)):
        made[kind] = beneath(_offered(parent, kind, wanted), entries(made, kind))
    return made


def of_agent(agent: Plan, parent: Plan) -> dict[str, Any]:
    """The plan of an agent of the parent's bundle: its own definition, on the parent's runtime and with the parent's
    permissions and agents."""
    shared = ("session", "runtime", "agents", "spawn")
    made: dict[str, Any] = {name: deepcopy(parent[name]) for name in shared if name in parent}
    own = {name: deepcopy(value) for name, value in agent.items() if value is not None and name != "meta"}
    made |= own
    if "permissions" in parent:
        # What code may do is never more than what it may do above.
        made["permissions"] = deepcopy(parent["permissions"])
    return made


def beneath(offered: Sequence[Entry], own: Sequence[Entry]) -> list[dict[str, Any]]:
    """The offered entries that are not defined here, then all own ones, which replace theirs whole."""
    defined = {key_of(entry) for entry in own}
    kept = [entry for entry in offered if key_of(entry) not in defined]
    return [deepcopy(dict(entry)) for entry in (*kept, *own)]


def entries(plan: Plan, kind: str) -> list[dict[str, Any]]:
    """The module entries of a plan; none where there is no list."""
    there = plan.get(kind)
    if not isinstance(there, list | tuple):
        return []
    return [dict(cast(Mapping[str, Any], entry)) for entry in cast(Sequence[Any], there) if isinstance(entry, Mapping)]


def key_of(entry: Entry) -> str:
    """By which entries are told apart: id, else module."""
    return str(entry.get("id") or entry.get("module"))


def _offered(parent: Plan, kind: str, wanted: Inherit) -> list[dict[str, Any]]:
    if wanted is False:
        return []
    excluded = _excluded(parent, kind)
    chosen = None if wanted is True else frozenset(wanted)
    return [
        entry
        for entry in entries(parent, kind)
        if not _named(entry, excluded) and (chosen is None or _named(entry, chosen))
    ]


def _excluded(parent: Plan, kind: str) -> frozenset[str]:
    spawn = parent.get("spawn")
    listed = cast(Mapping[str, Any], spawn).get(f"exclude_{kind}") if isinstance(spawn, Mapping) else None
    return (
        frozenset(str(each) for each in cast(Sequence[Any], listed))
        if isinstance(listed, list | tuple)
        else frozenset()
    )


def _named(entry: Entry, names: frozenset[str]) -> bool:
    return entry.get("id") in names or entry.get("module") in names
