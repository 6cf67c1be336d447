"""Ids of sessions: which one a child of a session gets, as the ecosystem of the bundles makes them."""

import re
from typing import Final
from uuid import UUID

_SPANS: Final = re.compile(r"[0-9a-f]{16}-([0-9a-f]{16})_")
_OTHERS: Final = re.compile(r"[^a-z0-9]+")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}\Z")

NO_SPAN: Final = "0" * 16
NAME_CHARACTERS: Final = 64


def made(fresh: UUID, name: str, parent: str | None) -> str:
    """The id of a session: at the root `fresh` itself, a random UUID; below `parent` the parent's span, a fresh one of
    16 hex digits, and the name."""
    return str(fresh) if parent is None else f"{span_of(parent)}-{fresh.hex[:16]}_{slug(name)}"


def span_of(session_id: str) -> str:
    """The span by which its children name a session: its own one; of a UUID its middle, zeros of any other id."""
    spans = _SPANS.match(session_id)
    if spans is not None:
        return spans[1]
    try:
        return UUID(session_id).hex[8:24]
    except ValueError:
        return NO_SPAN


def slug(name: str) -> str:
    """The name as it stands in an id: lower case, runs of other characters as one `-`, `agent` if nothing is left."""
    return _OTHERS.sub("-", name.lower()).strip("-")[:NAME_CHARACTERS].strip("-") or "agent"


def is_id(text: str) -> bool:
    """Whether it may be given as the id of a session."""
    return _ID.match(text) is not None


def asked_in(session_id: str) -> str:
    """What the ids of promises begin with that are questions to the persons at a session, whoever makes them."""
    return f"session:{session_id}:"


def input_id(session_id: str, turn: int, n: int) -> str:
    """The promise of the n-th question in a turn, from 1."""
    return f"{asked_in(session_id)}turn:{turn}:input:{n}"
