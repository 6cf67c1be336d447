"""What a session gets from its parent: ids, modules, context. Properties hold for any plans and transcripts."""

import re
from copy import deepcopy
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sessions import ids
from domain.sessions.context import in_scope, selected
from domain.sessions.inheritance import entries, inherited, key_of, of_agent
from domain.sessions.messages import Message

NAMES = st.sampled_from(["a", "b", "c", "d"])
ENTRIES = st.lists(
    st.fixed_dictionaries({"module": NAMES}, optional={"id": st.sampled_from(["x", "y"]), "config": st.just({"k": 1})}),
    max_size=4,
    unique_by=lambda entry: str(entry.get("id") or entry["module"]),
)
PLANS = st.fixed_dictionaries({}, optional={"providers": ENTRIES, "tools": ENTRIES, "hooks": ENTRIES})
CHOICES = st.booleans() | st.lists(NAMES, max_size=2).map(tuple)
MESSAGES = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["system", "user", "assistant", "tool"]),
        content=st.text(max_size=3),
        name=st.sampled_from([None, "delegate", "bash"]),
    ),
    max_size=20,
)
SCOPES = st.sampled_from(["conversation", "agents", "full"])


class TestIds:
    @pytest.mark.parametrize(
        ("name", "slug"),
        [("Code  Review!", "code-review"), ("--x--", "x"), ("", "agent"), ("é", "agent"), ("A_b.C", "a-b-c")],
    )
    def test_the_name_is_made_fit(self, name: str, slug: str) -> None:
        assert ids.slug(name) == slug

    @given(st.uuids(version=4), st.uuids(version=4), st.text(max_size=200), st.text(max_size=50))
    def test_a_childs_parent_span_is_its_parents_own(self, first: UUID, second: UUID, name: str, root: str) -> None:
        child = ids.made(first, name, root)
        below = ids.made(second, name, child)
        assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{16}_[a-z0-9]+(-[a-z0-9]+)*", child)
        assert below.split("-")[0] == child.split("-")[1].split("_")[0]
        assert ids.is_id(below)

    def test_at_the_root_it_is_the_uuid(self) -> None:
        fresh = UUID("7d5f3c1a-0e2b-4f60-8a9b-c0d1e2f3a4b5")
        assert ids.made(fresh, "x", None) == str(fresh)
        assert ids.span_of(str(fresh)) == "0e2b4f608a9bc0d1"
        assert ids.span_of("mine") == "0" * 16


class TestInheritance:
    PARENT: dict[str, Any] = {  # noqa: RUF012
        "providers": [{"module": "provider-x"}],
        "tools": [{"module": "bash", "config": {"a": 1}}, {"module": "web"}, {"module": "delegate"}],
        "hooks": [{"module": "log", "id": "one"}, {"module": "log", "id": "two"}],
        "spawn": {"exclude_tools": ["delegate"]},
    }

    def test_by_default_only_providers_and_only_if_there_are_none(self) -> None:
        made = inherited({}, self.PARENT)
        assert (made["providers"], made["tools"], made["hooks"]) == (self.PARENT["providers"], [], [])
        own = {"providers": [{"module": "mine"}]}
        assert inherited(own, self.PARENT)["providers"] == own["providers"]
        assert inherited({}, self.PARENT, providers=False)["providers"] == []

    def test_tools_go_beneath_the_bundles_own_which_replace_whole(self) -> None:
        made = inherited({"tools": [{"module": "bash", "config": {"b": 2}}]}, self.PARENT, tools=True)
        assert made["tools"] == [{"module": "web"}, {"module": "bash", "config": {"b": 2}}]

    def test_a_list_names_modules_or_ids(self) -> None:
        made = inherited({}, self.PARENT, tools=("web", "none"), hooks=("two",))
        assert (made["tools"], made["hooks"]) == ([{"module": "web"}], [{"module": "log", "id": "two"}])
        assert len(inherited({}, self.PARENT, hooks=("log",))["hooks"]) == 2

    def test_what_the_parent_excludes_is_not_handed_on_even_if_named(self) -> None:
        assert inherited({}, self.PARENT, tools=("delegate",))["tools"] == []

    @given(PLANS, PLANS, CHOICES, CHOICES, CHOICES)
    def test_for_any_plans(self, plan: Any, parent: Any, providers: Any, tools: Any, hooks: Any) -> None:
        before = deepcopy((plan, parent))
        made = inherited(plan, parent, providers=providers, tools=tools, hooks=hooks)
        for kind in ("tools", "hooks"):
            own, all_ = entries(plan, kind), entries(made, kind)
            assert all_[len(all_) - len(own) :] == own, "its own come last, in their order, as they are"
            offered = [entry for entry in entries(parent, kind) if entry in all_[: len(all_) - len(own)]]
            assert all_[: len(all_) - len(own)] == offered, "inherited ones keep the parent's order"
            keys = [key_of(entry) for entry in all_]
            assert len(set(keys)) == len(keys)
        assert entries(made, "providers") == entries(plan, "providers") or not entries(plan, "providers")
        for entry in (entry for kind in ("providers", "tools", "hooks") for entry in made[kind]):
            entry.setdefault("config", {})["changed"] = True
        assert (plan, parent) == before, "copies: the parent's plan never changes"

    def test_an_agent_runs_on_its_parents_runtime_with_no_more_permissions(self) -> None:
        parent = {"runtime": {"kind": "echo"}, "permissions": {"commands": ["git"]}, "tools": [{"module": "t"}]}
        agent = {"instruction": "Criticise.", "permissions": {"commands": ["rm"]}, "meta": {"name": "critic"}}
        assert of_agent(agent, parent) == {
            "runtime": {"kind": "echo"},
            "permissions": {"commands": ["git"]},
            "instruction": "Criticise.",
        }


class TestContext:
    SAID = (
        Message(role="system", content="rules"),
        Message(role="user", content="1"),
        Message(role="assistant", content="one"),
        Message(role="tool", content="ls", name="bash"),
        Message(role="user", content="2"),
        Message(role="tool", content="found", name="tool-delegate"),
        Message(role="assistant", content="two"),
    )

    def contents(self, **options: Any) -> list[str]:
        chosen = {"depth": "all", "scope": "conversation", "turns": 5} | options
        return [message.content for message in selected(self.SAID, **chosen)]

    def test_scopes(self) -> None:
        assert self.contents() == ["1", "one", "2", "two"]
        assert self.contents(scope="agents") == ["1", "one", "2", "found", "two"]
        assert self.contents(scope="full") == [message.content for message in self.SAID]

    def test_depths(self) -> None:
        assert self.contents(depth="none") == []
        assert self.contents(depth="recent", turns=1) == ["2", "two"]
        assert self.contents(depth="recent", turns=2, scope="full") == [each.content for each in self.SAID]

    @given(MESSAGES, SCOPES, st.integers(1, 8))
    def test_for_any_transcript(self, said: list[Message], scope: Any, turns: int) -> None:
        everything = selected(said, depth="all", scope=scope, turns=turns)
        recent = selected(said, depth="recent", scope=scope, turns=turns)
        assert everything == tuple(message for message in said if in_scope(message, scope))
        assert selected(said, depth="none", scope=scope, turns=turns) == ()
        assert recent == everything[len(everything) - len(recent) :], "an end of it, in order"
        users = sum(message.role == "user" for message in everything)
        assert sum(message.role == "user" for message in recent) == min(turns, users)
        if users > turns:
            assert recent[0].role == "user", "turns are whole"
        else:
            assert recent == everything, "fewer turns than asked: all"
