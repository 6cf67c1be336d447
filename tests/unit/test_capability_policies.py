"""What a session's policy lets code have: files below folders, hosts, commands."""

import pytest

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
