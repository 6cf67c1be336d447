"""What a session's policy lets code have: files below folders, hosts, commands."""

import os
from pathlib import Path
from typing import Any

import pytest

from adapters.runtimes.permissions import policy_of
from handlers.effects.capabilities import Policy, among, may_run, within


def test_by_default_code_may_ask_people_and_emit_events_and_nothing_else() -> None:
    policy = Policy()
    assert (policy.input, policy.emit) == (True, True)
    assert (policy.read_file, policy.write_file, policy.fetch, policy.run) == ((), (), (), ())


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/data", True),
        ("/data/a/b.txt", True),
        ("/database", False),
        ("/dat", False),
        ("/etc/motd", True),
        ("/etc/motd.old", False),
        ("/", False),
        ("data/a", False),
    ],
)
def test_files_are_named_or_lie_below_a_folder_that_is(path: str, allowed: bool) -> None:
    assert within(("/data", "/etc/motd"))(path) is allowed


@pytest.mark.parametrize(
    ("listed", "path", "allowed"),
    [
        ("/data/**", "/data/a/b", True),
        ("/data/**", "/data", True),
        ("/data/**", "/database/a", False),
        ("/data/*/notes", "/data/a/notes", True),
        ("/data/*/notes", "/data/a/notes/today.md", True),
        ("/data/*/notes", "/data/a/b/notes", False),
        ("/data/**/notes", "/data/a/b/notes", True),
        ("/data/*.md", "/data/a.md", True),
        ("/data/*.md", "/data/axmd", False),
        ("/data/*.md", "/data/sub/a.md", False),
        ("/**", "/etc/shadow", True),
    ],
)
def test_a_star_stands_for_a_name_and_two_for_any_number(listed: str, path: str, allowed: bool) -> None:
    assert within((listed,))(path) is allowed


def test_a_plan_says_what_its_code_may_have(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    given = {"files": {"read": ["link/**", "~/x"], "write": ["/a/../b"]}, "commands": ["git"], "hosts": ["*.org"]}
    policy = policy_of({**given, "spawn": ["critic"], "emit": False}, str(tmp_path))
    assert policy.read_file == (f"{real}/**", os.path.realpath(os.path.expanduser("~/x")))
    assert (policy.write_file, policy.run, policy.fetch) == (("/b",), ("git",), ("*.org",))
    assert (policy.spawn, policy.emit, policy.input) == (("critic",), False, True)
    assert policy_of({}, "/") == Policy(spawn=())


@pytest.mark.parametrize("wrong", [{"files": "all"}, {"files": {"read": "/x"}}, {"commands": "git"}, {"spawn": "x"}])
def test_what_is_of_no_known_shape_allows_nothing(wrong: dict[str, Any]) -> None:
    assert policy_of(wrong, "/") == Policy(spawn=())


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("api.example.com:443", True),
        ("api.example.com:80", True),
        ("example.com:443", False),
        ("xapi.example.com:443", False),
        ("a.example.org:443", True),
        ("a.b.example.org:443", True),
        ("example.org:443", False),
        ("badexample.org:443", False),
        ("localhost:8080", True),
        ("localhost:8081", False),
        ("example.org.evil.net:443", False),
    ],
)
def test_hosts_with_all_their_ports_or_one_and_what_lies_below_a_domain(address: str, allowed: bool) -> None:
    assert among(("api.example.com", "*.example.org", "localhost:8080"))(address) is allowed


@pytest.mark.parametrize(
    ("argv", "allowed"),
    [
        (["git", "status"], True),
        (["git", "status", "--short"], True),
        (["git", "push"], False),
        (["git"], False),
        (["pytest", "-x"], True),
        (["pytest"], True),
        (["/usr/bin/pytest"], False),
        (["git status"], False),
        ([], False),
    ],
)
def test_commands_with_all_their_arguments_or_the_first_ones(argv: list[str], allowed: bool) -> None:
    assert may_run(argv, ("git status", "pytest", "  ")) is allowed
