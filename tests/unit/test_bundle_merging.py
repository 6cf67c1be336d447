"""Composition of bundles: what the ecosystem's own code gives, and the laws that hold for whatever is composed."""

import json
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.bundles.layers import Layer, compose, context_of, plan_of
from domain.bundles.merging import Replace, deep_merge, merge_module_lists, module_key, plain
from domain.bundles.plan import mounted
from domain.bundles.shapes import layer_of

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "bundle-merge-vectors.json").read_text())
MERGES = {"deep_merge": deep_merge, "merge_module_lists": merge_module_lists}
SINGLE = [vector for vector in VECTORS if vector["fn"] in MERGES]
COMPOSED = {tuple(vector["args"]): vector["result"] for vector in VECTORS if vector["fn"] == "Bundle.compose"}

SOURCE = "git+https://github.com/microsoft"
SKILLS = [
    "git+https://github.com/obra/superpowers@main#subdirectory=skills",
    f"{SOURCE}/amplifier-bundle-superpowers@main#subdirectory=skills",
    f"{SOURCE}/amplifier-bundle-skills@main#subdirectory=skills",
]
"""The bundles that the vectors name, with what the expected composition shows of them."""
NAMED = {
    "base(name=base,instruction=BASE)": {
        "bundle": {"name": "base", "description": "base d"},
        "instruction": "BASE",
        "session": {
            "orchestrator": {"module": "loop-basic", "source": "s", "config": {"t": 1, "u": 1}},
            "context": {"module": "context-simple"},
        },
        "tools": [{"module": "t1", "source": "s0", "config": {"p": ["a"]}}, {"module": "t2"}],
        "agents": {"x": {"description": "one", "tools": []}},
        "spawn": {"exclude_tools": ["tool-task"]},
    },
    "top(name=top,no instruction,no description)": {
        "bundle": {"name": "top", "version": "2.0.0"},
        "session": {"orchestrator": {"module": "loop-streaming", "config": {"u": 2}}, "context": "context-simple"},
        "tools": [{"module": "t1", "source": "s1", "config": {"p": ["b"]}}],
        "hooks": [{"module": "h1"}],
        "agents": {"x": {"description": "two"}},
        "spawn": {"exclude_tools": ["tool-delegate", "tool-task"]},
    },
    "11-superpowers-methodology (composed)": {
        "bundle": {"name": "superpowers-methodology"},
        "tools": [
            {
                "module": "tool-mode",
                "source": f"{SOURCE}/amplifier-bundle-modes@main#subdirectory=modules/tool-mode",
                "config": {"gate_policy": "warn"},
            },
            {
                "module": "tool-skills",
                "source": f"{SOURCE}/amplifier-bundle-skills@main#subdirectory=modules/tool-skills",
                "config": {"skills": SKILLS[:2]},
            },
        ],
    },
    "13-skills-behavior": {
        "bundle": {"name": "skills-behavior"},
        "tools": [
            {
                "module": "tool-skills",
                "source": f"{SOURCE}/amplifier-module-tool-skills@main",
                "config": {
                    "skills": SKILLS[2:],
                    "visibility": {
                        "enabled": True,
                        "inject_role": "user",
                        "max_skills_visible": 50,
                        "ephemeral": True,
                        "priority": 20,
                    },
                },
            }
        ],
    },
    "01-foundation-minimal": {
        "bundle": {"name": "minimal", "version": "1.0.0"},
        "session": {
            "orchestrator": {"module": "loop-basic", "source": f"{SOURCE}/amplifier-module-loop-basic@main"},
            "context": {"module": "context-simple", "source": f"{SOURCE}/amplifier-module-context-simple@main"},
        },
        "tools": [{"module": "tool-filesystem", "source": f"{SOURCE}/amplifier-module-tool-filesystem@main"}],
    },
    "02-foundation-provider-anthropic-sonnet": {
        "bundle": {"name": "provider-anthropic-sonnet", "version": "1.0.0"},
        "providers": [
            {
                "module": "provider-anthropic",
                "source": f"{SOURCE}/amplifier-module-provider-anthropic@main",
                "config": {"default_model": "claude-sonnet-4-5", "raw": True},
            }
        ],
    },
}


