"""Workers as processes: under which Python and user, within which limits, and that nothing of them stays behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.executing.children import end_marked
from adapters.executing.local import LocalEngine
from adapters.executing.outcomes import State
from adapters.executing.process import WORKER, WorkerSettings
from adapters.executing.sources import Starter
from adapters.executing.worker import Conduct
from tests.integration.executing.conftest import Bench
from tests.integration.executing.test_pool import Nobody
from tests.waiting import eventually

LEAVE = "import os, subprocess, sys\nchild = subprocess.Popen(['sleep', '1000'], start_new_session=True)\nchild.pid"
LEAVE_TWICE = """
import os, subprocess, time
if os.fork() == 0:
    os.setsid()
    child = subprocess.Popen(['sleep', '1000'])
    with open('pid', 'w') as file: file.write(str(child.pid))
    os._exit(0)
os.wait()
int(open('pid').read())
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(*pids: int) -> None:
    await eventually(lambda: not any(map(running, pids)), f"the end of {pids}")


# --- under which Python, user, limits ------------------------------------------------------------------------------


async def test_a_session_may_have_the_interpreter_of_a_venv_of_its_own(tmp_path: Path) -> None:
    await asyncio.to_thread(venv.create, tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (tmp_path / "work").mkdir()
    env = {"PATH": os.environ["PATH"]}
    settings = WorkerSettings(working_dir=str(tmp_path / "work"), python=str(python), env=env)
    async with LocalEngine(settings) as engine:
        found = (await engine.execute("import sys\n[sys.prefix, sys.path[0]]")).value
        assert found == [str(tmp_path / "venv"), str(tmp_path / "work")]
        assert (await engine.execute("import msgspec")).state is State.FAILED


async def test_nothing_but_the_standard_library_is_loaded_and_what_takes_long_when_it_is_needed(bench: Bench) -> None:
    loaded = await bench.value("import sys\nsorted({name.partition('.')[0] for name in sys.modules})")
    assert {"asyncio", "hashlib", "pickle"}.isdisjoint(loaded)
    known = sys.stdlib_module_names | {"_agenttower_worker", "__main__", "sitecustomize", "usercustomize"}
    # A .pth file of the environment may load more, before any code of a worker.
    code = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    bare = (await process.communicate())[0].decode().split()
    assert set(loaded) - known - set(bare) == set()


async def test_no_thread_helps(bench: Bench) -> None:
    await bench.run("import asyncio\nawait asyncio.sleep(0)\nimport os")
    assert await bench.value("len(os.listdir('/proc/self/task'))") == 1


NOBODY = 65534


def another_user(uid: int = NOBODY) -> tuple[str, int, int]:
    """`uid`, where this is root and such a user can reach a Python and the worker; else whoever this is."""
    source = str(WORKER / "__main__.py")
    for python in (sys.executable, "/usr/bin/python3") if os.getuid() == 0 else ():
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([python, "-c", f"open({source!r})"], user=uid, check=True, stderr=subprocess.DEVNULL)
            return python, uid, NOBODY
    return sys.executable, os.getuid(), os.getgid()


async def test_another_user_and_group_of_its_own() -> None:
    python, uid, gid = await asyncio.to_thread(another_user)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        async with LocalEngine(WorkerSettings(working_dir=folder, python=python, uid=uid, gid=gid)) as engine:
            code = "import os\n[os.getuid(), os.getgid(), os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()]"
            assert (await engine.execute(code)).value == [uid, gid, True, True]


async def test_processor_time_ends_a_worker_and_says_so(make_local_bench: Callable[..., Bench]) -> None:
    async with make_local_bench(limits={"cpu_s": 1}) as bench:
        outcome = await bench.run("while True: pass")
        assert outcome.error is not None
        assert (outcome.error.code, outcome.error.signal) == ("worker_died", signal.SIGXCPU)


async def test_open_files_are_limited(make_local_bench: Callable[..., Bench]) -> None:
    async with make_local_bench(limits={"open_files": 32}) as bench:
        assert await bench.fails("files = [open('/dev/null') for _ in range(40)]") == "OSError"


async def test_processes_are_limited() -> None:
    # Counted for the user, and root is never limited: one that nobody else is.
    python, uid, gid = await asyncio.to_thread(another_user, 60_000 + os.getpid() % 5_000)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        own = {"working_dir": folder, "python": python, "uid": uid, "gid": gid}
        async with LocalEngine(WorkerSettings(**own, limits={"processes": 1})) as engine:
            error = (await engine.execute("import os\nos.fork() or os._exit(0)")).error
            assert error is not None
            assert error.exception_type == "BlockingIOError"
        async with LocalEngine(WorkerSettings(**own)) as engine:
            assert (await engine.execute("import os\nos.fork() or os._exit(0)\n1")).value == 1


async def test_a_worker_that_is_killed_tells_how_much_memory_it_had(make_local_bench: Callable[..., Bench]) -> None:
    async with make_local_bench(heartbeat_s=0.05) as bench:
        await bench.run("import os, time\nhog = bytearray(64 * 2 ** 20)")
        outcome = await bench.run(
            "until = time.monotonic() + 1.5\nwhile time.monotonic() < until: pass\nos.kill(os.getpid(), 9)"
        )
        assert outcome.error is not None
        assert outcome.error.last_memory_bytes is not None
        assert outcome.error.last_memory_bytes > 64 * 2**20


async def test_heartbeats_tell_of_memory_processor_and_names(tmp_path: Path) -> None:
    settings = WorkerSettings(working_dir=str(tmp_path), heartbeat_s=0.05)
    async with Starter() as starter:
        worker = await starter.take(settings, Nobody(), Conduct())
        ready = await worker.ready()
        assert (ready["python"], "execute" in ready["abilities"]) == (sys.version.split()[0], True)
        worker.execute("one", "import asyncio\na = b = 1\nawait asyncio.sleep(0)")

        def beaten() -> dict[str, Any]:
            return worker.heartbeat if worker.heartbeat and worker.heartbeat["namespace_size"] == 3 else {}

        beat = await eventually(beaten, "a heartbeat after the cell")
        assert beat["memory_bytes"] > 2**20
        assert 0 <= beat["cpu_percent"] <= 200
        assert beat["timestamp"] > 0


async def test_a_missed_heartbeat_is_not_a_death(make_local_bench: Callable[..., Bench]) -> None:
    async with make_local_bench(heartbeat_s=0.01) as bench:
        assert await bench.value("import time\ntime.sleep(0.5)\n5") == 5


# --- nothing stays behind ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [LEAVE, LEAVE_TWICE], ids=["another session", "twice removed"])
async def test_what_left_the_group_ends_with_its_worker(bench: Bench, code: str) -> None:
    pid = await bench.value(code)
    assert running(pid)
    await bench.run("os.kill(os.getpid(), 9)")
    assert not running(pid)


async def test_on_cancel_what_left_the_group_ends_but_the_worker_lives(bench: Bench) -> None:
    await bench.run("mine = 1")
    task = asyncio.create_task(bench.run(LEAVE_TWICE.replace("int(", "while True: pass\nint("), execution_id="long"))
    pid = int(
        await eventually(lambda: (bench.folder / "pid").exists() and (bench.folder / "pid").read_text(), "a child")
    )
    assert await bench.engine.cancel("long")
    assert (await task).state is State.CANCELLED
    await gone(pid)
    assert await bench.value("mine") == 1


async def test_a_child_that_ignores_term_is_killed_after_the_grace(make_local_bench: Callable[..., Bench]) -> None:
    async with make_local_bench(grace_s=1.0) as bench:
        code = (
            "import subprocess\nchild = subprocess.Popen(['sh', '-c', 'trap \"touch asked\" TERM; touch ready;"
            " while :; do sleep 0.02; done'])\n"
            "with open('pid', 'w') as file: file.write(str(child.pid))\nwhile True: pass"
        )
        task = asyncio.create_task(bench.run(code, execution_id="long"))
        await eventually((bench.folder / "ready").exists, "the child")
        assert await bench.engine.cancel("long")
        assert (await task).worker_restarted is False
        await eventually((bench.folder / "asked").exists, "its TERM")
        await gone(int((bench.folder / "pid").read_text()))


PARENT = """
import asyncio, sys
from adapters.executing.local import LocalEngine
from adapters.executing.process import WorkerSettings

async def main():
    async with LocalEngine(WorkerSettings(working_dir=sys.argv[1], owner=sys.argv[2])) as engine:
        await engine.execute(sys.argv[3])

asyncio.run(main())
"""


@pytest.fixture
async def parent(tmp_path: Path) -> AsyncIterator[Callable[[str, str], Any]]:
    started: list[asyncio.subprocess.Process] = []

    async def start(owner: str, code: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(tmp_path), owner, code)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


WRITE = """
with open('pids.part', 'w') as file: file.write(f'{os.getpid()} {child.pid}')
os.rename('pids.part', 'pids')
"""
WAITS = {"at rest": "import asyncio\nawait asyncio.sleep(1000)", "busy": "while True: pass"}


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
async def test_a_parent_that_is_killed_leaves_no_worker_and_its_successor_finds_the_rest(
    parent: Callable[[str, str], Any], tmp_path: Path, wait: str
) -> None:
    owner = f"test-{tmp_path.name}"
    process = await parent(owner, LEAVE + WRITE + wait)
    await eventually((tmp_path / "pids").exists, "the start")
    worker, child = map(int, (tmp_path / "pids").read_text().split())
    process.kill()
    await gone(worker)
    await asyncio.to_thread(end_marked, owner)
    await gone(child)


async def test_a_forked_child_ends_as_a_program_would(bench: Bench) -> None:
    fork = "import os, sys\npid = os.fork()\nif pid == 0:\n    {}\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    assert await bench.value(fork.format("sys.exit(7)")) == 7
    assert await bench.value(fork.format("1 / 0")) == 1
    assert "ZeroDivisionError" in bench.text("stderr")
    assert await bench.value(fork.format("input()")) == 1


async def test_a_worker_that_was_killed_on_purpose_is_not_counted_as_one_that_dies(
    make_local_bench: Callable[..., Bench],
) -> None:
    async with make_local_bench(grace_s=0.05) as bench:
        stubborn = "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\ntime.sleep(100)"
        for _ in range(5):
            outcome = await bench.run(stubborn, timeout=0.05)
            assert (outcome.state, outcome.worker_restarted) == (State.TIMED_OUT, True)
        assert await bench.value("1") == 1


async def test_a_session_whose_worker_died_too_often_works_again_after_a_time(
    local_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.executing.session.RESTARTS_WITHIN_S", 2.0)
    for _ in range(4):
        await local_bench.run("import os\nos._exit(1)")

    async def works() -> bool:
        return (await local_bench.run("1")).state is State.COMPLETED

    assert not await works()
    await eventually(works, "a worker again, though it is asked for all the time")
