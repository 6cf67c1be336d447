"""What may stand in a definition, and how what may not is told: with the path of its field."""

from typing import Any

import pytest

from domain.background.definition import MAX_DECLARED, MAX_QUEUE, TriggerDefinition
from domain.background.reading import declared_in, definitions
from domain.errors import Rejection
from tests.unit.yards import declaration, definition


def wrong(given: list[Any]) -> str:
    with pytest.raises(Rejection) as refused:
        definitions(given)
    assert refused.value.code == "validation_failed"
    return refused.value.details["field"]


def triggered(type_: str, **config: Any) -> dict[str, Any]:
    return declaration(triggers=[{"type": type_, "config": config}])


def test_what_is_not_said_is_as_the_documents_say() -> None:
    made = definition()
    assert (made.pool_size, made.queue_size, made.overflow, made.coalesce) == (1, 100, "block", "none")
    assert (made.start_on_parent_start, made.stop_on_parent_stop, made.restart_on_failure) == (True, True, True)
    assert (made.max_restarts, made.restart_window) == (3, 60.0)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"pool_size": 0}, "pool_size"),
        ({"pool_size": True}, "pool_size"),
        ({"queue_size": MAX_QUEUE + 1}, "queue_size"),
        ({"overflow": "explode"}, "overflow"),
        ({"coalesce": "newest"}, "coalesce"),
        ({"name": "-x"}, "name"),
        ({"name": None}, "name"),
        ({"bundle": None}, "bundle"),
        ({"bundle": 3}, "bundle"),
        ({"colour": "red"}, "colour"),
        ({"on_complete_emit": "done"}, "on_complete_emit"),
        ({"on_error_emit": "session:error"}, "on_error_emit"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"restart_window": 0}, "restart_window"),
        ({"timeout": "soon"}, "timeout"),
        ({"instruction": "{"}, "instruction"),
        ({"instruction": "{colour}"}, "instruction"),
        ({"instruction": "{event.colour}"}, "instruction"),
        ({"instruction": "do", "instruction_template": "do"}, "instruction_template"),
        ({"instruction_template": "{event.data[x}"}, "instruction_template"),
        ({"start_on_parent_start": "yes"}, "start_on_parent_start"),
        ({"triggers": []}, "triggers"),
        ({"triggers": "often"}, "triggers"),
        ({"triggers": ["often"]}, "triggers[0]"),
        ({"triggers": [{"type": "Session"}]}, "triggers[0].type"),
        ({"triggers": [{"config": {}}]}, "triggers[0].type"),
        ({"triggers": [{"module": 7}]}, "triggers[0].type"),
        ({"triggers": [{"type": "manual", "when": 1}]}, "triggers[0].when"),
        ({"triggers": [{"type": "manual", "config": []}]}, "triggers[0].config"),
        ({"triggers": [{"type": "manual", "config": {"x": 1}}]}, "triggers[0].config.x"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], field: str) -> None:
    assert wrong([declaration("fine"), declaration() | changed]) == f"background_sessions[1].{field}"


@pytest.mark.parametrize(
    ("type_", "config", "field"),
    [
        ("session_event", {}, "event_names"),
        ("session_event", {"event_names": "work:ready"}, "event_names"),
        ("session_event", {"event_names": []}, "event_names"),
        ("session_event", {"event_names": ["work"]}, "event_names"),
        ("session_event", {"event_names": ["wo*"]}, "event_names"),
        ("session_event", {"event_names": ["work:*"], "source_sessions": "lead"}, "source_sessions"),
        ("session_event", {"event_names": ["work:*"], "often": True}, "often"),
        ("timer", {"interval_seconds": 0}, "interval_seconds"),
        ("timer", {"missed": "twice"}, "missed"),
        ("file_change", {"patterns": "*.py"}, "patterns"),
        ("file_change", {"debounce_ms": -1}, "debounce_ms"),
    ],
)
def test_a_wrong_config_is_named(type_: str, config: dict[str, Any], field: str) -> None:
    assert wrong([triggered(type_, **config)]) == f"background_sessions[0].triggers[0].config.{field}"


def test_all_ways_to_listen_are_taken() -> None:
    made = definition(triggers=[{"type": "session_event", "config": {"event_names": ["a:b", "work:*", "*"]}}])
    assert made.triggers[0].config["event_names"] == ["a:b", "work:*", "*"]


def test_a_module_of_the_ecosystem_is_understood() -> None:
    made = definition(
        triggers=[
            {"module": "trigger-session-event", "source": "git+https://x/y", "config": {"event_names": ["a:b"]}},
            {"module": "trigger-issue-event"},
            {"module": "trigger-manual"},
        ]
    )
    assert [each.type for each in made.triggers] == ["session_event", "issue_event", "manual"]
    assert made.triggers[1].config == {"event_names": ["issue:*"]}


def test_a_type_of_a_package_says_itself_what_is_wrong_with_its_config() -> None:
    assert definition(triggers=[{"type": "tide", "config": {"harbour": "Lisbon", "at": [1, 2.5]}}]).triggers == (
        TriggerDefinition(type="tide", config={"harbour": "Lisbon", "at": [1, 2.5]}),
    )
    assert wrong([triggered("tide", harbour=object())]).endswith(".triggers[0].config")


def test_two_of_one_name_are_one_too_many() -> None:
    assert wrong([declaration(), declaration("other"), declaration()]) == "background_sessions[2].name"
    assert wrong([declaration()] * (MAX_DECLARED + 1)) == "background_sessions"
    assert wrong(["workers"]) == "background_sessions[0]"


def test_bundles_declare_at_their_top_or_in_the_config_of_their_orchestrator() -> None:
    inner, outer = declaration("inner"), declaration("outer")
    session = {"orchestrator": {"module": "loop", "config": {"background_sessions": [inner, declaration("outer")]}}}
    plan = {"session": session, "background_sessions": [outer | {"pool_size": 2}]}
    assert declared_in(plan) == (outer | {"pool_size": 2}, inner)
    assert declared_in({"session": {"orchestrator": "loop-basic"}}) == ()
