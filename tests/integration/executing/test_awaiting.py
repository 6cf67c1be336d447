"""Code that awaits: on one loop, which lives as long as the worker and stops for nothing that a task does."""

import asyncio

import pytest

from adapters.executing.outcomes import State
from tests.integration.executing.conftest import Bench
from tests.waiting import eventually

STARTED = "open('started', 'w').close()\n"


async def test_a_task_of_a_cell_that_loops_is_interrupted_and_so_is_what_waits_for_it(bench: Bench) -> None:
    await bench.run("import asyncio\nmine = 1")
    code = (
        "async def spin():\n    open('started', 'w').close()\n    while True: pass\n\n"
        "async def wait():\n    await asyncio.create_task(spin())\n\nawait wait()"
    )
    running = asyncio.create_task(bench.run(code, execution_id="spins"))
    await eventually((bench.folder / "started").exists, "the start")
    assert await bench.engine.cancel("spins")
    outcome = await running
    assert (outcome.state, outcome.worker_restarted) == (State.CANCELLED, False)
    assert await bench.value("await asyncio.sleep(0, mine)") == 1


@pytest.mark.parametrize(
    "code", ["raise SystemExit(3)", "raise KeyboardInterrupt", "1 / 0", "asyncio.get_event_loop().stop()"]
)
async def test_a_task_that_fails_between_cells_ends_alone(bench: Bench, code: str) -> None:
    await bench.run(
        "import asyncio\nasync def late():\n    await asyncio.sleep(0.02)\n    open('failing', 'w').close()\n"
        f"    {code}\n\nmine, task = 1, asyncio.create_task(late())\nawait asyncio.sleep(0)"
    )
    await eventually((bench.folder / "failing").exists, "the failure")
    assert await bench.value("await asyncio.sleep(0.01)\n[mine, task.done()]") == [1, True]


async def test_a_child_task_that_exits_fails_its_execution_and_nothing_of_it_goes_on(bench: Bench) -> None:
    code = (
        "import asyncio\nasync def leave():\n    raise SystemExit(3)\n\n"
        "task = asyncio.create_task(leave())\nawait asyncio.sleep(100)\nafter = True"
    )
    outcome = await bench.run(code)
    assert outcome.error is not None
    assert (outcome.error.exception_type, outcome.error.exit_code) == ("SystemExit", 3)
    assert await bench.value("await asyncio.sleep(0.01)\n'after' in globals()") is False


async def test_cancel_ends_the_tasks_of_its_execution_or_all_of_the_session(bench: Bench) -> None:
    tick = (
        "import asyncio\nasync def tick(name):\n    while True:\n        await asyncio.sleep(0.005)\n\n"
        "old = asyncio.create_task(tick('old'))\nawait asyncio.sleep(0)"
    )
    await bench.run(tick)
    new = STARTED + "new = asyncio.create_task(tick('new'))\nawait asyncio.sleep(100)"
    for scope, ended in (("execution", [False, True]), ("session", [True, True])):
        running = asyncio.create_task(bench.run(new, execution_id="long"))
        await eventually((bench.folder / "started").exists, "the start")
        (bench.folder / "started").unlink()
        assert await bench.engine.cancel("long", scope=scope)  # type: ignore[arg-type]
        assert (await running).state is State.CANCELLED
        assert await bench.value("[old.done(), new.done()]") == ended


async def test_only_a_cell_that_awaits_runs_out_of_time_by_itself(
    local_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.executing.running.ASYNC_TIMEOUT_S", 0.2)
    assert (await local_bench.run("import asyncio\nawait asyncio.sleep(100)")).state is State.TIMED_OUT
    assert (await local_bench.run("import time\ntime.sleep(0.5)")).state is State.COMPLETED
    assert (await local_bench.run("await asyncio.sleep(0.5)", timeout=30)).state is State.COMPLETED


async def test_an_interrupt_that_comes_late_hits_nobody(bench: Bench) -> None:
    await bench.run("import os, signal")
    assert await bench.value("os.kill(os.getpid(), signal.SIGINT)\n'went on'") == "went on"
    for number in range(30):
        running = asyncio.create_task(bench.run(f"kept = {number}", execution_id="short"))
        await asyncio.sleep(0)
        await bench.engine.cancel("short")
        assert (await running).state in (State.COMPLETED, State.CANCELLED)
        assert await bench.value("1 + 1") == 2


async def test_asynchronous_generators_and_contexts_at_top_level(bench: Bench) -> None:
    code = (
        "import asyncio\nasync def numbers():\n    try:\n        for n in range(3):\n"
        "            await asyncio.sleep(0)\n"
        "            yield n\n    finally:\n        closed.append(1)\n\nclosed, found = [], []\n"
        "async for n in numbers():\n    found.append(n)\n"
        "[found, closed, [n async for n in numbers() if n], len(closed)]"
    )
    assert await bench.value(code) == [[0, 1, 2], [1, 1], [1, 2], 2]


async def test_global_works_in_every_mode(bench: Bench) -> None:
    await bench.run("import asyncio, threading\ncount = 0")
    for code in (
        "def up():\n    global count\n    count += 1\n\nup()",
        "async def up_later():\n    global count\n    count += 1\n\nawait up_later()",
        "global count\ncount += 1",
        "global count\ncount += await asyncio.sleep(0, 1)",
        "thread = threading.Thread(target=up)\nthread.start()\nthread.join()",
        "asyncio.run(up_later())",
        "exec('count += 1')",
        "up.__globals__['count'] += 1",
    ):
        await bench.value(code)
    assert await bench.value("[count, up.__globals__ is globals() is up_later.__globals__]") == [8, True]
