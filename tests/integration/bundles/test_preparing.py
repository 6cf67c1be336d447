"""Bundles on disk: formats, includes, names, and what is told of wrong ones."""

from pathlib import Path

import pytest

from domain.bundles.plan import mounted
from tests.integration.bundles.files import prepared, problem, write

HEAD = "bundle: {name: b}\n"


# --- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bundle.md", "bundle.yaml", "any.yaml", "any.yml", "any.md"])
def test_a_bundle_is_a_file_of_either_kind(name: str, tmp_path: Path) -> None:
    yaml = "bundle: {name: b, version: 1.2.0, description: d}\ntools: [{module: tool-bash}]\n"
    write(tmp_path, {name: f"---\n{yaml}---\nBe kind.\n" if name.endswith(".md") else yaml})
    found = prepared(tmp_path / name)
    assert (found.name, found.version, found.description) == ("b", "1.2.0", "d")
    assert found.plan.tools == ({"module": "tool-bash"},)
    assert found.instruction == ("Be kind." if name.endswith(".md") else "")


def test_a_folder_is_its_markdown_before_its_yaml(tmp_path: Path) -> None:
    write(tmp_path, {"bundle.md": "---\nbundle: {name: md}\n---\n", "bundle.yaml": "bundle: {name: yaml}"})
    assert prepared(tmp_path).name == "md"
    (tmp_path / "bundle.md").unlink()
    assert prepared(tmp_path).name == "yaml"


@pytest.mark.parametrize("before", ["", "\ufeff"])
def test_front_matter_may_follow_a_byte_order_mark(before: str, tmp_path: Path) -> None:
    write(tmp_path, {"b.md": f"{before}---\nbundle: {{name: b}}\n---\n\n  The body.\n\n---\n\nAnd more.\n"})
    assert prepared(tmp_path / "b.md").instruction == "The body.\n\n---\n\nAnd more."


def test_without_front_matter_all_is_body(tmp_path: Path) -> None:
    write(tmp_path, {"b.yaml": HEAD + "includes: [./words.md]", "words.md": "Only words.\n"})
    assert prepared(tmp_path / "b.yaml").instruction == "Only words."


def test_values_stay_what_yaml_says(tmp_path: Path) -> None:
    config = "{n: 1.5, i: 7, t: true, no: no, none: null, d: 2026-01-02, inf: .inf, s: '1'}"
    write(tmp_path, {"b.yaml": HEAD + f"tools: [{{module: t, config: {config}}}]"})
    assert prepared(tmp_path / "b.yaml").plan.tools[0]["config"] == {
        "n": 1.5,
        "i": 7,
        "t": True,
        "no": False,
        "none": None,
        "d": "2026-01-02",
        "inf": ".inf",
        "s": "1",
    }


# --- what is wrong -------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, str, int | None, str]] = [
    ("tools: {module: x}", "tools", 2, "a list of maps with `module`"),
    ("tools:\n  - tool-bash", "tools[0]", 3, "a map with `module`"),
    ("tools:\n  - module: a\n  - source: x", "tools[1].module", 4, "a text that is not empty"),
    ("hooks:\n  - module: a\n    config: [x]", "hooks[0].config", 4, "a map"),
    ("session: [x]", "session", 2, "a map"),
]


@pytest.mark.parametrize(("text", "field", "line", "expected"), WRONG)
@pytest.mark.parametrize("markdown", [False, True])
def test_a_wrong_shape_is_told_with_file_line_field_and_what_was_expected(
    text: str, field: str, line: int, expected: str, markdown: bool, tmp_path: Path
) -> None:
    file = tmp_path / ("bundle.md" if markdown else "bundle.yaml")
    file.write_text(f"---\n{HEAD}{text}\n---\nbody" if markdown else HEAD + text)
    found = problem(tmp_path)
    assert (found.code, found.details) == (
        "bundle_invalid",
        {"file": str(file), "line": line + markdown, "field": field, "expected": expected},
    )
    assert found.message.startswith(f"{file}:{line + markdown}: {field}: expected {expected}")


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"b.yaml": "tools: x\nhooks: y\n"})
    assert [fault.split(": ")[1] for fault in problem(tmp_path / "b.yaml").faults] == ["tools", "hooks", "bundle.name"]


