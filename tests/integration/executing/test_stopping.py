"""Time-outs, cancels, input: what stops a cell, and what a cell waits for."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.executing.outcomes import Outcome, State
from adapters.executing.protocol import NotAsking, Question, WorkerBusy
from tests.integration.executing.conftest import Bench
from tests.waiting import eventually

STARTED = "open('started', 'w').close()\n"
LOOPS = {
    "loop": "while True: pass",
    "sleep": "import time\ntime.sleep(100)",
    "await": "import asyncio\nawait asyncio.sleep(100)",
    "loop in a coroutine": "async def f():\n    while True: pass\n\nawait f()",
    "gather": "import asyncio\nawait asyncio.gather(*(asyncio.sleep(100) for _ in range(5)))",
    "child process": "import subprocess\nsubprocess.run(['sleep', '100'])",
}


async def cancelled(bench: Bench, code: str, *, before: str = "") -> tuple[Outcome, float]:
    """The outcome of a cell that was cancelled while `code` ran, and the seconds that took."""
    running = asyncio.create_task(bench.run(before + STARTED + code, execution_id="long"))
    await eventually(lambda: (bench.folder / "started").exists(), "the start")
    (bench.folder / "started").unlink()
    asked = time.monotonic()
    assert await bench.engine.cancel("long")
    outcome = await running
    return outcome, time.monotonic() - asked


@pytest.mark.parametrize("code", LOOPS.values(), ids=list(LOOPS))
async def test_code_that_can_be_interrupted_keeps_its_names(bench: Bench, code: str) -> None:
    await bench.run("mine = 1")
    outcome, _ = await cancelled(bench, code)
    assert (outcome.state, outcome.worker_restarted) == (State.CANCELLED, False)
    assert await bench.value("mine") == 1


STUBBORN = {
    "swallows it": "while True:\n    try:\n        while True: sum(range(99))\n    except BaseException: pass",
    "C code": "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\ntime.sleep(100)",
    "ignores the signal": "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(100)",
}


@pytest.mark.parametrize("code", STUBBORN.values(), ids=list(STUBBORN))
async def test_code_that_does_not_stop_is_killed_and_the_checkpoint_comes_back(bench: Bench, code: str) -> None:
    await bench.run("mine = [1]\nalias = mine")
    await bench.engine.checkpoint()
    await bench.run("mine = 2")
    outcome, took_s = await cancelled(bench, code)
    assert (outcome.state, outcome.worker_restarted) == (State.CANCELLED, True)
    assert took_s < 10
    assert await bench.value("mine is alias") is True


async def test_a_coroutine_that_swallows_its_cancel_is_stopped_all_the_same(bench: Bench) -> None:
    code = "import asyncio\nwhile True:\n    try: await asyncio.sleep(100)\n    except asyncio.CancelledError: pass"
    outcome, took_s = await cancelled(bench, code)
    assert outcome.state is State.CANCELLED
    assert took_s < 10


async def test_child_processes_of_a_cancelled_cell_end_with_it_and_others_live_on(bench: Bench) -> None:
    before = await bench.value("import subprocess\nold = subprocess.Popen(['sleep', '100'])\nold.pid")
    make_child = "new = subprocess.Popen(['sleep', '100'], start_new_session=True)\n"
    tell_child = "with open('pid', 'w') as file: file.write(str(new.pid))\n"
    outcome, _ = await cancelled(bench, "while True: pass", before=make_child + tell_child)
    assert outcome.state is State.CANCELLED
    pid = int((bench.folder / "pid").read_text())
    await eventually(lambda: _ended(pid), "the end of the child")
    assert not _ended(before)


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_children_that_are_left_running_are_counted(bench: Bench) -> None:
    outcome = await bench.run("import subprocess\nchild = subprocess.Popen(['sleep', '100'])")
    assert outcome.children == 1


async def test_what_completed_stays_completed(bench: Bench) -> None:
    outcome = await bench.run("5", execution_id="done")
    assert outcome.state is State.COMPLETED
    assert not await bench.engine.cancel("done")
    assert await bench.value("6") == 6


async def test_a_timeout_ends_a_cell_and_only_awaiting_cells_have_one_by_themselves(bench: Bench) -> None:
    outcome = await bench.run("while True: pass", timeout=0.2)
    assert outcome.state is State.TIMED_OUT
    assert await bench.value("1") == 1


async def test_time_does_not_run_while_a_person_is_asked(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()

    asked: asyncio.Queue[Question] = asyncio.Queue()

    async def told(question: Question) -> None:
        asyncio.get_running_loop().call_later(0.6, asked.put_nowait, question)

    bench.on_question = told
    async with bench:
        running = asyncio.create_task(bench.value("input()", timeout=0.4))
        await bench.engine.answer((await asked.get()).execution_id, "late")
        assert await running == "late"


WAITS = STARTED + "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"


async def test_one_at_a_time_in_order_or_refused_at_once(bench: Bench) -> None:
    first = asyncio.create_task(bench.run(WAITS + "order = [1]"))
    await eventually(lambda: (bench.folder / "started").exists(), "the start")
    others = [asyncio.create_task(bench.run(f"order.append({n})")) for n in (2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(WorkerBusy):
        await bench.run("order.append(4)", when_busy="reject")
    (bench.folder / "go").touch()
    await asyncio.gather(first, *others)
    assert await bench.value("order") == [1, 2, 3]


async def test_a_waiting_execution_can_be_cancelled(bench: Bench) -> None:
    first = asyncio.create_task(bench.run(WAITS))
    await eventually(lambda: (bench.folder / "started").exists(), "the start")
    second = asyncio.create_task(bench.run("ran = True", execution_id="second"))
    await asyncio.sleep(0)
    assert await bench.engine.cancel("second")
    assert (await second).state is State.CANCELLED
    (bench.folder / "go").touch()
    await first
    assert await bench.value("'ran' in globals()") is False


async def test_tasks_outlive_their_cell_and_go_on_between_and_during_others(bench: Bench) -> None:
    await bench.run(
        "import asyncio\nticks = 0\nasync def tick():\n    global ticks\n    while True:\n        ticks += 1\n"
        "        await asyncio.sleep(0.01)\n\ntask = asyncio.create_task(tick())\nawait asyncio.sleep(0)"
    )

    async def more() -> bool:
        return await bench.value("ticks") > 20

    await eventually(more, "ticks between cells")
    assert await bench.value("before = ticks\nawait asyncio.sleep(0.1)\nticks > before") is True
    outcome, _ = await cancelled(bench, "await asyncio.sleep(100)")
    assert outcome.state is State.CANCELLED
    assert await bench.value("task.done()") is False


async def test_input_is_answered_ended_or_interrupted(bench: Bench) -> None:
    bench.answers += ["Bob", "line", "hush"]
    assert await bench.value("input('name? ')") == "Bob"
    assert await bench.value("import sys\nsys.stdin.readline()") == "line\n"
    assert await bench.value("import getpass\ngetpass.getpass('secret? ')") == "hush"
    asked = [(question.prompt, question.secret) for question in bench.questions]
    assert asked == [("name? ", False), ("", False), ("secret? ", True)]
    assert await bench.fails("input()") == "EOFError"
    assert await bench.value("import subprocess\nsubprocess.run(['cat'], capture_output=True).stdout.decode()") == ""


async def test_input_can_be_asked_from_a_thread(bench: Bench) -> None:
    bench.answers += ["one", "two"]
    code = (
        "import threading\nfound = []\n"
        "threads = [threading.Thread(target=lambda: found.append(input('?'))) for _ in range(2)]\n"
        "for t in threads: t.start()\nfor t in threads: t.join()\nsorted(found)"
    )
    assert await bench.value(code) == ["one", "two"]


async def test_a_cell_that_waits_for_input_can_be_cancelled(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    asked = asyncio.Event()

    async def never(_question: Question) -> None:
        asked.set()

    bench.on_question = never
    async with asyncio.TaskGroup() as group, bench:
        running = group.create_task(bench.run("input()", execution_id="asking"))
        await asked.wait()
        assert await bench.engine.cancel("asking")
        assert (await running).state is State.CANCELLED
        assert await bench.value("1") == 1


async def test_an_answer_that_does_not_come_in_time_is_a_timeout(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    asked: list[Question] = []

    async def keep(question: Question) -> None:
        asked.append(question)

    bench.on_question = keep
    async with bench:
        assert await bench.fails("tower.input('now? ', choices=['a', 'b'], timeout=0.2)") == "TimeoutError"
        assert [(question.n, question.prompt, question.choices) for question in asked] == [(1, "now? ", ("a", "b"))]
        with pytest.raises(NotAsking):
            await bench.engine.answer(asked[0].execution_id, "late")


async def test_standard_input_ends_where_there_is_no_more(bench: Bench) -> None:
    bench.answers += ["a", "b"]
    assert await bench.value("import sys\nsys.stdin.read()") == "a\nb\n"
    bench.answers += ["c"]
    assert await bench.value("[line for line in sys.stdin]") == ["c\n"]


async def test_what_is_asked_of_a_tower_is_denied_where_there_is_none(make_local_bench: Callable[..., Bench]) -> None:
    async with make_local_bench() as bench:
        assert await bench.fails("tower.read_file('x')") == "PermissionError"