@pytest.mark.parametrize("vector", SINGLE, ids=lambda vector: vector["fn"])
def test_merging_gives_what_the_ecosystem_gives(vector: dict[str, Any]) -> None:
    result = MERGES[vector["fn"]](*vector["args"])
    assert json.dumps(result) == json.dumps(vector["result"]), "also the order of keys and entries"


@pytest.mark.parametrize("names", COMPOSED, ids=lambda names: names[-1][:20])
def test_composing_gives_what_the_ecosystem_gives(names: tuple[str, ...]) -> None:
    expected = COMPOSED[names]
    layer = composed_of(*names)
    plan = plan_of(layer, agents={name: agent.inline for name, agent in layer.agents.items()})
    for key in expected.keys() & {"name", "version", "description", "instruction"}:
        assert getattr(plan, key) == expected[key]
    if "mount_plan" in expected:
        assert mounted(plan) == expected["mount_plan"]
    if "tools" in expected:
        assert [{"id": tool["module"], "source": tool["source"], "config": tool["config"]} for tool in plan.tools] == (
            expected["tools"]
        )


def test_every_vector_is_looked_at() -> None:
    assert len(SINGLE) + len(COMPOSED) == len(VECTORS)


def composed_of(*names: str) -> Layer:
    return reduce(compose, (layer_of(NAMED[name]) for name in names))


# --- laws ----------------------------------------------------------------------------------------------------------

SCALARS = st.integers(0, 3) | st.sampled_from(["a", "b", "", "1"]) | st.booleans() | st.none()
KEYS = st.sampled_from("abcd")
TYPED = st.fixed_dictionaries(
    {},
    optional={
        "number": SCALARS,
        "list": st.lists(SCALARS, max_size=3, unique_by=json.dumps),
        "map": st.dictionaries(KEYS, SCALARS, max_size=3),
        "deep": st.fixed_dictionaries({}, optional={"l": st.lists(SCALARS, max_size=2, unique_by=json.dumps)}),
    },
)
"""Maps of which each key holds one type of value: what merging is associative for."""
ANY = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
MAPS = st.dictionaries(KEYS, ANY, max_size=4)
ENTRIES = st.fixed_dictionaries(
    {"module": st.sampled_from("mnop")}, optional={"id": st.sampled_from("mxy"), "config": TYPED, "source": SCALARS}
)
MODULES = st.lists(ENTRIES, max_size=5)
REPLACING = MODULES | st.builds(Replace, MODULES)
LAYERS = st.builds(
    Layer,
    name=st.sampled_from(["one", "two", "three"]),
    version=st.sampled_from(["1", "2", None]),
    description=st.sampled_from(["", "d", "e"]),
    instruction=st.sampled_from(["", "do this", "do that"]),
    session=TYPED | st.builds(Replace, TYPED),
    runtime=st.fixed_dictionaries({}, optional={"kind": st.sampled_from(["echo", "python"]), "argv": st.just(["a"])}),
    tools=REPLACING,
    background_sessions=st.lists(st.fixed_dictionaries({"name": KEYS, "n": SCALARS}), max_size=3),
)


@given(TYPED, TYPED, TYPED)
def test_merging_maps_is_associative(one: Any, two: Any, three: Any) -> None:
    assert encoded(deep_merge(deep_merge(one, two), three)) == encoded(deep_merge(one, deep_merge(two, three)))


@given(MODULES, MODULES, MODULES)
def test_merging_module_lists_is_associative(one: Any, two: Any, three: Any) -> None:
    left = merge_module_lists(merge_module_lists(one, two), three)
    assert encoded(left) == encoded(merge_module_lists(one, merge_module_lists(two, three)))


@given(MAPS, MAPS)
def test_the_later_always_wins(parent: dict[str, Any], child: dict[str, Any]) -> None:
    result = deep_merge(parent, child)
    assert result.keys() == parent.keys() | child.keys()
    for key, value in child.items():
        if not isinstance(value, dict | list):
            assert encoded(result[key]) == encoded(value)
        elif isinstance(value, list):
            assert all(encoded(item) in map(encoded, result[key]) for item in value)


