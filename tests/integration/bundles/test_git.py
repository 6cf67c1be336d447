"""Bundles in git repositories: made here, fetched by the git program from this machine."""

import subprocess
from pathlib import Path

import pytest

from adapters.bundles.uris import GitUri, WrongUri, parse
from tests.integration.bundles.files import commit, git, prepared, problem, write

HEAD = "bundle: {name: b}\n"


def uri(repository: Path, ref: str = "main", path: str = "") -> str:
    return f"git+file://{repository}@{ref}" + (f"#subdirectory={path}" if path else "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("git+https://h.org/o/r", GitUri("https://h.org/o/r", "main", "")),
        ("git+https://h.org/o/r@v1.2#subdirectory=a/b.yaml", GitUri("https://h.org/o/r", "v1.2", "a/b.yaml")),
        ("git+ssh://git@h.org/o/r", GitUri("ssh://git@h.org/o/r", "main", "")),
        ("git+ssh://git@h.org/o/r@feat/x", GitUri("ssh://git@h.org/o/r", "feat/x", "")),
    ],
)
def test_a_git_uri_names_repository_ref_and_path(text: str, expected: GitUri) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "git+https://user:secret@h.org/o/r@main",
        "git+https://token@h.org/o/r@main",
        "git+https://h.org/o/r@--upload-pack=x",
        "git+https://h.org/o/r@main#subdirectory=../../x",
        "git+ext://sh -c id",
        "http://h.org/x",
    ],
)
def test_other_uris_are_refused(text: str) -> None:
    with pytest.raises(WrongUri):
        parse(text)


def test_a_bundle_comes_from_a_branch_a_tag_and_a_commit(tmp_path: Path) -> None:
    repository = tmp_path / "o" / "r"
    first = commit(repository, {"bundle.yaml": HEAD + "spawn: {n: 1}"})
    git(repository, "tag", "v1")
    git(repository, "-c", "user.name=t", "-c", "user.email=t@t", "tag", "-a", "-m", "x", "v1-signed")
    commit(repository, {"bundle.yaml": HEAD + "spawn: {n: 2}", "sub/x.yaml": HEAD + "includes: ['b:bundle.yaml']"})
    found = {
        ref: prepared(uri(repository, ref), tmp_path / "home").plan.spawn for ref in ("main", "v1", "v1-signed", first)
    }
    assert found == {"main": {"n": 2}, "v1": {"n": 1}, "v1-signed": {"n": 1}, first: {"n": 1}}
    assert prepared(uri(repository, "main", "sub/x.yaml"), tmp_path / "home").plan.spawn == {"n": 2}


def test_a_moved_branch_is_a_new_version_when_it_is_asked_for(tmp_path: Path) -> None:
    repository = tmp_path / "r"
    commit(repository, {"bundle.yaml": HEAD})
    old = prepared(uri(repository), tmp_path / "home")
    commit(repository, {"bundle.yaml": HEAD + "tools: [{module: t}]"})
    assert prepared(uri(repository), tmp_path / "home", fresh=False).digest == old.digest
    assert prepared(uri(repository), tmp_path / "home").digest != old.digest


def test_offline_the_cached_copy_serves_with_a_warning_else_it_is_an_error(tmp_path: Path) -> None:
    repository = tmp_path / "r"
    commit(repository, {"bundle.yaml": HEAD})
    write(tmp_path, {"top.yaml": f"bundle: {{name: top}}\nincludes: ['{uri(repository)}']"})
    prepared(tmp_path / "top.yaml", tmp_path / "home")
    repository.rename(tmp_path / "away")
    found = prepared(tmp_path / "top.yaml", tmp_path / "home")
    assert len(found.warnings) == 1 and "serves" in found.warnings[0]
    missing = problem(tmp_path / "top.yaml", tmp_path / "other home")
    assert (missing.code, missing.details["bundle"]) == ("bundle_not_found", uri(repository))
    assert "fatal: " in missing.message and str(repository) in missing.message


def test_an_unknown_ref_is_told(tmp_path: Path) -> None:
    commit(tmp_path / "r", {"bundle.yaml": HEAD})
    assert "has no nothing" in problem(uri(tmp_path / "r", "nothing"), tmp_path / "home").message


def test_what_was_fetched_is_kept_by_commit_and_never_changed(tmp_path: Path) -> None:
    ids = []
    for n in range(2):
        ids.append(commit(tmp_path / "r", {"bundle.yaml": HEAD + f"spawn: {{n: {n}}}"}))
        prepared(uri(tmp_path / "r"), tmp_path / "home")
    (folder,) = (tmp_path / "home/bundles/git").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == sorted([*ids, "refs.json"])


@pytest.mark.parametrize("text", ["includes: ['../../../out.yaml']", "includes: [./link.yaml]", "context: {x: /OUT}"])
def test_a_fetched_bundle_does_not_lead_out_of_its_repository(text: str, tmp_path: Path) -> None:
    write(tmp_path, {"out.yaml": "tools: [{module: out}]"})
    repository = tmp_path / "r"
    repository.mkdir()
    (repository / "link.yaml").symlink_to(tmp_path / "out.yaml")
    commit(repository, {"bundle.yaml": HEAD + text.replace("/OUT", str(tmp_path / "out.yaml"))})
    found = problem(uri(repository), tmp_path / "home")
    assert found.code == "bundle_not_found"
    assert any("outside of its repository" in place for place in found.details["searched"])


def test_a_mirror_stands_for_a_host(tmp_path: Path) -> None:
    commit(tmp_path / "work", {"x.yaml": "tools: [{module: x}]"})
    subprocess.run(
        ["git", "clone", "-q", "--bare", str(tmp_path / "work"), str(tmp_path / "mirror/o/r.git")], check=True
    )
    write(tmp_path, {"b.yaml": HEAD + "includes: ['git+https://example.org/o/r.git@main#subdirectory=x.yaml']"})
    prefixes = {"git+https://example.org/": str(tmp_path / "mirror")}
    assert prepared(tmp_path / "b.yaml", tmp_path / "home", prefixes=prefixes).plan.tools == ({"module": "x"},)
