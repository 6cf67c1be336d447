"""Executions on a whole tower with real workers: started by the log's leave, ended once, stopped, asked, answered."""

import subprocess
from pathlib import Path

import pytest

from tests.integration.durable.conftest import Runs
from tests.waiting import eventually


async def test_an_execution_is_requested_started_and_completed(runs: Runs) -> None:
    execution_id = runs.request("x = 20\nx + 1", session_id="first")
    end = await runs.end(execution_id)
    assert [each["event"] for each in runs.events(execution_id)] == ["requested", "started", "completed"]
    assert (end["value"], end["repr"], end["attempt"], end["mode"]) == (21, "21", 1, "simple_sync")
    assert await runs.value("x * 2", session_id="first") == 40, "the names of a session live on"


async def test_a_throwaway_session_is_fresh_and_ends_with_its_execution(runs: Runs) -> None:
    assert await runs.value("y = 1; y") == 1
    end = await runs.run("y")
    assert end["error"]["exception_type"] == "NameError"


async def test_more_throwaway_executions_than_workers_take_turns(runs: Runs) -> None:
    ids = [runs.request(f"{number} * 2") for number in range(24)]
    assert [(await runs.end(each))["value"] for each in ids] == [number * 2 for number in range(24)]


async def test_sessions_run_side_by_side_and_one_at_a_time_in_each(runs: Runs) -> None:
    waits = runs.request("input()", session_id="beside")
    await runs.asks(waits)
    behind = runs.request("2", session_id="beside")
    assert await runs.value("3", session_id="other") == 3
    assert [each["event"] for each in runs.events(behind)] == ["requested"]
    runs.desk.accepted("execution", "answer", {"execution_id": waits, "value": "go"})
    assert (await runs.end(behind))["value"] == 2


async def test_output_is_in_its_stream_before_the_end_is_in_the_log(runs: Runs) -> None:
    end = await runs.run("import os\nfor n in range(2000): print(n)\nos.write(2, b'err')\nNone")
    assert end["output_position"] > 0
    text = runs.desk.http.get(f"/executions/{end['execution_id']}/output", params={"format": "text"}).text
    assert text.replace("err", "").split() == [str(n) for n in range(2000)]
    silent = await runs.run("1")
    assert silent["output_position"] == 0


async def test_a_large_value_goes_by_its_digest(runs: Runs) -> None:
    end = await runs.run("'x' * 300_000")
    assert "value" not in end
    assert (end["value_bytes"], len(end["value_digest"])) == (300_002, 64)
    assert (len(end["repr"]), end["truncated"]) == (300_002, False)


async def test_text_that_utf8_cannot_hold_does_no_harm(runs: Runs) -> None:
    end = await runs.run(r"'\ud800'")
    assert end["event"] == "completed"
    end = await runs.run(r"raise ValueError('\udfff' * 100_000)")
    assert end["error"]["exception_type"] == "ValueError"
    assert len(end["error"]["message"]) == 64 * 1024


async def test_code_sees_nothing_of_the_towers_own_environment(runs: Runs) -> None:
    names = await runs.value("import os\n[name for name in os.environ if name.startswith('AGENTTOWER_')]")
    assert names == ["AGENTTOWER_WORKER"], "the mark by which its processes are known"


# --- stopping ------------------------------------------------------------------------------------------------------


async def test_a_cancel_stops_what_runs_and_the_worker_goes_on(runs: Runs) -> None:
    assert await runs.value("z = 5; z", session_id="stopped") == 5
    execution_id = runs.request("while True: pass", session_id="stopped")
    await runs.event(execution_id, "started")
    runs.desk.accepted("execution", "cancel", {"execution_id": execution_id})
    end = await runs.end(execution_id)
    assert (end["event"], end["worker_restarted"]) == ("cancelled", False)
    assert await runs.value("z", session_id="stopped") == 5


async def test_code_that_ignores_a_cancel_is_killed_and_the_last_checkpoint_is_restored(runs: Runs) -> None:
    assert await runs.value("kept = 7; kept", session_id="deaf") == 7
    runs.desk.accepted("session", "checkpoint", {"session_id": "deaf"})
    await runs.of_session("deaf", "checkpointed")
    code = "import time\nwhile True:\n  try: time.sleep(9)\n  except KeyboardInterrupt: pass"
    execution_id = runs.request(code, session_id="deaf")
    await runs.event(execution_id, "started")
    runs.desk.accepted("execution", "cancel", {"execution_id": execution_id})
    end = await runs.end(execution_id)
    assert (end["event"], end["worker_restarted"]) == ("cancelled", True)
    assert await runs.value("kept", session_id="deaf") == 7


async def test_a_timeout_ends_it(runs: Runs) -> None:
    end = await runs.run("import time; time.sleep(60)", timeout=0.2)
    assert end["event"] == "timed_out"


