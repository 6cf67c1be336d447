"""What holds for every command: quick to start, exit codes, where messages go, what --json promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.conftest import agenttower, environment

GROUPS = ["layout", "pane", "agent", "events", "audit", "projections"]


HEAVY = ("fastapi", "nats", "pydantic", "sqlalchemy", "structlog", "uvicorn")


def test_help_loads_nothing_that_only_a_tower_needs() -> None:
    script = (
        "import sys, adapters.cli.main as cli\ntry:\n    cli.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    words = [sys.executable, "-c", script, "--help"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    assert "adapters.cli.main" in done.stderr.split()
    assert not set(HEAVY) & set(done.stderr.split())


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_explains_itself(group: str) -> None:
    done = agenttower(None, group, "--help")
    assert done.code == 0
    assert f"agenttower {group}" in done.out


def test_version() -> None:
    done = agenttower(None, "--version")
    assert done.code == 0
    assert done.out.strip().count(".") == 2


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["layout", "create"],
        ["layout", "create", "--template", "1m+2s", "--session-name", "x", "--override", "slave:s1"],
        ["layout", "list", "--limit", "0"],
        ["events", "query", "--type", "pane.nonsense"],
        ["audit", "verify", "--from", "9", "--to", "3"],
        ["pane", "logs", "m1", "--follow", "--json"],
        ["projections", "rebuild", "nonsense"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_usage_errors_are_exit_code_2(short_tmp: Path, words: list[str]) -> None:
    done = agenttower(short_tmp, *words)
    # What can only be known from the tower comes after it was looked for.
    assert done.code == 2 or (words[0] == "events" and done.code == 1), done
    assert done.out == ""
    assert done.err


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["layout", "list"],
        ["layout", "show", "x"],
        ["layout", "create", "--template", "1m+2s", "--session-name", "x"],
        ["pane", "list"],
        ["pane", "logs", "m1"],
        ["pane", "attach", "m1"],
        ["agent", "list"],
        ["events", "query"],
        ["events", "tail"],
        ["audit", "verify"],
        ["projections", "list"],
    ],
    ids=" ".join,
)
def test_without_a_tower_it_says_how_to_start_one(short_tmp: Path, words: list[str]) -> None:
    done = agenttower(short_tmp, *words)
    assert done.code == 1
    assert done.out == ""
    assert f"no tower runs for node local (home {short_tmp}): start one with `agenttower up`" in done.err


def test_without_a_tower_json_goes_to_stderr_too(short_tmp: Path) -> None:
    done = agenttower(short_tmp, "layout", "list", "--json")
    assert (done.code, done.out) == (1, "")
    assert "no tower runs" in json.loads(done.err)["error"]["message"]


def test_home_and_node_may_stand_before_or_after_the_command(short_tmp: Path) -> None:
    for words in (
        ["--home", str(short_tmp), "--node", "south", "status"],
        ["status", "--home", str(short_tmp), "--node", "south"],
    ):
        done = agenttower(None, *words)
        assert f"no tower runs for node south (home {short_tmp})" in done.err


def test_the_file_of_a_killed_tower_is_no_tower(short_tmp: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    fields = {"pid": ended.pid, "node": "local", "http": "http://127.0.0.1:9", "nats": "nats://x", "tmux": "/x"}
    (short_tmp / "tower.json").write_text(json.dumps(fields))
    done = agenttower(short_tmp, "status")
    assert done.code == 1
    assert "no tower runs" in done.err


def test_a_tower_that_does_not_answer_is_named(short_tmp: Path) -> None:
    fields = {"pid": os.getpid(), "node": "local", "http": "http://127.0.0.1:9", "nats": "nats://x", "tmux": "/x"}
    (short_tmp / "tower.json").write_text(json.dumps(fields))
    (short_tmp / "http.token").write_text("x" * 20)
    done = agenttower(short_tmp, "layout", "list")
    assert done.code == 1
    assert "the tower at http://127.0.0.1:9 does not answer" in done.err


def test_a_faulty_settings_file_is_named_with_its_line(short_tmp: Path) -> None:
    file = short_tmp / "config" / "agenttower" / "agenttower.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("http: 127.0.0.1:7700\nnoode: north\n")
    done = agenttower(short_tmp, "status")
    assert done.code == 1
    assert f"{file}:2: noode is no setting; did you mean node?" in done.err
