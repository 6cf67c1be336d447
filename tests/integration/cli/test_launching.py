"""`agenttower template …` and `agenttower profile …`, with a tower and without; what `doctor` says of the files."""

from pathlib import Path

import pytest

from tests.integration.cli.conftest import Desk, Terminal, agenttower, columns
from tests.integration.cli.test_completion import offered

EXAMPLES = Path(__file__).parents[3] / "examples"


def configure(home: Path) -> Path:
    """The examples, a secret, and a faulty file of each kind."""
    config = home / "config" / "agenttower"
    for kind, name in (("templates", "review"), ("launch_profiles", "claude")):
        (config / kind).mkdir(parents=True, exist_ok=True)
        (config / kind / f"{name}.yaml").write_text((EXAMPLES / kind / f"{name}.yaml").read_text())
    (config / "templates" / "bad.yaml").write_text("name: bad\npanes: 3\n")
    (config / "launch_profiles" / "bad.yaml").write_text("name: bad\ncommand: claude -x\n")
    (config / "launch_profiles" / "other.yaml").write_text("name: other\ncommand: [x]\nenv: {MY_KEY: hidden, A: b}\n")
    return config


@pytest.fixture
def home(short_tmp: Path) -> Path:
    configure(short_tmp)
    return short_tmp


def test_template_list(home: Path) -> None:
    done = agenttower(home, "template", "list")
    table, _, skipped = done.out.partition("\n\n")
    config = home / "config" / "agenttower"
    assert columns(table) == [
        ["NAME", "PANES", "SLOTS", "LAUNCH", "FROM"],
        ["1m+2s", "3", "master:m1 slave:s1 slave:s2", "shell", "built in"],
        ["2m+2s", "4", "master:m1 master:m2 slave:s1 slave:s2", "shell", "built in"],
        ["review", "3", "master:m1 slave:s1 slave:s2", "claude", f"{config}/templates/review.yaml"],
    ]
    assert columns(skipped) == [
        ["SKIPPED", "WHY"],
        [f"{config}/templates/bad.yaml:2", "panes: expected a list of panes"],
    ]
    assert (done.code, done.err) == (0, "")


def test_template_show(home: Path) -> None:
    done = agenttower(home, "template", "show", "review")
    head, _, *table = done.out.splitlines()
    assert head == f"Template review, from {home}/config/agenttower/templates/review.yaml"
    assert columns("\n".join(table)) == [
        ["SLOT", "ROLE", "CAPABILITY", "LABEL", "LAUNCH", "RESTART"],
        ["master:m1", "master", "plan", "m{n}", "claude", "never"],
        ["slave:s1", "slave", "code", "s{n}", "claude", "on_failure"],
        ["slave:s2", "slave", "code", "s{n}", "claude", "on_failure"],
    ]
    assert agenttower(home, "template", "show", "1m+2s", "--json").json["source"] == "built_in"


def test_profile_list_and_show(home: Path) -> None:
    done = agenttower(home, "profile", "list")
    assert columns(done.out)[1][:4] == ["claude", "claude --dangerously-skip-permissions", "FOO", "/workspace"]
    assert "command: expected a list of words, not one string: write it as [claude, --option, value]" in done.out
    for words in (("list",), ("list", "--json"), ("show", "other"), ("show", "other", "--json")):
        shown = agenttower(home, "profile", *words)
        assert shown.code == 0, shown
        assert "hidden" not in shown.out
    other = agenttower(home, "profile", "show", "other")
    assert columns(other.out)[2:5] == [["command", "x"], ["env", "MY_KEY=<redacted>"], ["env", "A=b"]]
    listed = agenttower(home, "profile", "list", "--json").json
    assert [row["id"] for row in listed["items"]] == ["claude", "other", "shell"]
    assert [problem["line"] for problem in listed["problems"]] == [2]


def test_an_unknown_one_says_what_is_skipped(home: Path) -> None:
    done = agenttower(home, "template", "show", "bad")
    assert (done.code, done.out) == (1, "")
    skipped, message, hint = done.err.splitlines()
    assert skipped.endswith("bad.yaml:2: panes: expected a list of panes")
    assert message == "managed_template_not_found: no template 'bad'"
    assert "template list" in hint
    assert agenttower(home, "profile", "show", "nix").err.splitlines()[1].startswith("managed_launch_command_not_found")


def test_doctor_lists_what_is_skipped(home: Path) -> None:
    checks = agenttower(home, "doctor", "--json").json["checks"]
    found = {check["name"]: check for check in checks if check["name"] in ("templates", "profiles")}
    assert [check["level"] for check in found.values()] == ["warning", "warning"]
    assert found["templates"]["said"].endswith("bad.yaml:2: panes: expected a list of panes")
    for kind in ("templates", "launch_profiles"):
        (home / "config" / "agenttower" / kind / "bad.yaml").unlink()
    checks = agenttower(home, "doctor", "--json").json["checks"]
    said = {check["name"]: check["said"] for check in checks}
    assert (said["templates"], said["profiles"]) == ("3: 1m+2s, 2m+2s, review", "3: claude, other, shell")


def test_completion(home: Path) -> None:
    assert set(offered(home, "layout", "create", "--template", "").out.split()) == {"1m+2s", "2m+2s", "review"}
    assert offered(home, "template", "show", "re").out.split() == ["review"]
    assert offered(home, "profile", "show", "").out.split() == ["claude", "other", "shell"]
    assert offered(home, "pane", "recreate", "x", "--launch", "cl").out.split() == ["claude"]


def test_of_a_running_tower(desk: Desk, terminal: Terminal) -> None:
    configure(desk.home)
    page = desk.json("template", "list")
    assert [row["id"] for row in page["items"]] == ["1m+2s", "2m+2s", "review"]
    assert page["position"] > 0
    assert [problem["line"] for problem in page["problems"]] == [2]
    assert desk.json("profile", "show", "other")["env"] == {"MY_KEY": "<redacted>", "A": "b"}
    assert len(desk.json("profile", "list", "--limit", "1")["items"]) == 1
    assert "--limit" in desk.ok("profile", "list", "--limit", "1").err
    for words in (("template", "list"), ("profile", "list"), ("template", "show", "review")):
        assert all(len(line) <= 80 for line in terminal.agenttower(desk.home, *words))
