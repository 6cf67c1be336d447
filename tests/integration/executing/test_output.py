"""Output: in order, whole, before the result; what comes later is told as such; nothing grows."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.executing.output import Chunk, Policy
from tests.integration.executing.conftest import Bench
from tests.waiting import eventually

LATE_RUNS = 100


async def test_program_order_holds_across_all_ways_to_write(bench: Bench) -> None:
    code = (
        "import os, subprocess, ctypes\n"
        "print('1')\nos.write(1, b'2\\n')\nsubprocess.run(['echo', '3'])\n"
        "ctypes.CDLL(None).printf(b'4\\n')\nprint('5', end='')\nos.write(1, b'\\n')"
    )
    await bench.run(code)
    assert bench.text() == "1\n2\n3\n4\n5\n"


WAYS = {
    "os.write": "import os\nos.write(1, b'x' * 150_000)",
    "child process": "import subprocess\nsubprocess.run(['sh', '-c', 'head -c 150000 /dev/zero | tr \\\\0 x'])",
    "joined thread": (
        "import threading\nthread = threading.Thread(target=lambda: print('x' * 149_999))\n"
        "thread.start()\nthread.join()"
    ),
    "C printf": "import ctypes\nlibc = ctypes.CDLL(None)\nfor _ in range(1500): libc.printf(b'x' * 100)",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
async def test_nothing_is_late_or_lost(bench: Bench, way: str) -> None:
    for _ in range(LATE_RUNS):
        bench.chunks.clear()
        await bench.run(way)
        assert len(bench.text()) == 150_000


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
async def test_nothing_is_late_or_lost_in_a_thousand_runs(bench: Bench, way: str) -> None:
    for _ in range(1_000):
        bench.chunks.clear()
        await bench.run(way)
        assert len(bench.text()) == 150_000


async def test_half_characters_wait_and_invalid_bytes_are_escaped(bench: Bench) -> None:
    await bench.run("import os, time\nos.write(1, b'\\xc3')\ntime.sleep(0.1)\nos.write(1, b'\\xbc|\\xff|')")
    assert bench.text() == "ü|\\xff|"
    await bench.run("for i in range(3): print(f'\\r{i}', end='')")
    assert bench.text().endswith("\r0\r1\r2")


async def test_half_a_character_at_the_end_is_told_before_the_result(bench: Bench) -> None:
    await bench.run("import os\nos.write(1, b'a\\xe2\\x82')", execution_id="first")
    assert bench.told() == [("a\\xe2\\x82", "first")]
    await bench.run("os.write(1, b'\\xac|')", execution_id="second")
    assert bench.told()[1] == ("\\xac|", "second")


async def test_chunks_are_bounded_and_cut_between_characters(bench: Bench) -> None:
    await bench.run("import os\nfor part in (b'\\xff', 'ü'.encode(), '🙂'.encode()): os.write(1, b'.' + part * 90_000)")
    assert bench.text() == "." + "\\xff" * 90_000 + "." + "ü" * 90_000 + "." + "🙂" * 90_000
    assert max(len(chunk.text.encode()) for chunk in bench.chunks) <= 65_536


async def test_the_first_byte_does_not_wait_for_the_end(bench: Bench) -> None:
    running = asyncio.create_task(
        bench.run("import os, time\nprint('a', end='')\nwhile not os.path.exists('go'): time.sleep(0.01)")
    )
    await eventually(lambda: bench.text() == "a", "output of a running cell")
    (bench.folder / "go").touch()
    await running


async def test_daemon_threads_print_on_and_end_with_the_worker(bench: Bench) -> None:
    code = (
        "import threading, time\nstop = threading.Event()\n"
        "def talk():\n    while not stop.wait(0.01): print('.', end='')\n\n"
        "threading.Thread(target=talk, daemon=True).start()"
    )
    await bench.run(code, execution_id="starts")
    await eventually(lambda: any(chunk.execution_id is None for chunk in bench.chunks), "output of nobody's")
    await bench.run("stop.wait(0.2)", execution_id="waits")
    assert "waits" in {execution_id for _, execution_id in bench.told()}


async def test_closed_descriptors_come_back_with_the_next_cell(bench: Bench) -> None:
    await bench.run("import os\nprint('before')\nos.close(1)\nos.close(2)")
    await bench.run("import sys\nprint('after')\nprint('after', file=sys.stderr)\nos.system('echo child')")
    assert (bench.text(), bench.text("stderr")) == ("before\nafter\nchild\n", "after\n")


async def test_progress_bars_keep_their_carriage_returns(bench: Bench) -> None:
    await bench.run("import sys\nfor n in range(5): sys.stderr.write(f'\\r{n * 25}%')\nprint(file=sys.stderr)")
    assert bench.text("stderr") == "\r0%\r25%\r50%\r75%\r100%\n"


async def test_stderr_is_a_stream_of_its_own(bench: Bench) -> None:
    await bench.run("import sys\nprint('out')\nprint('err', file=sys.stderr)")
    assert (bench.text(), bench.text("stderr")) == ("out\n", "err\n")


async def test_output_after_the_end_belongs_to_whoever_runs_then_or_to_none(bench: Bench) -> None:
    code = (
        "import threading, os, time\n"
        "def wait_for(name):\n"
        "    while not os.path.exists(name): time.sleep(0.01)\n"
        "def late():\n"
        "    wait_for('now')\n    print('none')\n    wait_for('then')\n    print('next')\n"
        "threading.Thread(target=late, daemon=True).start()"
    )
    await bench.run(code, execution_id="first")
    (bench.folder / "now").touch()
    await eventually(lambda: "none\n" in bench.text(), "output between executions")
    second = asyncio.create_task(bench.run("open('runs', 'w').close()\nwait_for('go')", execution_id="second"))
    await eventually((bench.folder / "runs").exists, "the start of the second")
    (bench.folder / "then").touch()
    await eventually(lambda: "next\n" in bench.text(), "output during the second")
    (bench.folder / "go").touch()
    await second
    # One print is two writes: the text, and its end.
    assert bench.told() == [("none\n", None), ("next\n", "second")]


async def test_a_flood_loses_nothing_and_does_not_grow_the_parent(make_local_bench: Callable[..., Bench]) -> None:
    bench = make_local_bench()
    size = 0

    async def count(chunk: object) -> None:
        nonlocal size
        size += len(chunk.text)  # type: ignore[attr-defined]
        bench.chunks.clear()

    bench.on_output = count
    before = _resident_kb()
    async with bench:
        await bench.run("import os\nblock = b'y' * 65_536\nfor _ in range(1600): os.write(1, block)")
        assert size == 1600 * 65_536
    assert _resident_kb() - before < 16 * 1024


def _resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


async def test_a_slow_consumer_makes_the_code_wait_and_costs_little(make_local_bench: Callable[..., Bench]) -> None:
    bench = make_local_bench()
    size, taking = 0, asyncio.Event()

    async def slow(chunk: Chunk) -> None:
        nonlocal size
        await taking.wait()
        size += len(chunk.text)

    bench.on_output = slow
    before = _resident_kb()
    async with bench:
        running = asyncio.create_task(
            bench.run("import os\nfor n in range(1600):\n    os.write(1, b'y' * 65_536)\n    os.mkdir(str(n))")
        )
        await eventually((bench.folder / "63").exists, "a full queue")
        assert not (bench.folder / "200").exists()
        assert _resident_kb() - before < 32 * 1024
        taking.set()
        await running
    assert size == 1600 * 65_536


async def test_a_slow_consumer_makes_the_code_wait_or_costs_it_output_that_is_counted(
    make_local_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    for policy in (Policy.DROP_NEW, Policy.DROP_OLDEST, Policy.ERROR):
        bench = make_local_bench(policy=policy)
        taking = asyncio.Event()
        kept = 0

        async def slow(chunk: object, taking: asyncio.Event = taking) -> None:
            nonlocal kept
            await taking.wait()
            kept += len(chunk.text)  # type: ignore[attr-defined]

        bench.on_output = slow
        async with bench:
            code = "import os\nfor _ in range(1500): os.write(1, b'z' * 65_536)\nopen('done', 'w').close()"
            running = asyncio.create_task(bench.run(code))
            await eventually((tmp_path / "done").exists, "the end of the cell")
            taking.set()
            outcome = await running
            assert kept + outcome.dropped_bytes == 1500 * 65_536
            assert (policy is Policy.ERROR) == (outcome.error is not None and outcome.error.code == "output_lost")
        (tmp_path / "done").unlink()
