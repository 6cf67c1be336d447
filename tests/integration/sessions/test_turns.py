"""Sessions that take turns: in order in one, beside each other in many; each on its runtime, with what was said."""

from pathlib import Path

from tests.integration.sessions.conftest import Talks, agent, plan
from tests.waiting import eventually


async def test_a_session_says_what_its_runtime_says(talks: Talks) -> None:
    session = talks.spawn("hello")
    end = await talks.rest(session)
    assert (end["event"], end["output"], end["turn_count"]) == ("completed", "hello", 1)
    assert talks.names(session) == ["spawned", "instructed", "turn_started", "turn_completed", "completed"]


async def test_turns_run_in_order_one_at_a_time(talks: Talks, tmp_path: Path) -> None:
    path = tmp_path / "order"
    code = f"import time\nwith open({str(path)!r}, 'a') as file: file.write('%d+')\ntime.sleep(0.05)\n"
    code += f"with open({str(path)!r}, 'a') as file: file.write('%d-')"
    session = talks.spawn(code % (1, 1), plan("python"))
    turns = [talks.instruct(session, code % (turn, turn)) for turn in range(2, 7)]
    assert turns == [2, 3, 4, 5, 6]
    await talks.event(session, "turn_completed", 6)
    assert path.read_text() == "".join(f"{turn}+{turn}-" for turn in range(1, 7))
    assert (await talks.event(session, "completed"))["turn_count"] == 6


async def test_sessions_run_beside_each_other(talks: Talks) -> None:
    slow = talks.spawn("hang", agent())
    await talks.event(slow, "turn_started")
    quick = talks.spawn("hello")
    assert (await talks.rest(quick))["event"] == "completed"
    assert talks.names(slow)[-1] == "turn_started"
    talks.cancel(slow)
    await talks.rest(slow)


async def test_names_live_over_turns_in_python(talks: Talks) -> None:
    session = talks.spawn("answer = 6 * 7", plan("python"))
    talks.instruct(session, "answer")
    assert (await talks.event(session, "turn_completed", 2))["output"] == "42\n"


async def test_an_error_leaves_names_and_what_waits(talks: Talks) -> None:
    session = talks.spawn("kept = 1", plan("python"))
    await talks.rest(session)
    talks.instruct(session, "import time; time.sleep(0.2); 1 / 0")
    talks.instruct(session, "kept + 1")
    end = await talks.rest(session, 2)
    assert (end["event"], end["error_type"]) == ("error", "ZeroDivisionError")
    assert len(talks.events(session, "turn_started")) == 2
    talks.desk.accepted("session", "resume", {"session_id": session})
    assert (await talks.event(session, "turn_completed", 2))["output"] == "2\n"


async def test_a_turn_has_what_was_said_before(talks: Talks) -> None:
    bundle = plan("command", argv=["cat"], context="json") | {"instruction": "Be brief."}
    session = talks.spawn("one", bundle)
    talks.instruct(session, "two")
    second = await talks.event(session, "turn_completed", 2)
    assert second["output"].startswith(
        '{"context":[{"role":"system","content":"Be brief."},{"role":"user","content":"one"}'
    )
    assert second["output"].endswith('"instruction":"two"}')


async def test_a_child_gets_context_and_modules_as_asked(talks: Talks) -> None:
    bundle = plan("command", argv=["cat"], context="json") | {
        "agents": {"critic": {"description": "d", "instruction": "Criticise."}}
    }
    parent = talks.spawn("first", plan("echo"))
    talks.instruct(parent, "second")
    await talks.event(parent, "turn_completed", 2)
    child = talks.spawn(
        "now", bundle, parent_session_id=parent, context_depth="recent", context_turns=1, session_name="Eye"
    )
    said = (await talks.rest(child))["output"]
    assert '"content":"second"' in said
    assert '"content":"first"' not in said
    assert child.endswith("_eye")
    below = talks.spawn("go", agent="critic", parent_session_id=child)
    assert '"Criticise."' in (await talks.rest(below))["output"]
    itself = talks.spawn("go", agent="self", parent_session_id=below)
    assert '"Criticise."' in (await talks.rest(itself))["output"]
    spawned = talks.events(itself, "spawned")[0]
    assert (spawned["depth"], spawned["self_depth"], spawned["parent_session_id"]) == (3, 1, below)
    refused = talks.command("spawn", {"agent": "nobody", "instruction": "x", "parent_session_id": child})
    assert (refused["error"]["code"], refused["error"]["details"]["field"]) == ("validation_failed", "agent")


