"""Sessions whose instructions are Python code."""

import asyncio
import os
from pathlib import Path

from handlers.session_ports import TurnState
from tests.integration.runtimes.conftest import MakeStage


async def test_names_live_from_turn_to_turn(make_stage: MakeStage) -> None:
    stage = await make_stage("python")
    await stage.tell("def twice(x): return 2 * x\nn = 21")
    assert (await stage.tell("twice(n)")).output == "42\n"


async def test_what_is_printed_comes_before_the_value_of_the_last_expression(make_stage: MakeStage) -> None:
    stage = await make_stage("python")
    assert (await stage.tell("print('first'); 'second'")).output == "first\n'second'\n"
    assert (await stage.tell("None")).output == ""


async def test_an_exception_is_told_and_its_traceback_said(make_stage: MakeStage) -> None:
    stage = await make_stage("python")
    result = await stage.tell("n = 1\n1 / 0")
    assert result.state is TurnState.FAILED
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("ZeroDivisionError", "division by zero")
    assert "    1 / 0" in result.output and "ZeroDivisionError" in result.output
    assert (await stage.tell("n")).output == "1\n"


async def test_exit_is_a_failure_with_its_code(make_stage: MakeStage) -> None:
    stage = await make_stage("python")
    result = await stage.tell("import sys; sys.exit(3)")
    assert (result.state, result.exit_code) == (TurnState.FAILED, 3)


async def test_a_worker_that_is_killed_fails_its_turn_and_another_takes_over(make_stage: MakeStage) -> None:
    stage = await make_stage("python")
    result = await stage.tell("print('half', flush=True)\nimport os; os.kill(os.getpid(), 9)")
    assert (result.state, result.output) == (TurnState.FAILED, "half\n")
    assert result.error is not None
    assert result.error.type == "worker_died"
    assert (await stage.tell("1 + 1")).output == "2\n"


async def test_the_persons_at_the_session_are_asked(make_stage: MakeStage) -> None:
    stage = await make_stage("python")
    stage.person.answers = ["Ada", "36"]
    result = await stage.tell("print('hello', input('name? '), input('age? '))")
    assert result.output == "hello Ada 36\n"
    assert stage.person.asked == [(1, 1, "name? "), (1, 2, "age? ")]


async def test_a_question_is_dropped_when_its_turn_is_stopped(make_stage: MakeStage) -> None:
    stage = await make_stage("python")
    turn = asyncio.create_task(stage.tell("input('name? ')"))
    await stage.person.was_asked.wait()
    await stage.runtime.cancel()
    assert (await turn).state is TurnState.CANCELLED
    assert stage.person.dropped == 1
    assert (await stage.tell("1 + 1")).output == "2\n"


async def test_a_cell_that_awaits_has_no_time_of_its_own(make_stage: MakeStage) -> None:
    stage = await make_stage("python")
    assert (await stage.tell("import asyncio\nawait asyncio.sleep(0.01)\n'slept'")).output == "'slept'\n"


async def test_folder_environment_and_limits_are_those_of_its_map(make_stage: MakeStage, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    environment = {"PATH": os.environ["PATH"], "API_KEY": "k", "OTHER": "no"}
    limits = {"open_files": 64}
    stage = await make_stage("python", environment=environment, env=["API_KEY"], working_dir="below", limits=limits)
    code = "import os, resource\n[os.getcwd(), os.environ.get('API_KEY'), os.environ.get('OTHER'),"
    result = await stage.tell(f"{code} resource.getrlimit(resource.RLIMIT_NOFILE)[0]]")
    assert result.output == f"{[str(tmp_path / 'below'), 'k', None, 64]}\n"
