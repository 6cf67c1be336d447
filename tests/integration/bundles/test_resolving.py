"""What a bundle names besides modules: context, agents, mentions; and what makes its version."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.bundles.files import prepared, problem, write

HEAD = "bundle: {name: b}\n"


# --- context, agents, mentions -------------------------------------------------------------------------------------


def test_agents_come_from_their_files_and_inline_definitions_win(tmp_path: Path) -> None:
    critic = (
        "---\nmeta: {name: critic, description: finds faults}\n"
        "tools: [{module: t, source: ./t}]\nmodel_role: slow\n---\nFind.\n"
    )
    inline = "{description: is kind, provider_preferences: [{provider: x}]}"
    write(
        tmp_path,
        {
            "bundle.yaml": HEAD + f"agents: {{include: ['b:critic'], kind: {inline}, other: {{instruction: Look.}}}}",
            "agents/critic.md": critic,
            "agents/kind.md": critic,
        },
    )
    agents = prepared(tmp_path).plan.agents
    of_file: dict[str, Any] = {
        "name": "critic",
        "description": "finds faults",
        "tools": [{"module": "t", "source": str(tmp_path / "agents/t")}],
        "model_role": "slow",
        "instruction": "Find.",
    }
    assert agents == {
        "b:critic": of_file,
        "kind": {**of_file, "description": "is kind", "provider_preferences": [{"provider": "x"}]},
        "other": {"instruction": "Look."},
    }


def test_an_agent_without_its_file_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"bundle.yaml": HEAD + "agents: {include: [critic]}"})
    found = problem(tmp_path)
    assert (found.code, found.details["searched"][0]) == ("bundle_not_found", f"{tmp_path}/agents/critic.md")


def test_a_wrong_agent_file_is_told_by_its_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"bundle.yaml": HEAD + "agents: {include: [x]}", "agents/x.md": "---\nmeta:\n  name: x\ntools: y\n---\n"},
    )
    assert problem(tmp_path).details == {
        "file": str(tmp_path / "agents/x.md"),
        "line": 4,
        "field": "tools",
        "expected": "a list of maps with `module`",
    }


def test_mentions_pull_in_each_content_once_and_three_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    body = (
        "Read @one.md, @b:docs/two and @~/three.md.\nAsk @alice, a@b.com; "
        "not `@code.md` nor\n```\n@code.md\n```\nbut @gone/x.md."
    )
    write(
        tmp_path,
        {
            "bundle.md": f"---\nbundle: {{name: b}}\ncontext: {{include: [one.md]}}\n---\n{body}",
            "one.md": "first @docs/same.md",
            "docs/same.md": "same @../deep.md",
            "docs/two.md": "second @same-copy.md",
            "docs/same-copy.md": "same @../deep.md",
            "deep.md": "deep @deeper.md",
            "deeper.md": "too deep",
            "home/three.md": "third",
            "code.md": "code",
        },
    )
    found = prepared(tmp_path)
    assert {text.name: text.text for text in found.context} == {
        "b:one.md": "first @docs/same.md",
        "b:docs/two": "second @same-copy.md",
        "same-copy.md": "same @../deep.md",
        "../deep.md": "deep @deeper.md",
        "~/three.md": "third",
    }
    assert len(found.warnings) == 1 and "@gone/x.md leads nowhere" in found.warnings[0]


# --- what a version is ---------------------------------------------------------------------------------------------


def test_the_digest_is_of_the_content_and_not_of_times(tmp_path: Path) -> None:
    files = {"bundle.md": "---\nbundle: {name: b}\nincludes: [p.yaml]\n---\n@c.md", "p.yaml": "hooks: []", "c.md": "c"}
    bundle = write(tmp_path / "one", files)
    first = prepared(bundle)
    assert len(first.digest) == 64
    (bundle / "p.yaml").touch()
    assert prepared(bundle).digest == first.digest
    assert prepared(write(tmp_path / "other", files)).digest == first.digest
    for name in files:
        write(bundle, {**files, name: files[name] + " # more"})
        assert prepared(bundle).digest != first.digest, name
    write(bundle, files)
    assert prepared(bundle).digest == first.digest


def test_a_prepared_bundle_can_be_kept(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"bundle.md": "---\nbundle: {name: b}\ncontext: {x: c.md}\nruntime: {kind: echo}\n---\nHi", "c.md": "c"},
    )
    found = prepared(tmp_path)
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
    assert set(found.files) >= {str(tmp_path / "bundle.md"), str(tmp_path / "c.md")}
    assert found.prepare_s > 0