async def test_a_program_that_fails_is_an_error_with_its_output(talks: Talks) -> None:
    session = talks.spawn("say before\nfail 3", agent())
    end = await talks.rest(session)
    assert (end["event"], end["error_type"], end["exit_code"]) == ("error", "exit_status", 3)
    assert end["output"] == "before\n"
    missing = talks.spawn("x", plan("command", argv=["/no/such/program"]))
    assert (await talks.rest(missing))["error_type"] == "program_not_found"


async def test_a_plan_that_is_wrong_is_refused(talks: Talks) -> None:
    refused = talks.command("spawn", {"bundle": {"tools": {"a": 1}}, "instruction": "x"})
    assert refused["error"]["code"] == "bundle_invalid"
    missing = talks.command("spawn", {"bundle": "no-such-bundle", "instruction": "x"})
    assert missing["error"]["code"] == "bundle_not_found"


async def test_output_comes_as_it_is_said_and_stays(talks: Talks) -> None:
    session = talks.spawn("say begun\nhang", agent())
    await talks.says(session, "hanging")
    talks.cancel(session)
    end = await talks.rest(session)
    assert (end["event"], end["output"]) == ("cancelled", "begun\nhanging\n")
    assert end["output_position"] > 0


async def test_a_large_output_has_its_own_file(talks: Talks) -> None:
    session = talks.spawn("flood 300000", agent())
    end = await talks.event(session, "turn_completed")
    assert end["output_bytes"] == 300_000
    assert len(end["output"].encode()) <= 64 * 1024
    assert end["output_digest"]


async def test_a_long_instruction_is_taken_whole(talks: Talks) -> None:
    session = talks.spawn("x" * 300_000)
    end = await talks.event(session, "turn_completed")
    assert end["output_bytes"] == 300_000
    assert talks.events(session, "instructed")[0]["instruction"] is None


async def test_a_time_limit_ends_it_and_it_can_go_on(talks: Talks) -> None:
    session = talks.spawn("say a\nhang", agent(), timeout=1.5)
    end = await talks.rest(session)
    assert (end["event"], end["output"]) == ("timed_out", "a\nhanging\n")
    talks.desk.accepted("session", "resume", {"session_id": session, "instruction": "say b", "timeout": 30})
    assert (await talks.rest(session, 2))["event"] == "completed"
    assert "restarted" in [each["reason"] for each in talks.events(session, "resumed")]


async def test_cancelling_ends_the_foreground_below_and_not_the_background(talks: Talks) -> None:
    parent = talks.spawn("hang", agent())
    child = talks.spawn("ignore-term\nleave-far\nhang", agent(), parent_session_id=parent)
    grandchild = talks.spawn("hang", agent(), parent_session_id=child)
    beside = talks.spawn("wait 2\nsay done", agent(), parent_session_id=parent, background=True)
    await talks.says(child, "hanging")
    pid = int(talks.desk.http.get(f"/executions/session:{child}/output", params={"format": "text"}).text.split()[0])
    for each in (grandchild, beside):
        await talks.event(each, "turn_started")
    talks.cancel(parent)
    for each in (parent, child, grandchild):
        assert (await talks.rest(each))["event"] == "cancelled"
        await talks.event(each, "ended")
    await eventually(lambda: not Path(f"/proc/{pid}").exists(), "the end of what it left running")
    assert (await talks.rest(beside))["output"] == "done\n"
    refused = talks.command("instruct", {"session_id": child, "instruction": "x"})
    assert refused["error"]["code"] == "session_ended"


async def test_code_in_a_session_spawns_others_by_the_same_rules(talks: Talks) -> None:
    bundle = plan("python") | {
        "permissions": {"spawn": ["echoes"]},
        "agents": {"echoes": {"runtime": {"kind": "echo"}}, "other": {"runtime": {"kind": "echo"}}},
    }
    session = talks.spawn("tower.spawn(None, 'hello', agent='echoes')", bundle)
    said = (await talks.rest(session))["output"]
    assert "'state': 'completed', 'output': 'hello'" in said.replace('"', "'") or "'output': 'hello'" in said
    child = next(each for each in talks.desk.get("/sessions", parent_session_id=session)["items"])
    assert (child["depth"], child["owner"], child["state"]) == (1, "tower", "completed")
    talks.instruct(session, "tower.spawn(None, 'hello', agent='other')")
    assert (await talks.rest(session, 2))["error_type"] == "PermissionError"
    denied = await talks.denied(session)
    assert denied == [("spawn", "other is not among what this session may spawn")]
