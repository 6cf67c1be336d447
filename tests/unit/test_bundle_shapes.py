"""What a bundle may not say: which field, and what was expected there."""

from typing import Any

import pytest

from domain.bundles.inline import inline_plan
from domain.bundles.merging import Replace
from domain.bundles.plan import Plan, agent_of
from domain.bundles.shapes import faults, unknown
from domain.errors import Rejection

HEAD = {"bundle": {"name": "b"}}

WRONG: list[tuple[Any, str, str]] = [
    ({"tools": {"module": "x"}}, "tools", "a list of maps with `module`"),
    ({"tools": ["tool-bash"]}, "tools[0]", "a map with `module`"),
    ({"tools": [{"source": "x"}]}, "tools[0].module", "a text that is not empty"),
    ({"hooks": [{"module": "h", "config": ["x"]}]}, "hooks[0].config", "a map"),
    ({"providers": [{"module": "h"}, {"module": 5}]}, "providers[1].module", "a text that is not empty"),
    ({"session": []}, "session", "a map"),
    ({"session": {"orchestrator": {"module": "m", "config": 1}}}, "session.orchestrator.config", "a map"),
    ({"includes": "x.yaml"}, "includes", "a list of URIs"),
    ({"includes": [{"uri": "x"}]}, "includes[0].bundle", "a text that is not empty"),
    ({"agents": ["x"]}, "agents", "a map: `include` with a list of names, or names"),
    ({"agents": {"include": "x"}}, "agents.include", "a list of names"),
    ({"agents": {"x": "does things"}}, "agents.x", "a map that says what the agent is"),
    ({"context": {"rules": ["x"]}}, "context.rules", "a text that is not empty"),
    ({"spawn": {"exclude_tools": "x"}}, "spawn.exclude_tools", "a list of texts"),
    ({"runtime": {"kind": "comand"}}, "runtime.kind", "one of command, python, pane, echo"),
    ({"runtime": {"kind": "command", "argv": "claude -p"}}, "runtime.argv", "a list of texts"),
    ({"permissions": {"files": {"read": "/x"}}}, "permissions.files.read", "a list of texts"),
    ({"background_sessions": [{"bundle": "x"}]}, "background_sessions[0].name", "a text that is not empty"),
    ({"lenient": "yes"}, "lenient", "true or false"),
    ({"tools": Replace({"module": "x"})}, "tools", "a list of maps with `module`"),
]


@pytest.mark.parametrize(
    ("section", "field", "expected"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_shape_is_told_by_field(section: dict[str, Any], field: str, expected: str) -> None:
    assert [(fault.field, fault.expected) for fault in faults({**HEAD, **section}, top=True)] == [(field, expected)]


def test_a_bundle_has_a_name_and_what_it_includes_needs_none() -> None:
    assert [fault.field for fault in faults({"tools": []}, top=True)] == ["bundle.name"]
    assert faults({"tools": []}, top=False) == []


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a/b", 5])
def test_a_name_is_also_a_namespace(name: object) -> None:
    assert [fault.field for fault in faults({"bundle": {"name": name}}, top=True)] == ["bundle.name"]


def test_a_list_is_no_bundle() -> None:
    assert [fault.field for fault in faults(["x"], top=True)] == [""]


def test_sections_may_be_empty() -> None:
    empty = dict.fromkeys(["includes", "session", "tools", "agents", "context", "spawn", "runtime"])
    assert faults({**HEAD, **empty, "hooks": [{"module": "h", "config": None}]}, top=True) == []


def test_unknown_keys_are_seen() -> None:
    assert unknown({"bundle": {"name": "b", "author": "me"}, "tols": []}) == [("tols",), ("bundle", "author")]


def test_a_plan_may_be_given_whole() -> None:
    plan = inline_plan({"instruction": " Be brief. ", "runtime": {"kind": "echo"}, "agents": {"x": {"tools": []}}})
    assert (plan.name, plan.instruction, plan.runtime, plan.agents) == (
        "inline",
        "Be brief.",
        {"kind": "echo"},
        {"x": {"tools": []}},
    )


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"tools": "x"}, "tools"),
        ({"includes": ["x"]}, "includes"),
        ({"context": {"a": "b"}}, "context"),
        ({"agents": {"include": ["x"]}}, "agents.include"),
    ],
)
def test_a_plan_that_is_given_whole_reads_no_file(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejection) as refused:
        inline_plan(given)
    assert (refused.value.code, refused.value.details["field"]) == ("bundle_invalid", field)


def test_an_agent_is_found_without_its_namespace_where_there_is_one_of_that_name() -> None:
    plan = Plan(name="p", agents={"a:x": {"n": 1}, "b:y": {"n": 2}, "c:y": {"n": 3}})
    assert agent_of(plan, "a:x") == agent_of(plan, "x") == {"n": 1}
    assert agent_of(plan, "y") is agent_of(plan, "z") is None
