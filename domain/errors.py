"""The closed set of error codes, each with the exact keys of its details and its HTTP status class.

A `Rejection` built with other keys than its code allows raises `TypeError`, so a wrong spelling fails in tests and
never reaches a client. The wire spelling of a code is its key in `DETAILS`.
"""

from collections.abc import Mapping
from typing import Any, Final

DETAILS: Final[Mapping[str, frozenset[str]]] = {
    "validation_failed": frozenset({"field", "reason"}),
    "host_only": frozenset(),
    "not_implemented": frozenset({"reserved_since"}),
    "internal_error": frozenset(),
    "tower_busy": frozenset({"queued"}),
    "command_expired": frozenset({"age_s"}),
    "container_not_found": frozenset({"container_id"}),
    "managed_layout_not_found": frozenset({"layout_id"}),
    "managed_pane_not_found": frozenset({"pane_id"}),
    "managed_template_not_found": frozenset({"template_name", "known_templates"}),
    "managed_launch_command_not_found": frozenset({"profile_name", "known_profiles"}),
    "managed_session_name_conflict": frozenset({"container_id", "tmux_session_name"}),
    "managed_pane_label_conflict": frozenset({"container_id", "label"}),
    "managed_layout_capacity_exceeded": frozenset({"limit", "current_count"}),
    "managed_pane_illegal_transition": frozenset({"pane_id", "current_state", "requested_action"}),
    "managed_pane_illegal_recreate_source": frozenset({"predecessor_pane_id", "current_state"}),
    "managed_pane_recreate_chain_too_deep": frozenset({"predecessor_pane_id", "predecessor_chain_depth", "limit"}),
    "managed_pane_concurrent_recreate": frozenset({"predecessor_pane_id", "in_flight_successor_pane_id"}),
    "managed_pane_not_ready": frozenset({"pane_id", "current_state"}),
    "managed_pane_protected_adopted": frozenset({"agent_id", "is_adopted"}),
    "promise_not_found": frozenset({"promise_id"}),
    "promise_already_settled": frozenset({"promise_id", "state"}),
    "idempotency_conflict": frozenset({"idempotency_key"}),
    "worker_busy": frozenset({"session_id", "execution_id"}),
    "execution_not_found": frozenset({"execution_id"}),
    "execution_value_not_found": frozenset({"execution_id"}),
    "execution_already_ended": frozenset({"execution_id", "state"}),
    "execution_not_paused": frozenset({"execution_id", "state"}),
    "session_not_found": frozenset({"session_id"}),
    "session_exists": frozenset({"session_id"}),
    "session_ended": frozenset({"session_id", "state"}),
    "spawn_depth_exceeded": frozenset({"depth", "limit"}),
    "checkpoint_not_found": frozenset({"checkpoint"}),
    "bundle_invalid": frozenset({"file", "line", "field", "expected"}),
    "bundle_not_found": frozenset({"bundle", "searched"}),
    "bundle_include_cycle": frozenset({"chain"}),
    "background_not_found": frozenset({"name"}),
    "read_model_behind": frozenset({"after", "position"}),
    "command_not_found": frozenset({"command_id"}),
    "outcome_pending": frozenset({"command_id", "timeout_s"}),
    "temporarily_unavailable": frozenset({"part"}),
    "unauthorized": frozenset(),
    "request_refused": frozenset({"header", "reason"}),
    "body_too_large": frozenset({"limit_bytes"}),
    "route_not_found": frozenset({"path"}),
    "method_not_allowed": frozenset({"method", "allowed"}),
}
"""Code -> the keys its details have, all of them, always."""

UNRECORDED: Final = frozenset({"validation_failed", "tower_busy", "command_expired", "internal_error"})
"""Rejections that leave no `command.rejected` event."""

INTERNAL_ERROR_MESSAGE: Final = "The tower could not decide this command; its log says why."


class Rejection(Exception):
    """A command was refused. `code` is a key of `DETAILS`; `details` has exactly the keys listed there."""

    def __init__(self, code: str, message: str, /, **details: Any) -> None:
        if code not in DETAILS:
            raise TypeError(f"unknown error code {code!r}: add it to domain/errors.py")
        if details.keys() != DETAILS[code]:
            raise TypeError(f"{code} takes the details {sorted(DETAILS[code])}, not {sorted(details)}")
        super().__init__(f"{code}: {message}")
        self.code: Final = code
        self.message: Final = message
        self.details: Final[dict[str, Any]] = details


def host_only() -> Rejection:
    """What a bench peer is told of everything that is not its own, whether it exists or not."""
    return Rejection("host_only", "only the operator may do this")


def protected(agent_id: str) -> Rejection:
    """What everybody is told who takes an adopted agent for a pane of the tower's."""
    return Rejection(
        "managed_pane_protected_adopted",
        f"{agent_id} was adopted: the tower does not touch it",
        agent_id=agent_id,
        is_adopted=True,
    )


def unseen(caller: str, not_found: Rejection) -> Rejection:
    """The refusal for something that `caller` does not see: `not_found` for the operator only, so that nobody else
    learns which ids exist."""
    return not_found if caller == "host" else host_only()


def http_status(code: str) -> int:
    """The HTTP status of an error code."""
    if code in _STATUS:
        return _STATUS[code]
    if code.endswith("_not_found"):
        return 404
    if code.endswith("_invalid"):
        return 422
    return 409


_STATUS: Final = {
    "unauthorized": 401,
    "host_only": 403,
    "request_refused": 403,
    "method_not_allowed": 405,
    "body_too_large": 413,
    "validation_failed": 422,
    "command_expired": 422,
    "internal_error": 500,
    "not_implemented": 501,
    "tower_busy": 503,
    "temporarily_unavailable": 503,
    "read_model_behind": 504,
    "outcome_pending": 504,
}