@pytest.mark.parametrize("head", ["bundle: {name: b", "tools: [*nothing]", "a: 1\na: 2", "? [x]\n: y", '"\\ud800": 1'])
def test_front_matter_that_is_no_yaml_is_told_with_its_line(head: str, tmp_path: Path) -> None:
    write(tmp_path, {"bundle.md": f"---\n{head}\n---\nbody"})
    found = problem(tmp_path)
    assert found.code == "bundle_invalid"
    assert found.details["file"] == str(tmp_path / "bundle.md")
    assert found.details["line"] in (None, 2, 3)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"bundle: {name: b}\n---\nbundle: {name: c}", b"x" * 1_100_000, b"[]"]
)
def test_what_is_no_bundle_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(content)
    assert problem(tmp_path / "b.yaml").code == "bundle_invalid"


def test_only_the_top_bundle_needs_a_name(tmp_path: Path) -> None:
    write(tmp_path, {"b.yaml": HEAD + "includes: [./part.yaml]", "part.yaml": "tools: [{module: t}]"})
    assert len(prepared(tmp_path / "b.yaml").plan.tools) == 1
    assert problem(tmp_path / "part.yaml").details["field"] == "bundle.name"


def test_unknown_keys_are_kept_and_warned_of_once(tmp_path: Path) -> None:
    write(tmp_path, {"b.yaml": HEAD + "includes: [./p.yaml, ./p.yaml]\ncolor: red", "p.yaml": "tolls: [1]"})
    found = prepared(tmp_path / "b.yaml")
    assert found.plan.extra == {"tolls": [1], "color": "red"}
    assert [(warning.split(": ")[0], "tools?" in warning) for warning in found.warnings] == [
        (f"{tmp_path}/b.yaml:3", False),
        (f"{tmp_path}/p.yaml:1", True),
    ]


# --- includes ------------------------------------------------------------------------------------------------------


def test_includes_come_first_depth_first_and_own_content_last(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b.yaml": HEAD + "includes: [./one.yaml, {bundle: ./two}]\ntools: [{module: own}]\nspawn: {by: own}",
            "one.yaml": "includes: [deep/three.yml]\ntools: [{module: one}]\nspawn: {by: one, first: one}",
            "two/bundle.yaml": "tools: [{module: two}, {module: one, config: {x: 2}}]\nspawn: {by: two}",
            "deep/three.yml": "tools: [{module: three}]\nspawn: {first: three, deep: 1}",
        },
    )
    plan = prepared(tmp_path / "b.yaml").plan
    assert plan.tools == (
        {"module": "three"},
        {"module": "one", "config": {"x": 2}},
        {"module": "two"},
        {"module": "own"},
    )
    assert plan.spawn == {"first": "one", "deep": 1, "by": "own"}


def test_a_diamond_is_read_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b.yaml": HEAD + "includes: [./l.yaml, ./r.yaml]",
            "l.yaml": "includes: [./base.yaml]\ntools: [{module: l}]",
            "r.yaml": "includes: [./../" + tmp_path.name + "/base.yaml]\ntools: [{module: r}]",
            "base.yaml": "bundle: {name: base}\ncontext: {rules: r.md}\ntools: [{module: base}]\nodd: 1",
            "r.md": "rules",
        },
    )
    found = prepared(tmp_path / "b.yaml")
    assert [tool["module"] for tool in found.plan.tools] == ["base", "l", "r"]
    assert [text.name for text in found.context] == ["base:rules"]
    assert len(found.warnings) == 1