async def test_a_worker_that_dies_fails_its_execution_and_is_replaced(runs: Runs) -> None:
    end = await runs.run("import os; os._exit(3)", session_id="dies")
    assert (end["error"]["code"], end["error"]["exit_code"]) == ("worker_died", 3)
    assert await runs.value("1", session_id="dies") == 1


async def test_a_worker_that_dies_again_and_again_is_given_up_for_a_while(runs: Runs) -> None:
    ends = [await runs.run("import os; os._exit(1)", session_id="loops") for _ in range(5)]
    codes = [end["error"]["code"] for end in ends]
    assert codes == ["worker_died"] * 4 + ["worker_crash_loop"]


async def test_a_killed_worker_leaves_nobody_behind(runs: Runs) -> None:
    child = await runs.value(
        "import subprocess\nleft = subprocess.Popen(['sleep', '600'], start_new_session=True)\nleft.pid",
        session_id="orphan",
    )
    await runs.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", session_id="orphan")
    await eventually(lambda: not _alive(child), "its child has ended")


def _alive(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() not in ("", "Z")


# --- questions -----------------------------------------------------------------------------------------------------


async def test_a_question_is_a_promise_that_a_person_answers(runs: Runs) -> None:
    execution_id = runs.request("input('who? ').upper()")
    promise = await runs.asks(execution_id)
    assert promise["data"] == {
        "kind": "input",
        "execution_id": execution_id,
        "prompt": "who? ",
        "secret": False,
        "choices": None,
    }
    runs.desk.accepted("promise", "resolve", {"id": promise["promise_id"], "value": "bob"})
    assert (await runs.end(execution_id))["value"] == "BOB"


async def test_a_secret_answer_stands_in_no_event(runs: Runs) -> None:
    execution_id = runs.request("import getpass\nlen(getpass.getpass('key: '))")
    await runs.asks(execution_id)
    runs.desk.accepted("execution", "answer", {"execution_id": execution_id, "value": "correct-horse"})
    assert (await runs.end(execution_id))["value"] == len("correct-horse")
    assert not [each for each in runs.desk.events() if "correct-horse" in str(each)]


@pytest.mark.parametrize(
    ("settle", "raised"),
    [
        ("answer", "EOFError"),
        ("reject", "EOFError"),
        ("wait", "TimeoutError"),
    ],
)
async def test_a_question_without_an_answer(settle: str, raised: str, runs: Runs) -> None:
    execution_id = runs.request(f"tower.input('?', timeout={0.3 if settle == 'wait' else 60})")
    promise = await runs.asks(execution_id)
    if settle == "answer":
        runs.desk.accepted("execution", "answer", {"execution_id": execution_id, "value": None})
    elif settle == "reject":
        runs.desk.accepted("promise", "reject", {"id": promise["promise_id"]})
    end = await runs.end(execution_id)
    assert end["error"]["exception_type"] == raised


async def test_a_cancel_reaches_the_question_it_waits_for(runs: Runs) -> None:
    execution_id = runs.request("input()")
    promise = await runs.asks(execution_id)
    runs.desk.accepted("execution", "cancel", {"execution_id": execution_id})
    assert (await runs.end(execution_id))["event"] == "cancelled"
    told = runs.desk.events(kind="promise", id=promise["promise_id"])
    assert told[-1]["type"] == "agenttower.promise.cancelled.v1"


# --- policies ------------------------------------------------------------------------------------------------------


async def test_what_fails_is_tried_again_and_then_paused_until_it_is_resumed(runs: Runs, short_tmp: Path) -> None:
    flag = short_tmp / "flag"
    code = f"import os\nif not os.path.exists({str(flag)!r}): raise OSError('not yet')\n'done'"
    policy = {"max_attempts": 2, "backoff_s": 0.1, "then": "pause"}
    execution_id = runs.request(code, session_id="again", retry=policy)
    await runs.event(execution_id, "paused")
    names = [each["event"] for each in runs.events(execution_id)]
    assert names == ["requested", "started", "retry_scheduled", "resumed", "started", "paused"]
    flag.touch()
    runs.desk.accepted("execution", "resume", {"execution_id": execution_id})
    end = await runs.end(execution_id)
    assert (end["event"], end["attempt"]) == ("completed", 3)


async def test_one_at_a_time_for_a_concurrency_key(runs: Runs) -> None:
    first = runs.request("input()", concurrency_key="deploy")
    await runs.asks(first)
    second = runs.request("2", concurrency_key="deploy")
    assert await runs.value("3") == 3
    assert [each["event"] for each in runs.events(second)] == ["requested"]
    runs.desk.accepted("execution", "answer", {"execution_id": first, "value": ""})
    assert (await runs.end(second))["value"] == 2
