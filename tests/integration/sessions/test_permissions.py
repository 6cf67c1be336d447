"""What code in a session may ask of the tower, on a real tower: what the permissions of its bundle list."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.sessions.conftest import Talks, plan


def may(**permissions: Any) -> dict[str, Any]:
    return plan("python") | {"permissions": permissions}


async def said(talks: Talks, session: str, turn: int, code: str) -> str:
    """What a turn of code says, or the type of its error."""
    assert talks.instruct(session, code) == turn
    end = await talks.rest(session, turn)
    return end["output"] if end["event"] == "completed" else end["error_type"]


@pytest.mark.parametrize(
    "asked", ["read_file('/etc/hostname')", "write_file('x', 'y')", "run(['id'])", "spawn('b', 'i')"]
)
async def test_by_default_it_is_denied(asked: str, talks: Talks) -> None:
    session = talks.spawn(f"tower.{asked}", plan("python"))
    assert (await talks.rest(session))["error_type"] == "PermissionError"
    assert await talks.denied(session) == [(asked.partition("(")[0], "not allowed in this session")]


async def test_by_default_events_may_be_emitted(talks: Talks) -> None:
    session = talks.spawn("tower.emit('work:done', {'issue': 7})", plan("python"))
    assert (await talks.rest(session))["event"] == "completed"
    told = await talks.event(session, "emitted")
    assert (told["name"], told["data"]) == ("work:done", {"issue": 7})


async def test_what_the_bundle_permits_is_allowed_and_no_more(talks: Talks, tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    (inside / "sub" / "text").write_text("within")
    (outside / "text").write_text("without")
    (outside / "notes.md").write_text("notes")
    (inside / "link").symlink_to(outside / "text")
    files = {"read": [f"{inside}/**", f"{outside}/*.md"], "write": [f"{inside}/sub/**"]}
    session = talks.spawn("1", may(files=files, commands=["echo hi"]))
    await talks.rest(session)
    steps = [
        (f"print(tower.read_file('{inside}/sub/text'))", "within\n"),
        (f"print(tower.read_file('{outside}/notes.md'))", "notes\n"),
        (f"tower.read_file('{outside}/text')", "PermissionError"),
        (f"tower.read_file('{inside}/link')", "PermissionError"),
        (f"tower.write_file('{inside}/sub/new', 'x')", ""),
        (f"tower.write_file('{inside}/new', 'x')", "PermissionError"),
        ("print(tower.run(['echo', 'hi', 'there'])['stdout'])", "hi there\n\n"),
        ("tower.run(['echo', 'ho'])", "PermissionError"),
        ("tower.fetch('http://127.0.0.1:9/')", "PermissionError"),
    ]
    for turn, (code, expected) in enumerate(steps, start=2):
        assert await said(talks, session, turn, code) == expected, code
    assert (inside / "sub" / "new").read_text() == "x"
    asked = [capability for capability, _ in await talks.denied(session, 5)]
    assert asked == ["read_file", "read_file", "write_file", "run", "fetch"]


async def test_people_are_not_asked_and_nothing_is_emitted_where_the_bundle_says_so(talks: Talks) -> None:
    session = talks.spawn("tower.input('who? ')", may(input=False, emit=False))
    assert (await talks.rest(session))["error_type"] == "PermissionError"
    assert await said(talks, session, 2, "input('who? ')") == "PermissionError"
    assert await said(talks, session, 3, "tower.emit('work:done')") == "PermissionError"
    assert [capability for capability, _ in await talks.denied(session, 3)] == ["input", "input", "emit"]


async def test_an_agent_may_no_more_than_its_parent(talks: Talks) -> None:
    agent = {"runtime": {"kind": "python"}, "permissions": {"commands": ["echo"]}}
    parent = talks.spawn("1", may(emit=True) | {"agents": {"eager": agent}})
    await talks.rest(parent)
    child = talks.spawn("tower.run(['echo'])", agent="eager", parent_session_id=parent)
    assert (await talks.rest(child))["error_type"] == "PermissionError"