def test_replace_in_a_file_replaces(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b.yaml": HEAD + "includes: [./p.yaml]\n"
            "tools:\n  - module: t\n    config: !replace {y: [3]}\nhooks: !replace [{module: g}]",
            "p.yaml": "tools: [{module: t, config: {x: [1]}}]\nhooks: [{module: h}]",
        },
    )
    plan = prepared(tmp_path / "b.yaml").plan
    assert mounted(plan) == {"tools": [{"module": "t", "config": {"y": [3]}}], "hooks": [{"module": "g"}]}


def test_another_tag_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"b.yaml": HEAD + "tools: !!python/object:os.system []"})
    assert problem(tmp_path / "b.yaml").code == "bundle_invalid"


def test_a_missing_include_is_told_with_what_was_searched(tmp_path: Path) -> None:
    write(tmp_path, {"b.yaml": HEAD + "includes: [./gone]"})
    found = problem(tmp_path / "b.yaml")
    assert (found.code, found.details["bundle"]) == ("bundle_not_found", "./gone")
    assert found.details["searched"] == [
        str(tmp_path / name) for name in ("gone/bundle.md", "gone/bundle.yaml", "gone.yaml", "gone.yml", "gone.md")
    ]
    assert f"{tmp_path}/b.yaml:2" in found.message
    assert str(tmp_path / "gone.yaml") in found.files, "it is mended by writing that file"


def test_a_cycle_is_told_with_its_chain(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"b.yaml": HEAD + "includes: [x.yaml]", "x.yaml": "includes: [y.yaml]", "y.yaml": "includes: [x.yaml]"},
    )
    found = problem(tmp_path / "b.yaml")
    assert found.code == "bundle_include_cycle"
    assert found.details["chain"] == [str(tmp_path / name) for name in ("x.yaml", "y.yaml", "x.yaml")]


@pytest.mark.parametrize("by_file", [True, False])
def test_lenient_leaves_both_out_and_says_so(by_file: bool, tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b.yaml": HEAD
            + f"includes: [./gone, x.yaml]\nagents: {{include: [nobody]}}\nlenient: {str(by_file).lower()}",
            "x.yaml": "includes: [b.yaml]\ntools: [{module: t}]",
        },
    )
    found = prepared(tmp_path / "b.yaml", lenient=not by_file)
    assert [tool["module"] for tool in found.plan.tools] == ["t"]
    assert ["gone" in found.warnings[0], "includes itself" in found.warnings[1], "nobody" in found.warnings[2]] == (
        [True] * 3
    )


def test_lenient_forgives_no_wrong_shape(tmp_path: Path) -> None:
    write(tmp_path, {"b.yaml": HEAD + "includes: [./p.yaml]", "p.yaml": "tools: x"})
    assert problem(tmp_path / "b.yaml", lenient=True).code == "bundle_invalid"


# --- names ---------------------------------------------------------------------------------------------------------


def test_a_namespace_begins_at_the_root_of_its_repository_or_at_itself(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "repo/bundle.md": "---\nbundle: {name: whole}\n---\n",
            "repo/.git/HEAD": "",
            "repo/behaviors/part.yaml": "bundle: {name: part}\nincludes: [whole:behaviors/other, part:near]",
            "repo/behaviors/other.yaml": "tools: [{module: other}]\ncontext: {include: [part:context/rules.md]}",
            "repo/behaviors/near/bundle.yaml": "tools: [{module: near}]",
            "repo/context/rules.md": "rules",
        },
    )
    found = prepared(tmp_path / "repo/behaviors/part.yaml")
    assert [tool["module"] for tool in found.plan.tools] == ["other", "near"]
    assert [(text.name, text.text) for text in found.context] == [("part:context/rules.md", "rules")]


@pytest.mark.parametrize("ending", ["", ".yaml", ".yml", ".md"])
def test_a_namespaced_path_is_tried_with_each_ending(ending: str, tmp_path: Path) -> None:
    file = {"": "x/bundle.yaml"}.get(ending, f"x{ending}")
    write(
        tmp_path,
        {"bundle.yaml": HEAD + "includes: ['b:x']", file: "---\nspawn: {a: 1}\n" + "---\n" * (ending == ".md")},
    )
    assert prepared(tmp_path).plan.spawn == {"a": 1}


