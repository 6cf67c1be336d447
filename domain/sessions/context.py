"""Which of its parent's messages a new session gets. First by scope, then by depth."""

from collections.abc import Sequence
from typing import Final

from domain.sessions.commands import Depth, Scope
from domain.sessions.messages import Message

DELEGATES: Final = frozenset({"delegate", "task", "spawn", "spawn_agent", "session_spawn"})
"""Tools whose results are what another agent said; also with the prefix `tool-`."""


def selected(messages: Sequence[Message], *, depth: Depth, scope: Scope, turns: int) -> tuple[Message, ...]:
    """In order. A turn starts at a message of the user; what stands before the first one belongs to no turn. `recent`:
    the last `turns` of them, all messages if there are no more than these."""
    if depth == "none":
        return ()
    within = tuple(message for message in messages if in_scope(message, scope))
    if depth == "all":
        return within
    starts = [place for place, message in enumerate(within) if message.role == "user"]
    return within if len(starts) <= turns else within[starts[-turns] :]


def in_scope(message: Message, scope: Scope) -> bool:
    match scope:
        case "full":
            return True
        case "conversation":
            return message.role in ("user", "assistant")
        case "agents":
            return message.role in ("user", "assistant") or (message.role == "tool" and _delegated(message.name))


def _delegated(name: str | None) -> bool:
    return (name or "").removeprefix("tool-").replace("-", "_") in DELEGATES
