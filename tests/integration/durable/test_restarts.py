"""A tower that is killed while executions wait, run and ask: each reaches one end, nothing runs twice."""

import asyncio
from pathlib import Path

from tests.integration.durable.conftest import Runs
from tests.waiting import eventually

STOPPING = '"event": "stopping"'
COUNTS = "with open({path!r}, 'a') as file: file.write('run\\n')\n"
LEAVES = (
    "import subprocess\nchild = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
    "with open({path!r}, 'w') as file: file.write(str(child.pid))\n"
)


async def test_after_a_restart(runs: Runs, short_tmp: Path) -> None:
    """One kill for all: what waited runs, what ran is lost, or runs again where that is safe; who was asked is not
    asked again; names are those of the last checkpoint; deadlines hold."""
    once, twice, left = short_tmp / "once", short_tmp / "twice", short_tmp / "left"
    assert await runs.value("names = [1, 2]\ndef twice(): return names * 2\nlen(names)", session_id="saved") == 2
    runs.desk.accepted("session", "checkpoint", {"session_id": "saved"})
    await runs.of_session("saved", "checkpointed")
    ran = runs.request(
        LEAVES.format(path=str(left)) + COUNTS.format(path=str(once)) + "import time; time.sleep(600)",
        session_id="busy",
    )
    waited = runs.request("'waited'", session_id="busy")
    again = runs.request(
        COUNTS.format(path=str(twice)) + "first = input('1? ')\nsecond = input('2? ')\nfirst + second",
        session_id="safe",
        retry="safe",
    )
    await runs.asks(again, 1)
    runs.desk.accepted("execution", "answer", {"execution_id": again, "value": "a"})
    await runs.asks(again, 2)
    cancelled = runs.request("import time; time.sleep(600)", session_id="unlucky", retry="safe")
    await eventually(lambda: runs.events(ran, "started") and once.exists(), "it has begun", timeout_s=30)
    await runs.event(cancelled, "started")
    promise = runs.desk.accepted("promise", "create", {"timeout": 2})["promise_id"]
    child = int(left.read_text())
    runs.desk.restart()
    await eventually(lambda: not Path(f"/proc/{child}").exists(), "the end of what had left its group")
    end = await runs.end(ran)
    assert (end["event"], end["attempt"]) == ("lost", 1)
    assert (await runs.end(waited))["value"] == "waited"
    assert once.read_text() == "run\n"
    await runs.event(again, "started", 2)
    runs.desk.accepted("execution", "answer", {"execution_id": again, "value": "b"})
    end = await runs.end(again)
    assert (end["event"], end["value"], end["attempt"]) == ("completed", "ab", 2)
    assert len(runs.desk.events(kind="promise", id=f"exec:{again}:input:1")) == 2, "asked once, answered once"
    assert twice.read_text() == "run\n" * 2
    assert await runs.value("twice()", session_id="saved") == [1, 2, 1, 2]
    runs.desk.accepted("execution", "cancel", {"execution_id": cancelled})
    assert (await runs.end(cancelled))["event"] == "cancelled"
    expired = await eventually(lambda: runs.desk.events(kind="promise", id=promise)[1:], "its deadline", timeout_s=30)
    assert [each["type"] for each in expired] == ["agenttower.promise.timed_out.v1"]


async def test_a_clean_stop_waits_for_what_runs(runs: Runs, short_tmp: Path) -> None:
    go_on, log = short_tmp / "go-on", runs.desk.tower.home / "tower.log"
    ends = f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n'whole'"
    running = runs.request(ends, session_id="stopping")
    await runs.event(running, "started")
    before = log.read_text().count(STOPPING)
    runs.desk.close()
    stopped = asyncio.create_task(asyncio.to_thread(runs.desk.tower.stop))
    await eventually(lambda: log.read_text().count(STOPPING) > before, "the tower stops")
    assert not stopped.done()
    go_on.touch()
    await stopped
    runs.desk.tower.start()
    assert [each["event"] for each in runs.events(running)] == ["requested", "started", "completed"]


async def test_names_are_saved_restored_and_forked(runs: Runs) -> None:
    assert await runs.value("a = [1]; b = a; a is b", session_id="origin")
    runs.desk.accepted("session", "checkpoint", {"session_id": "origin", "verify": True})
    saved = await runs.of_session("origin", "checkpointed")
    assert sorted(saved["names"]) == ["a", "b"]
    assert await runs.value("a = 0; a", session_id="origin") == 0
    runs.desk.accepted("session", "restore", {"session_id": "origin"})
    await runs.of_session("origin", "restored")
    assert await runs.value("a is b and a == [1]", session_id="origin")
    forked = runs.desk.accepted("session", "fork", {"from": "origin"})["session_id"]
    assert await runs.value("a.append(2); b", session_id=forked) == [1, 2]
    assert await runs.value("a", session_id="origin") == [1]
