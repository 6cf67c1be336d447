"""A tower that is killed with sessions in every state: each is as the log says, and no turn is taken twice."""

from pathlib import Path
from typing import Any

from tests.integration.sessions.conftest import Talks, agent, plan
from tests.waiting import eventually


def slow_to_stop() -> dict[str, Any]:
    bundle = agent()
    bundle["runtime"]["grace_s"] = 60
    return bundle


HELD = "import pathlib, time\nwhile not pathlib.Path({path!r}).exists(): time.sleep(0.01)\n"
COUNTED = "with open({path!r}, 'a') as file: file.write('run\\n')\n"


async def test_twenty_sessions_in_every_state(talks: Talks, tmp_path: Path) -> None:
    counts = [tmp_path / f"run{number}" for number in range(5)]
    running = [
        talks.spawn(COUNTED.format(path=str(path)) + "import time; time.sleep(600)", plan("python"), background=n > 2)
        for n, path in enumerate(counts)
    ]
    go = tmp_path / "go"
    waiting = [talks.instruct(each, HELD.format(path=str(go)) + f"'turn two of {each}'") for each in running]
    assert waiting == [2] * 5
    rested = [talks.spawn("kept = 7", plan("python")) for _ in range(4)]
    failed = [talks.spawn("fail 1", agent()) for _ in range(3)]
    gone = [talks.spawn("hang", agent()) for _ in range(3)]
    late = talks.spawn("hang", agent(), timeout=600)
    stopping = [talks.spawn("ignore-term\nhang", slow_to_stop()) for _ in range(2)]
    soon = [talks.spawn("words 3 0.2", agent()) for _ in range(2)]
    for each in (*rested, *failed):
        await talks.rest(each)
    for each in gone:
        await talks.event(each, "turn_started")
        talks.cancel(each)
        await talks.event(each, "ended")
    for each in (*running, late, *stopping, *soon):
        await talks.event(each, "turn_started")
    await eventually(lambda: all(path.exists() for path in counts), "all run")
    for each in stopping:
        await talks.says(each, "hanging")
        talks.cancel(each)
    talks.desk.restart()
    for each in (*running, late):
        end = await talks.rest(each)
        assert (end["event"], end["error_type"]) == ("error", "lost")
        assert len(talks.events(each, "turn_started")) == 1
    for path in counts:
        assert path.read_text() == "run\n", "none is run twice"
    for each in stopping:
        assert (await talks.rest(each))["event"] == "cancelled", "which is what was asked for"
    for each in soon:
        assert (await talks.rest(each))["event"] in ("error", "completed")
    for each in gone:
        assert [name for name in talks.names(each) if name != "turn_started"][-2:] == ["cancelled", "ended"]
        refused = talks.desk.command("session", "resume", {"session_id": each, "instruction": "x"})
        assert refused["error"]["code"] == "session_ended", "remembered for ever"
    # What waited goes on when it is resumed, once, however many ask.
    first = running[0]
    outcomes = [talks.desk.command("session", "resume", {"session_id": first}) for _ in range(3)]
    assert [each["status"] for each in outcomes] == ["accepted"] * 3
    go.touch()
    end = await talks.event(first, "turn_completed")
    assert end["output"] == f"'turn two of {first}'\n"
    assert len(talks.events(first, "resumed")) == 2, "asked for once, its runtime made anew once"
    # A session that rested is resumed on its next use.
    talks.instruct(rested[0], "1 + 1")
    assert (await talks.event(rested[0], "turn_completed", 2))["output"] == "2\n"
    assert [each["reason"] for each in talks.events(rested[0], "resumed")] == ["restarted"]


async def test_what_waits_for_its_first_turn_goes_on(talks: Talks) -> None:
    """Killed at once after the answer: whatever had begun is told, what had not goes on."""
    sessions = [talks.spawn(f"{number}", plan("python")) for number in range(10)]
    talks.desk.restart()
    ends = [await talks.rest(each) for each in sessions]
    for number, (session, end) in enumerate(zip(sessions, ends, strict=True)):
        begun = len(talks.events(session, "turn_started"))
        assert begun == 1
        assert (end["event"], end.get("output")) in (("completed", f"{number}\n"), ("error", ""))


async def test_the_transcript_goes_on_after_a_restart(talks: Talks) -> None:
    session = talks.spawn("one", plan("command", argv=["cat"], context="json"))
    await talks.rest(session)
    talks.desk.restart()
    talks.instruct(session, "two")
    second = await talks.event(session, "turn_completed", 2)
    assert '"content":"one"' in second["output"]
