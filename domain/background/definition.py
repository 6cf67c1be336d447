"""What a background session is declared as. The fields are part of stored events."""

import hashlib
from typing import Any, Final, Literal

import msgspec

MAX_DECLARED: Final = 400
"""Background sessions of a node, at most: one event that all of them listen to is still one append."""

MAX_POOL: Final = 100
MAX_QUEUE: Final = 10_000
MAX_TRIGGERS: Final = 20
MAX_RESTARTS: Final = 1_000
DEFAULT_QUEUE: Final = 100

Overflow = Literal["block", "drop_oldest", "reject"]
Coalesce = Literal["none", "latest"]

SESSION_EVENT: Final = "session_event"
ISSUE_EVENT: Final = "issue_event"
FILE_CHANGE: Final = "file_change"
TIMER: Final = "timer"
WEBHOOK: Final = "webhook"
MANUAL: Final = "manual"

ROUTED: Final = (SESSION_EVENT, ISSUE_EVENT)
"""Types that the log itself brings: nobody watches for them."""


class TriggerDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """`config` as it was declared, checked."""

    type: str
    config: dict[str, Any] = {}


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """`bundle`: what its runs are spawned from. `instruction`: a template, None for that of the trigger's type.
    `restart_window` and `timeout` (of a run) in seconds. Names are those that people write."""

    name: str
    bundle: str
    triggers: tuple[TriggerDefinition, ...] = ()
    pool_size: int = 1
    queue_size: int = DEFAULT_QUEUE
    overflow: Overflow = "block"
    coalesce: Coalesce = "none"
    instruction: str | None = None
    on_complete_emit: str | None = None
    on_error_emit: str | None = None
    start_on_parent_start: bool = True
    stop_on_parent_stop: bool = True
    restart_on_failure: bool = True
    max_restarts: int = 3
    restart_window: float = 60.0
    timeout: float | None = None


def digest_of(definition: Definition) -> str:
    return hashlib.blake2b(msgspec.json.encode(definition, order="sorted"), digest_size=16).hexdigest()
