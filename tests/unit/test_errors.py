"""The error codes as clients spell them, with their details and HTTP status. A change here breaks a client."""

import pytest

from domain.errors import DETAILS, INTERNAL_ERROR_MESSAGE, UNRECORDED, Rejection, http_status

WIRE = {
    "validation_failed": ({"field", "reason"}, 422),
    "host_only": (set(), 403),
    "not_implemented": ({"reserved_since"}, 501),
    "internal_error": (set(), 500),
    "tower_busy": ({"queued"}, 503),
    "command_expired": ({"age_s"}, 422),
    "container_not_found": ({"container_id"}, 404),
    "managed_layout_not_found": ({"layout_id"}, 404),
    "managed_pane_not_found": ({"pane_id"}, 404),
    "managed_template_not_found": ({"template_name", "known_templates"}, 404),
    "managed_launch_command_not_found": ({"profile_name", "known_profiles"}, 404),
    "managed_session_name_conflict": ({"container_id", "tmux_session_name"}, 409),
    "managed_pane_label_conflict": ({"container_id", "label"}, 409),
    "managed_layout_capacity_exceeded": ({"limit", "current_count"}, 409),
    "managed_pane_illegal_transition": ({"pane_id", "current_state", "requested_action"}, 409),
    "managed_pane_illegal_recreate_source": ({"predecessor_pane_id", "current_state"}, 409),
    "managed_pane_recreate_chain_too_deep": ({"predecessor_pane_id", "predecessor_chain_depth", "limit"}, 409),
    "managed_pane_concurrent_recreate": ({"predecessor_pane_id", "in_flight_successor_pane_id"}, 409),
    "managed_pane_not_ready": ({"pane_id", "current_state"}, 409),
    "managed_pane_protected_adopted": ({"agent_id", "is_adopted"}, 409),
    "promise_not_found": ({"promise_id"}, 404),
    "promise_already_settled": ({"promise_id", "state"}, 409),
    "idempotency_conflict": ({"idempotency_key"}, 409),
    "worker_busy": ({"session_id", "execution_id"}, 409),
    "execution_not_found": ({"execution_id"}, 404),
    "execution_value_not_found": ({"execution_id"}, 404),
    "execution_already_ended": ({"execution_id", "state"}, 409),
    "execution_not_paused": ({"execution_id", "state"}, 409),
    "session_not_found": ({"session_id"}, 404),
    "session_exists": ({"session_id"}, 409),
    "session_ended": ({"session_id", "state"}, 409),
    "spawn_depth_exceeded": ({"depth", "limit"}, 409),
    "checkpoint_not_found": ({"checkpoint"}, 404),
    "background_not_found": ({"name"}, 404),
    "bundle_invalid": ({"file", "line", "field", "expected"}, 422),
    "bundle_not_found": ({"bundle", "searched"}, 404),
    "bundle_include_cycle": ({"chain"}, 409),
    "read_model_behind": ({"after", "position"}, 504),
    "command_not_found": ({"command_id"}, 404),
    "outcome_pending": ({"command_id", "timeout_s"}, 504),
    "temporarily_unavailable": ({"part"}, 503),
    "unauthorized": (set(), 401),
    "request_refused": ({"header", "reason"}, 403),
    "body_too_large": ({"limit_bytes"}, 413),
    "route_not_found": ({"path"}, 404),
    "method_not_allowed": ({"method", "allowed"}, 405),
}


def test_the_set_is_closed() -> None:
    assert DETAILS.keys() == WIRE.keys()


@pytest.mark.parametrize("code", WIRE)
def test_every_code_has_its_details_and_its_status(code: str) -> None:
    keys, status = WIRE[code]
    assert DETAILS[code] == keys
    assert http_status(code) == status
    rejection = Rejection(code, "why", **dict.fromkeys(keys, 1))
    assert (rejection.code, rejection.message, rejection.details) == (code, "why", dict.fromkeys(keys, 1))


@pytest.mark.parametrize("code", WIRE)
def test_other_details_cannot_be_given(code: str) -> None:
    keys, _ = WIRE[code]
    with pytest.raises(TypeError, match="takes the details"):
        Rejection(code, "why", **dict.fromkeys([*keys, "more"], 1))
    if keys:
        with pytest.raises(TypeError, match="takes the details"):
            Rejection(code, "why", **dict.fromkeys(sorted(keys)[1:], 1))


def test_other_codes_cannot_be_given() -> None:
    with pytest.raises(TypeError, match="unknown error code 'managed_pane_lost'"):
        Rejection("managed_pane_lost", "why")


def test_what_leaves_no_trace_in_the_log() -> None:
    assert {"validation_failed", "tower_busy", "command_expired", "internal_error"} == UNRECORDED


def test_an_internal_error_names_nothing_of_the_inside() -> None:
    assert INTERNAL_ERROR_MESSAGE == "The tower could not decide this command; its log says why."
    assert http_status("bundle_invalid") == 422
