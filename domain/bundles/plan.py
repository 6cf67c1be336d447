"""The merged plan of a bundle: whole, plain, and the same whoever asks for it."""

from typing import Any, Final, cast

import msgspec

Entry = dict[str, Any]
"""An entry of a module list: `module`, `source`, `config`, `id`, whatever else was written."""

SECTIONS: Final = ("session", "providers", "tools", "hooks", "agents", "spawn")
"""What is mounted into a session; the rest of a plan says how it runs."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`context`: name (prefixed by its bundle's) -> absolute path, "" for text that stands in no file. `agents`: name
    -> definition, its file read. `extra`: keys that nobody knows, kept. `permissions`: `files: {read, write}` and
    `commands`. Nothing in it may be changed: sessions share it."""

    name: str
    version: str = "1.0.0"
    description: str = ""
    instruction: str = ""
    session: dict[str, Any] = {}
    providers: tuple[Entry, ...] = ()
    tools: tuple[Entry, ...] = ()
    hooks: tuple[Entry, ...] = ()
    agents: dict[str, dict[str, Any]] = {}
    context: dict[str, str] = {}
    spawn: dict[str, Any] = {}
    runtime: dict[str, Any] = {}
    permissions: dict[str, Any] = {}
    background_sessions: tuple[dict[str, Any], ...] = ()
    extra: dict[str, Any] = {}


def mounted(plan: Plan) -> dict[str, Any]:
    """The sections that hold something, as maps and lists."""
    every: dict[str, Any] = {name: getattr(plan, name) for name in SECTIONS}
    return {
        name: list(cast(tuple[Entry, ...], value)) if isinstance(value, tuple) else value
        for name, value in every.items()
        if value
    }


def agent_of(plan: Plan, name: str) -> dict[str, Any] | None:
    """The agent of that name, or the only one whose name ends with it behind a namespace; None for none."""
    found = plan.agents.get(name)
    if found is not None:
        return found
    ending = [agent for key, agent in plan.agents.items() if key.rpartition(":")[2] == name]
    return ending[0] if len(ending) == 1 else None
