"""Programs that carry out turns, by an agent-like one: what goes in, what comes out, and how they end."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from handlers.session_ports import Message, RuntimeFailed, TurnState
from tests.integration.executing.test_processes import gone, running
from tests.integration.runtimes.conftest import MakeStage

MIB = 1024 * 1024


# --- what goes in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stdin", "argument"])
async def test_the_instruction_goes_in_by_standard_input_or_as_last_argument(make_stage: MakeStage, way: str) -> None:
    stage = await make_stage("command", input=way)
    result = await stage.tell("say ünïcode\nlook at a.py")
    assert (result.state, result.output, result.exit_code) == (
        TurnState.COMPLETED,
        "ünïcode\nyou said: look at a.py\n",
        0,
    )


async def test_what_was_said_before_goes_in_ahead_of_it_as_text(make_stage: MakeStage) -> None:
    stage = await make_stage("command", argv=["cat"])
    said = (
        Message(role="system", content="You review patches."),
        Message(role="user", content="look at a.py"),
        Message(role="tool", name="critic", content="fine"),
        Message(role="assistant", content="it has no tests"),
    )
    result = await stage.tell("now b.py", *said)
    assert result.output == (
        "You review patches.\n\n<conversation>\n<user>\nlook at a.py\n</user>\n"
        '<tool name="critic">\nfine\n</tool>\n<assistant>\nit has no tests\n</assistant>\n</conversation>\n\nnow b.py'
    )


async def test_or_as_json_or_not_at_all(make_stage: MakeStage) -> None:
    said = Message(role="user", content="look at a.py")
    as_json = await make_stage("command", argv=["cat"], context="json")
    assert (await as_json.tell("now b.py", said)).output == (
        '{"context":[{"role":"user","content":"look at a.py"}],"instruction":"now b.py"}'
    )
    without = await make_stage("command", argv=["cat"], context="none")
    assert (await without.tell("now b.py", said)).output == "now b.py"


async def test_a_program_that_reads_nothing_is_not_waited_for(make_stage: MakeStage) -> None:
    stage = await make_stage("command", argv=["true"])
    assert (await stage.tell("x" * 4 * MIB)).state is TurnState.COMPLETED


async def test_an_instruction_too_long_for_an_argument_is_refused(make_stage: MakeStage) -> None:
    stage = await make_stage("command", input="argument")
    result = await stage.tell("x" * 128 * 1024)
    assert (result.state, result.error and result.error.type) == (TurnState.FAILED, "instruction_too_long")
    assert result.error is not None and "stdin" in result.error.message


async def test_of_the_environment_it_gets_what_is_plain_and_what_the_plan_names(make_stage: MakeStage) -> None:
    environment = {"PATH": os.environ["PATH"], "API_KEY": "k-123456", "OTHER": "no", "AWS_A": "a", "LC_ALL": "C.UTF-8"}
    stage = await make_stage("command", environment=environment, env=["API_KEY", "AWS_*", "MISSING"])
    result = await stage.tell("env API_KEY\nenv OTHER\nenv AWS_A\nenv LC_ALL\nenv MISSING")
    assert result.output.split() == ["k-123456", "(unset)", "a", "C.UTF-8", "(unset)"]


async def test_it_runs_in_the_folder_of_its_session(make_stage: MakeStage, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    stage = await make_stage("command", working_dir="below")
    assert (await stage.tell("cwd")).output == f"{tmp_path / 'below'}\n"


# --- what there is no program for ----------------------------------------------------------------------------------


async def test_a_program_that_is_not_there_is_told_at_the_start(make_stage: MakeStage) -> None:
    with pytest.raises(RuntimeFailed, match="there is no program no-such-agent on the tower's PATH") as failed:
        await make_stage("command", argv=["no-such-agent", "-p"])
    assert failed.value.type == "program_not_found"


async def test_and_so_is_one_that_has_gone_since(make_stage: MakeStage, tmp_path: Path) -> None:
    program = tmp_path / "agent"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} --version\n")
    program.chmod(0o755)
    stage = await make_stage("command", argv=["./agent"])
    assert (await stage.tell("")).state is TurnState.COMPLETED
    program.unlink()
    result = await stage.tell("")
    assert (result.state, result.error and result.error.type) == (TurnState.FAILED, "program_not_found")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"argv": "claude -p"}, "runtime.argv: Expected `array`, got `str`"),
        ({"argv": []}, "runtime.argv: Expected `array` of length >= 1"),
        ({"input": "file"}, "runtime.input: Invalid enum value 'file'"),
        ({"env": {"API_KEY": "k-123456"}}, "runtime.env: Expected `array`, got `object`"),
        ({"env": ["API_KEY=k-123456"]}, "runtime.env"),
        ({"grace_s": -1}, "runtime.grace_s"),
        ({"working_dir": "no/such/folder"}, "runtime.working_dir: there is no folder"),
    ],
)
async def test_a_map_of_another_shape_is_refused(make_stage: MakeStage, wrong: dict[str, object], told: str) -> None:
    with pytest.raises(RuntimeFailed) as failed:
        await make_stage("command", **wrong)
    assert failed.value.type == "runtime_invalid"
    assert str(failed.value).startswith(told)
    assert "k-123456" not in str(failed.value)


# --- how it ends ---------------------------------------------------------------------------------------------------


async def test_an_exit_code_is_told_with_the_end_of_standard_error_and_no_secrets(make_stage: MakeStage) -> None:
    environment = {"PATH": os.environ["PATH"], "API_KEY": "k-123456"}
    stage = await make_stage("command", environment=environment, env=["API_KEY"])
    result = await stage.tell(f"warn {'x' * 9000}\nsay half\nwarn no rights with k-123456\nfail 3")
    assert (result.state, result.exit_code, result.output) == (TurnState.FAILED, 3, "half\n")
    assert result.error is not None
    assert result.error.type == "exit_status"
    assert "ended with exit code 3: xxx" in result.error.message
    assert result.error.message.endswith("x\nno rights with <redacted>")
    assert len(result.error.message) < 2_200


async def test_one_killed_from_outside_says_so(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    result = await stage.tell(f"say half\ndie {signal.SIGKILL}")
    assert (result.state, result.exit_code, result.output) == (TurnState.FAILED, -signal.SIGKILL, "half\n")
    assert result.error is not None
    assert result.error.type == "killed"
    assert "SIGKILL" in result.error.message


async def test_a_child_that_holds_the_output_open_does_not_hold_up_the_end(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    result = await stage.tell("leave\nsay done")
    child, done = result.output.split()
    assert (result.state, done) == (TurnState.COMPLETED, "done")
    assert running(int(child)), "what a turn leaves running lives on"
    assert (await stage.tell("say again")).output == "again\n"
    await stage.runtime.close()
    await gone(int(child))


async def test_what_left_its_group_ends_with_the_session(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    child = int((await stage.tell("leave-far")).output)
    await stage.runtime.close()
    await gone(child)


async def test_standard_output_may_be_closed_before_the_end(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    result = await stage.tell("say first\nmute\nwait 0.1\nfail 4")
    assert (result.output, result.exit_code) == ("first\n", 4)


# --- how it is stopped ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stubborn", [False, True])
async def test_cancel_ends_it_with_all_its_children(make_stage: MakeStage, stubborn: bool) -> None:
    """By TERM, or by KILL after the grace."""
    stage = await make_stage("command", grace_s=0.3)
    orders = ["ignore-term"] if stubborn else []
    turn = asyncio.create_task(stage.tell("\n".join([*orders, "leave", "leave-far", "hang"])))
    await stage.hears("hanging")
    await stage.runtime.cancel()
    result = await turn
    assert result.state is TurnState.CANCELLED
    assert result.exit_code == (-signal.SIGKILL if stubborn else -signal.SIGTERM)
    await gone(*map(int, stage.text.split()[:2]))


async def test_timeout_ends_it_and_keeps_what_was_said(make_stage: MakeStage) -> None:
    stage = await make_stage("command", grace_s=0.3)
    result = await stage.tell("say so far\nleave-far\nhang", timeout_s=0.5)
    assert result.state is TurnState.TIMED_OUT
    assert result.output.startswith("so far\n")
    await gone(int(result.output.split()[2]))
    assert (await stage.tell("say on")).output == "on\n"


async def test_a_caller_that_is_cancelled_leaves_nothing(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    turn = asyncio.create_task(stage.tell("leave\nleave-far\nignore-term\nhang"))
    await stage.hears("hanging")
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    await gone(*map(int, stage.text.split()[:2]))


async def test_an_output_that_is_not_taken_ends_it(make_stage: MakeStage) -> None:
    stage = await make_stage("command")

    async def refuse(text: str) -> None:
        raise ConnectionError(f"nobody there for {text}")

    stage.output = refuse
    with pytest.raises(ConnectionError, match="nobody there for x"):
        await stage.tell("say x\nhang")


# --- what comes out ------------------------------------------------------------------------------------------------


async def test_output_comes_as_it_is_printed(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    turn = asyncio.create_task(stage.tell("say first\nhang"))
    await stage.hears("first")
    assert not turn.done()
    await stage.runtime.cancel()
    await turn


async def test_half_a_character_is_escaped_and_a_divided_one_is_joined(make_stage: MakeStage) -> None:
    stage = await make_stage("command", argv=["sh", "-c", r"printf '\303'; sleep 0.1; printf '\251 \303'"])
    result = await stage.tell("")
    assert result.output == stage.text == "é \\xc3"


async def test_a_hundred_megabytes_are_passed_on_whole_and_not_kept(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    size = [0]
    longest = [0]

    async def count(text: str) -> None:
        size[0] += len(text)
        longest[0] = max(longest[0], len(text.encode()))

    stage.output = count
    before = resident_bytes()
    result = await stage.tell(f"flood {100 * MIB}")
    assert result.state is TurnState.COMPLETED
    assert size[0] == 100 * MIB
    assert longest[0] <= 64 * 1024
    assert resident_bytes() - before < 16 * MIB
    assert result.left_out_bytes == 99 * MIB
    assert len(result.output) == MIB + len(f"\n[{99 * MIB} bytes left out]\n")


async def test_a_slow_reader_slows_the_program_down(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    go_on = asyncio.Event()

    async def wait(text: str) -> None:
        stage.said.append(text)
        stage.heard.set()
        if stage.text.count("\n"):
            await go_on.wait()

    stage.output = wait
    turn = asyncio.create_task(stage.tell(f"pid\nflood {8 * MIB}"))
    await stage.hears("\n")
    await stage.runtime.cancel()
    await gone(int(stage.text.partition("\n")[0]))
    go_on.set()
    assert (await turn).state is TurnState.CANCELLED
    assert len(stage.text) < 2 * MIB


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def test_its_descriptors_are_given_back(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    await stage.tell("say warm")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await stage.tell("say x")
    child = int((await stage.tell("leave-far")).output)
    await stage.runtime.close()
    await gone(child)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_close_in_the_midst_of_much_output_ends_the_turn(make_stage: MakeStage) -> None:
    stage = await make_stage("command")
    turn = asyncio.create_task(stage.tell(f"say begun\nflood {10_000 * MIB}"))
    await stage.hears("begun")
    await stage.runtime.close()
    result = await turn
    assert (result.state, result.exit_code) == (TurnState.FAILED, -signal.SIGKILL)


async def test_a_program_that_hides_its_environment_ends_all_the_same(make_stage: MakeStage) -> None:
    stage = await make_stage("command", argv=["env", "-i", "sh", "-c", "echo $$; exec sleep 1000"])
    turn = asyncio.create_task(stage.tell(""))
    await stage.hears("\n")
    await stage.runtime.close()
    await gone(int(stage.text))
    assert (await turn).state is TurnState.FAILED