def test_an_unknown_namespace_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"bundle.yaml": HEAD + "includes: ['nobody:x']"})
    assert problem(tmp_path).details == {"bundle": "nobody:x", "searched": ["no bundle named nobody is loaded"]}


def test_a_configured_bundle_is_known_by_its_name_and_as_a_namespace(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "base/bundle.md": "---\nbundle: {name: base}\ntools: [{module: base}]\n---\n",
            "base/more.yaml": "tools: [{module: more}]",
            "b.yaml": HEAD + "includes: [base, 'base:more']",
        },
    )
    configured = [str(tmp_path / "base"), str(tmp_path / "gone")]
    plan = prepared(tmp_path / "b.yaml", configured=configured).plan
    assert [tool["module"] for tool in plan.tools] == ["base", "more"]
    assert prepared("base", configured=configured, folder=str(tmp_path / "base")).name == "base"
    assert problem("nobody", configured=configured).details["searched"][0] == "no bundle named nobody is known"
    (tmp_path / "base").rename(tmp_path / "moved")
    assert problem(tmp_path / "b.yaml").details["bundle"] == "base"


def test_paths_and_file_uris_lead_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"home/a b.yaml": HEAD})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    ways = ["home/a b.yaml", "./home/../home/a b.yaml", "~/a b.yaml", f"file://{tmp_path}/home/a%20b.yaml"]
    assert {prepared(way).uri for way in ways} == {str(tmp_path / "home/a b.yaml")}


def test_a_prefix_leads_to_a_local_folder(tmp_path: Path) -> None:
    write(tmp_path, {"mirror/o/r/x.yaml": "tools: [{module: x}]", "one/y.yaml": "tools: [{module: y}]"})
    included = [
        "git+https://example.org/o/r@v1#subdirectory=x.yaml",
        "git+https://example.org/o/s@main#subdirectory=y.yaml",
    ]
    write(tmp_path, {"b.yaml": HEAD + "includes:\n" + "".join(f"  - {uri}\n" for uri in included)})
    prefixes = {
        "git+https://example.org/": str(tmp_path / "mirror"),
        "git+https://example.org/o/s": str(tmp_path / "one"),
    }
    plan = prepared(tmp_path / "b.yaml", prefixes=prefixes).plan
    assert [tool["module"] for tool in plan.tools] == ["x", "y"]


def test_relative_sources_of_modules_become_absolute(tmp_path: Path) -> None:
    module = "{module: m, source: ./m, config: {source: ./stays}}"
    write(
        tmp_path,
        {
            "b.yaml": HEAD + "includes: [sub/p.yaml]\ntools: [{module: n, source: 'git+https://h/o/r@main'}]",
            "sub/p.yaml": f"tools: [{module}]\nsession: {{orchestrator: {module}}}\n"
            f"agents: {{a: {{tools: [{module}]}}}}\nhooks: [{{module: up, source: ../up}}]",
        },
    )
    plan = prepared(tmp_path / "b.yaml").plan
    made = {"module": "m", "source": str(tmp_path / "sub/m"), "config": {"source": "./stays"}}
    assert plan.tools == (made, {"module": "n", "source": "git+https://h/o/r@main"})
    assert plan.session == {"orchestrator": made}
    assert plan.agents["a"]["tools"] == [made]
    assert plan.hooks == ({"module": "up", "source": str(tmp_path / "up")},)


@pytest.mark.parametrize(
    "declared",
    [
        "background_sessions: [{name: a, bundle: ./w.yaml, triggers: [{type: timer, config: {cron: never}}]}]",
        "session: {orchestrator: {module: m, config: {background_sessions: [{name: a, bundle: w, pool_size: 0}]}}}",
    ],
)
def test_what_it_declares_and_cannot_be_is_a_warning_that_names_the_field(tmp_path: Path, declared: str) -> None:
    found = prepared(write(tmp_path, {"b.yaml": HEAD + declared}) / "b.yaml")
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("background_sessions[0].")
    assert "no session can be spawned" in found.warnings[0]