@given(MAPS, MAPS)
def test_nothing_that_was_given_is_changed(parent: dict[str, Any], child: dict[str, Any]) -> None:
    before = encoded([parent, child])
    deep_merge(parent, child)
    assert encoded([parent, child]) == before


@given(MODULES, MODULES)
def test_keys_are_unique_and_order_is_kept(parent: Any, child: Any) -> None:
    keys = [module_key(entry) for entry in merge_module_lists(parent, child)]
    assert keys == list(dict.fromkeys(map(module_key, [*parent, *child])))


@given(MAPS)
def test_merging_with_nothing_changes_nothing(one: dict[str, Any]) -> None:
    assert encoded(deep_merge(one, {})) == encoded(deep_merge({}, one)) == encoded(one)


@given(LAYERS, LAYERS, LAYERS)
def test_composing_bundles_is_associative(one: Layer, two: Layer, three: Layer) -> None:
    left, right = compose(compose(one, two), three), compose(one, compose(two, three))
    assert msgspec.to_builtins(plan_of(left)) == msgspec.to_builtins(plan_of(right))


@given(LAYERS, LAYERS)
def test_the_including_bundle_always_wins(included: Layer, own: Layer) -> None:
    plan = plan_of(compose(included, own))
    assert plan.name == own.name
    assert plan.instruction == (own.instruction or included.instruction)
    alone = plan_of(own)
    for entry in alone.tools:
        found = next(each for each in plan.tools if module_key(each) == module_key(entry))
        assert found["module"] == entry["module"]
        assert {key: found[key] for key in entry if key == "source"} == {k: entry[k] for k in entry if k == "source"}
    if alone.runtime.get("kind"):
        assert plan.runtime["kind"] == alone.runtime["kind"]


@given(st.lists(LAYERS, min_size=1, max_size=5))
def test_a_composed_bundle_has_each_module_once(layers: list[Layer]) -> None:
    keys = [module_key(entry) for entry in plan_of(reduce(compose, layers)).tools]
    assert len(keys) == len(set(keys))


# --- single rules --------------------------------------------------------------------------------------------------


def test_true_is_not_the_number_one() -> None:
    assert json.dumps(deep_merge({"l": [1]}, {"l": [True, 1]})) == '{"l": [1, true]}'


def test_replace_takes_the_place_of_what_is_there() -> None:
    base = layer_of({"tools": [{"module": "a"}, {"module": "b", "config": {"l": [1], "m": {"x": 1}}}]})
    entry = {"module": "b", "config": {"l": Replace([2]), "m": Replace({"y": 1})}}
    assert plan_of(compose(base, layer_of({"tools": [entry]}))).tools == (
        {"module": "a"},
        {"module": "b", "config": {"l": [2], "m": {"y": 1}}},
    )
    assert plan_of(compose(base, layer_of({"tools": Replace([{"module": "c"}])}))).tools == ({"module": "c"},)


def test_replace_still_replaces_when_more_was_merged_over_it_before() -> None:
    assert plain(deep_merge({"l": [1]}, deep_merge({"l": Replace([2])}, {"l": [3]}))) == {"l": [2, 3]}


def test_context_bears_the_name_of_its_bundle() -> None:
    one = layer_of({"bundle": {"name": "one"}, "context": {"rules": "rules.md", "two:known": "x.md"}})
    both = compose(one, layer_of({"bundle": {"name": "two"}, "context": {"include": ["rules.md"]}}))
    assert list(context_of(both)) == ["one:rules", "two:known", "two:rules.md"]


def test_a_runtime_that_names_its_kind_stands_alone_and_one_that_does_not_refines() -> None:
    base = layer_of({"runtime": {"kind": "command", "argv": ["a", "b"], "input": "stdin"}})
    assert compose(base, layer_of({"runtime": {"argv": ["c"]}})).runtime == {
        "kind": "command",
        "argv": ["c"],
        "input": "stdin",
    }
    for alone in ({"kind": "echo"}, {"kind": "command", "argv": ["c"]}):
        assert compose(base, layer_of({"runtime": alone})).runtime == alone


def encoded(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
