"""How a cell fails: Python's own words, the user's own lines, no frame of ours; the worker lives."""

from collections.abc import Callable

import pytest

from adapters.executing.outcomes import State
from tests.integration.executing.conftest import Bench


async def test_a_traceback_shows_the_lines_of_the_cells(bench: Bench) -> None:
    await bench.run("def divide(a):\n    return a / 0")
    outcome = await bench.run("y = 1\ndivide(y)")
    assert outcome.error is not None
    assert outcome.error.traceback == (
        "Traceback (most recent call last):\n"
        '  File "<cell 2>", line 2, in <module>\n'
        "    divide(y)\n"
        '  File "<cell 1>", line 2, in divide\n'
        "    return a / 0\n"
        "           ~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )


async def test_no_frame_of_ours_is_shown_from_asynchronous_code(bench: Bench) -> None:
    outcome = await bench.run("import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    1 / 0\n\nawait f()")
    assert outcome.error is not None
    assert "adapters" not in outcome.error.traceback
    assert outcome.error.traceback.splitlines()[1] == '  File "<cell 1>", line 6, in <module>'


async def test_a_syntax_error_is_told_with_its_caret(bench: Bench) -> None:
    outcome = await bench.run("x = 1\ny = (")
    assert outcome.error is not None
    assert outcome.error.exception_type == "SyntaxError"
    assert outcome.error.traceback == (
        "  File \"<cell 1>\", line 2\n    y = (\n        ^\nSyntaxError: '(' was never closed\n"
    )


FAILURES = [
    ("lambda: await x", "SyntaxError"),
    ("def f():\n    await x", "SyntaxError"),
    ("return 5", "SyntaxError"),
    ("def f():\n    return f()\n\nf()", "RecursionError"),
    ("'\\0' + ", "SyntaxError"),
    ("raise BaseException('b')", "BaseException"),
    (
        "import asyncio\nasync def f():\n    raise asyncio.CancelledError\n\nawait f()",
        "asyncio.exceptions.CancelledError",
    ),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("class Odd(Exception):\n    def __str__(self):\n        1 / 0\n\nraise Odd", "Odd"),
]


@pytest.mark.parametrize(("code", "kind"), FAILURES, ids=[code[:30] for code, _ in FAILURES])
async def test_failures_leave_the_worker_alive(bench: Bench, code: str, kind: str) -> None:
    await bench.run("mine = 1")
    assert await bench.fails(code) == kind
    assert await bench.value("mine") == 1


@pytest.mark.parametrize(("code", "number"), [("3", 3), ("", 0), ("None", 0), ("'text'", 1)])
async def test_exit_is_a_failure_with_its_code(bench: Bench, code: str, number: int) -> None:
    outcome = await bench.run(f"import sys\nsys.exit({code})")
    assert outcome.state is State.FAILED
    assert outcome.error is not None
    assert (outcome.error.exception_type, outcome.error.exit_code) == ("SystemExit", number)
    assert await bench.value("1") == 1


async def test_groups_notes_and_causes_are_told(bench: Bench) -> None:
    code = (
        "error = ValueError('first')\nerror.add_note('a note')\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError as cause:\n"
        "    raise ExceptionGroup('many', [error, TypeError('second')]) from cause"
    )
    outcome = await bench.run(code)
    assert outcome.error is not None
    for words in ("a note", "TypeError: second", "ZeroDivisionError", "direct cause"):
        assert words in outcome.error.traceback
    noted = await bench.run("error = ValueError('x')\nerror.add_note('told')\nraise error")
    assert noted.error is not None
    assert noted.error.notes == ("told",)


async def test_the_worst_that_a_cell_can_do_to_its_own_process(bench: Bench) -> None:
    assert await bench.fails("import builtins\ndel builtins.print\nprint(1)") == "NameError"
    assert await bench.value("import os\nos.write(1, b'still here\\n')") == 11
    await bench.run("import sys\nsys.stdout.close()")
    assert await bench.value("sys.stdout.write('again\\n')") == 6
    assert bench.text() == "still here\nagain\n"


ENDS = [("os._exit(3)", 3, None), ("os.kill(os.getpid(), 11)", None, 11), ("os.abort()", None, 6)]


@pytest.mark.parametrize(("code", "exit_code", "number"), ENDS, ids=[code for code, _, _ in ENDS])
async def test_the_end_of_the_process_fails_the_execution_and_no_other(
    bench: Bench, code: str, exit_code: int | None, number: int | None
) -> None:
    outcome = await bench.run(f"import os\nprint('last words')\n{code}")
    assert outcome.error is not None
    assert (outcome.state, outcome.error.code) == (State.FAILED, "worker_died")
    assert (outcome.error.exit_code, outcome.error.signal) == (exit_code, number)
    assert bench.text() == "last words\n"
    assert await bench.value("1 + 1") == 2


async def test_a_worker_that_dies_again_and_again_is_given_up_for_a_while(bench: Bench) -> None:
    codes = [(await bench.run("import os\nos._exit(1)")).error for _ in range(5)]
    assert [error.code for error in codes if error is not None] == ["worker_died"] * 4 + ["worker_crash_loop"]


async def test_a_forked_child_leaves_when_the_cell_ends_and_never_answers(bench: Bench) -> None:
    assert await bench.value("import os\npid = os.fork()\nif pid == 0:\n    print('child')\n1") == 1
    assert await bench.value("os.waitpid(pid, 0)[1]") == 0
    assert bench.text() == "child\n"


async def test_multiprocessing_works_by_fork_and_says_so_for_other_ways(bench: Bench) -> None:
    code = (
        "import multiprocessing\nqueue = multiprocessing.Queue()\n"
        "process = multiprocessing.Process(target=lambda: queue.put(5))\nprocess.start()\n"
        "found = queue.get(timeout=30)\nprocess.join()\nfound"
    )
    assert await bench.value(code) == 5
    for way in ("spawn", "forkserver"):
        outcome = await bench.run(f"multiprocessing.get_context('{way}').Process(target=print).start()")
        assert outcome.error is not None
        assert "only the start method 'fork' works" in outcome.error.message


async def test_limits_hold(make_local_bench: Callable[..., Bench]) -> None:
    async with make_local_bench(limits={"address_space_bytes": 512 * 1024 * 1024}) as bench:
        assert await bench.fails("x = bytearray(2 ** 30)") == "MemoryError"
        assert await bench.value("1") == 1
