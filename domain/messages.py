"""What every aggregate shares: the base types of events and requests, a command with its facts, operator identifiers.

A *request* is what a caller asks (the wire `data` of one `noun.verb`). A *command* is that request together with who
asks and the looked-up facts that its decision needs, so that the deciders read no clock and do no look-ups.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeVar, dataclass_transform

import msgspec

from domain.errors import Rejection

HOST: Final = "host"
"""Origin of the operator, and the container id of the machine itself."""

TOWER: Final = "tower"
"""Origin of the tower's own follow-up commands (effects, timers, recovery)."""

POLICY: Final = "policy"
"""Origin of the commands that a restart policy sends."""

ORIGIN_PATTERN: Final = re.compile(r"(host|[0-9a-f]{64})\Z")
IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
SUBJECT_ID: Final = re.compile(r"[A-Za-z0-9_:-]{1,128}\Z")


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, frozen=True, kw_only=True, rename=lambda name: name.rstrip("_")):
    """Something that happened. The fields are the stored form: never rename one, add a new version instead.

    A trailing underscore keeps a Python keyword usable as a field (`from_` is `from` on the wire).
    """


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `data` of one command as it stands on the wire."""


class PaneSlot(msgspec.Struct, frozen=True, kw_only=True):
    """One slot of a template: `label` may hold `{n}`, the lowest free ordinal of the container."""

    role: str
    capability: str
    label: str
    launch: str = "shell"
    restart: str = "never"


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A named list of 1 to 64 panes, `count` already spread into single slots."""

    name: str
    panes: tuple[PaneSlot, ...]


class TmuxPane(msgspec.Struct, frozen=True, kw_only=True):
    """A pane as tmux lists it. `pane_id` is the mark that a tower left, None for a pane that no tower made."""

    tmux_pane_id: str
    pid: int
    session_name: str
    title: str
    dead: bool = False
    pane_id: str | None = None


class SpawnFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle that a session is to be spawned from, prepared, with what it inherits: the plan is a file by now.

    `refusal`: code, message and details of what is wrong with it. `context_digest`: the file with the messages that it
    gets from its parent, None for none. `background_sessions`: what the bundle declares, as written; relative paths in
    them begin in `background_folder`.
    """

    bundle_uri: str = ""
    bundle_name: str = ""
    bundle_version: str | None = None
    bundle_digest: str = ""
    plan_digest: str = ""
    runtime: str = ""
    context_digest: str | None = None
    context_messages: int = 0
    warnings: tuple[str, ...] = ()
    refusal: tuple[str, str, dict[str, Any]] | None = None
    depth_limit: int = 8
    background_sessions: tuple[dict[str, Any], ...] = ()
    background_folder: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer looked up for one command before it is decided.

    `ids` are fresh UUIDv7 texts, as many as the decision may need. `profiles` maps the known launch profiles to their
    digests. `tmux_sessions` are the session names alive in the container and `tmux_panes` its panes, None when tmux
    could not tell. `restart_backoff_s`: wait of the first restart that a policy makes.
    `text_digest` names the file that holds a text to send, None where it could not be sent when this was looked up.
    `spawn` is None while the bundle is not prepared.
    `worker_waits`: the session has a worker that does nothing. `max_causation_depth`: runs that may lead to each other.
    """

    at: datetime
    ids: tuple[str, ...] = ()
    templates: Mapping[str, Template] = {}
    profiles: Mapping[str, str] = {}
    tmux_sessions: frozenset[str] | None = None
    tmux_panes: tuple[TmuxPane, ...] | None = None
    working_dir_digest: str | None = None
    restart_backoff_s: float = 1.0
    text_digest: str | None = None
    spawn: SpawnFacts | None = None
    worker_waits: bool = False
    max_causation_depth: int = 32


R_co = TypeVar("R_co", bound=Request, covariant=True)


class Command(msgspec.Struct, Generic[R_co], frozen=True, kw_only=True):
    """A request, its id, who asks (`origin`: from the broker or the kernel, never from the payload), and its facts."""

    id: str
    origin: str
    request: R_co
    facts: Facts


Result = dict[str, Any]
"""The `result` of an accepted command: JSON values only."""


def check_identifier(field: str, value: str) -> str:
    """`value` if it is an operator identifier, else `validation_failed` naming `field`."""
    if IDENTIFIER.match(value) is None:
        raise Rejection(
            "validation_failed",
            f"{field} must be 1 to 64 characters of A-Z a-z 0-9 _ . -",
            field=field,
            reason="not an identifier: 1 to 64 characters of A-Z a-z 0-9 _ . -",
        )
    return value
