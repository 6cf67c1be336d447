"""`agenttower session`: what a person sees of sessions."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.sessions.conftest import AGENT
from tests.integration.tower.conftest import Desk
from tests.needs import need


class Person:
    """At a terminal beside a tower."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def types(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.desk.cli("session", *words)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def reads(self, *words: str) -> Any:
        return json.loads(self.types(*words, "--json").stdout)


@pytest.fixture(scope="module")
def person() -> Iterator[Person]:
    need("tmux")
    tower = ChildTower(variables={"SHELL": "/bin/sh"})
    desk = Desk(tower)
    try:
        tower.start()
        yield Person(desk)
    finally:
        desk.close()
        tower.remove()


def inline(person: Person, instruction: str, kind: str = "echo", **runtime: Any) -> str:
    """A session from a plan, at rest; the command line takes bundles."""
    if kind == "command":
        runtime = {"argv": [sys.executable, str(AGENT)], "context": "none", **runtime}
    data = {"bundle": {"bundle": {"name": "b"}, "runtime": {"kind": kind, **runtime}}, "instruction": instruction}
    return person.desk.http.post("/sessions", json=data).json()["result"]["session_id"]


def test_a_further_instruction_is_followed_to_its_end(person: Person) -> None:
    session = inline(person, "say one", "command")
    done = person.types("instruct", session[:12], "say two\nwords 3 0.05")
    assert (done.stdout, done.stderr) == ("two\nword 0\nword 1\nword 2\n", "")
    said = person.reads("instruct", session, "say three")
    assert (said["state"], said["output"], said["turn"], said["turn_count"]) == ("completed", "three\n", 3, 3)


def test_what_went_wrong_is_said_on_stderr(person: Person) -> None:
    session = inline(person, "say one", "command")
    done = person.types("instruct", session, "say two\nfail 3", code=1)
    assert done.stdout == "two\n"
    assert "exit_status" in done.stderr
    assert "session resume" in done.stderr
    assert person.types("resume", session, "say better").stdout == "better\n"


def test_show_and_transcript(person: Person) -> None:
    session = inline(person, "hello\nworld")
    shown = person.types("show", session).stdout
    for text in (session, "completed", "echo", "turn 1", "hello"):
        assert text in shown
    assert person.types("show", session, "--transcript").stdout == "user\nhello\nworld\nassistant\nhello\nworld\n"
    assert person.reads("show", session)["id"] == session


def test_list(person: Person) -> None:
    session = inline(person, "listed one")
    assert "listed one" in person.types("list").stdout
    assert session in [row["id"] for row in person.reads("list", "--state", "completed")["items"]]
    assert "No sessions" in person.types("list", "--bundle", "nothing").stdout


def test_cancel_and_end(person: Person) -> None:
    session = inline(person, "one")
    assert "takes no further" in person.types("end", session).stdout
    refused = person.types("instruct", session, "two", code=1)
    assert "session_ended" in refused.stderr
    assert "is cancelled" in person.types("cancel", inline(person, "one")).stdout


def test_a_bundle_that_is_not_there_is_said(person: Person, tmp_path: Path) -> None:
    done = person.types("spawn", str(tmp_path / "nowhere"), "hello", code=1)
    assert "bundle_not_found" in done.stderr


def test_names_of_python_sessions(person: Person) -> None:
    done = person.desk.cli("exec", "run", "-c", "answer = 42", "--session", "origin")
    assert done.returncode == 0
    assert "will be saved" in person.types("checkpoint", "origin").stdout
    assert "will be restored" in person.types("restore", "origin").stdout
    assert person.types("fork", "origin", "--id", "branch").stdout == "branch\n"
    assert person.desk.cli("exec", "run", "-c", "answer", "--session", "branch").stdout == "42\n"
