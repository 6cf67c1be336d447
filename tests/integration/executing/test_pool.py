"""Workers that have started before they are asked for."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.executing.local import LocalEngine
from adapters.executing.outcomes import Outcome
from adapters.executing.output import Chunk
from adapters.executing.pool import Pool, PoolSettings
from adapters.executing.process import WorkerSettings
from adapters.executing.worker import Asked, Conduct, Worker, WorkerFailed
from tests.waiting import eventually


class Nobody:
    async def output(self, chunk: Chunk) -> None: ...

    async def asked(self, asked: Asked) -> None: ...

    async def ended(self, outcome: Outcome) -> None: ...


MakePool = Callable[..., Pool]


@pytest.fixture
def make_pool(tmp_path: Path) -> MakePool:
    """A pool with settings; entered by the test."""

    def make(heartbeat_s: float = 5.0, **settings: float) -> Pool:
        return Pool(WorkerSettings(working_dir=str(tmp_path), heartbeat_s=heartbeat_s), PoolSettings(**settings))  # type: ignore[arg-type]

    return make


async def full(pool: Pool, idle: int = 2) -> None:
    await eventually(lambda: pool.counts.idle == idle and not pool.counts.starting, f"{idle} idle workers")


async def taken(pool: Pool, *, throwaway: bool = False) -> Worker:
    return await pool.take(pool.worker, Nobody(), Conduct(), throwaway=throwaway)


async def once(pool: Pool, code: str) -> Outcome:
    """In a throw-away session of its own."""
    async with LocalEngine(pool.worker, workers=pool, throwaway=True) as engine:
        return await engine.execute(code)


async def test_some_are_ready_before_anybody_asks_and_are_replaced_when_taken(make_pool: MakePool) -> None:
    async with make_pool() as pool:
        await full(pool)
        worker = await taken(pool)
        assert pool.counts.waited == 0
        await full(pool)
        worker.kill()


async def test_a_worker_belongs_to_its_session_as_long_as_that_lives(make_pool: MakePool, tmp_path: Path) -> None:
    async with make_pool() as pool, LocalEngine(WorkerSettings(working_dir=str(tmp_path)), workers=pool) as engine:
        pid = (await engine.execute("import os\nmine = os.getpid()\nmine")).value
        assert [(await once(pool, "import os\nos.getpid()")).value == pid for _ in range(3)] == [False] * 3
        assert (await engine.execute("mine")).value == pid
    await eventually(lambda: not Path(f"/proc/{pid}").exists(), "the end of the session's worker")


async def test_a_session_has_its_own_settings_in_a_worker_of_the_pool(make_pool: MakePool, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    settings = WorkerSettings(
        working_dir=str(tmp_path / "own"),
        env={"PATH": os.environ["PATH"], "MINE": "yes"},
        limits={"open_files": 64},
        blocking_calls=("math.sqrt",),
    )
    async with make_pool() as pool, LocalEngine(settings, workers=pool) as engine:
        await full(pool)
        code = (
            "import math, os, resource, sys\n_ = math.sqrt(4)\n"
            "[os.getcwd(), sys.path[0], os.environ.get('MINE'), os.environ.get('HOME'),"
            " resource.getrlimit(resource.RLIMIT_NOFILE)[0]]"
        )
        outcome = await engine.execute(code)
        assert outcome.value == [str(tmp_path / "own"), str(tmp_path / "own"), "yes", None, 64]
        assert (outcome.mode, outcome.blocking) == ("blocking_sync", ("math.sqrt",))
        assert pool.counts.waited == 0


async def test_a_throw_away_session_leaves_nothing_to_the_next_one(make_pool: MakePool, tmp_path: Path) -> None:
    async with make_pool(min_idle=1, most=1) as pool:
        (tmp_path / "helper.py").write_text("VERSION = 1")
        dirty = (
            "import builtins, helper, os, sys, asyncio\nos.environ['LEFT'] = 'x'\nos.chdir('/')\n"
            "sys.path.insert(0, '/nowhere')\nsys.stdout.close()\nsleep = len = 5\n"
            "task = asyncio.create_task(asyncio.sleep(1000))\nawait asyncio.sleep(0)\n"
            "found = [os.getpid(), helper.VERSION]\nbuiltins.print = None\ndel builtins.len\nfound"
        )
        pid, version = (await once(pool, dirty)).value
        (tmp_path / "helper.py").write_text("VERSION = 22")
        clean = (
            "import os, sys, asyncio, helper\nprint(len('still there'))\n"
            "names = [name for name in ('found', 'sleep', 'task') if name in globals()]\n"
            "[os.getpid(), names, os.environ.get('LEFT'), os.getcwd() == sys.path[0], helper.VERSION,"
            " len(asyncio.all_tasks(asyncio.new_event_loop())), list(Out), len(In)]"
        )
        assert (await once(pool, clean)).value == [pid, [], None, True, 22, 0, [], 2]
        assert version == 1


@pytest.mark.parametrize(
    "left",
    [
        "import subprocess\nsubprocess.Popen(['sleep', '100'])",
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])",
    ],
    ids=["child process", "thread", "signals"],
)
async def test_a_worker_in_which_something_is_left_at_work_is_not_used_again(make_pool: MakePool, left: str) -> None:
    async with make_pool(min_idle=1, most=1) as pool:
        pid = (await once(pool, f"import os\n{left}\nos.getpid()")).value
        assert (await once(pool, "import os\nos.getpid()")).value != pid


async def test_a_worker_is_replaced_after_a_number_of_executions(make_pool: MakePool) -> None:
    async with make_pool(min_idle=1, most=1, recycle_after=3) as pool:
        pids = [(await once(pool, "import os\nos.getpid()")).value for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


async def test_throw_away_sessions_share_what_there_is_in_the_order_of_asking(make_pool: MakePool) -> None:
    async with make_pool(min_idle=1, most=2) as pool:
        first = [await taken(pool, throwaway=True) for _ in range(2)]
        before = pool.counts.waited
        order: list[int] = []

        async def next_one(number: int) -> None:
            worker = await taken(pool, throwaway=True)
            order.append(number)
            pool.give_back(worker)

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(next_one(number))
                await eventually(lambda number=number: pool.counts.waiting == number + 1, "one more who waits")
            assert pool.counts.lent == 2
            for worker in first:
                pool.give_back(worker)
        assert order == [0, 1, 2, 3]
        assert pool.counts.waited - before == 4


async def test_a_lasting_session_does_not_wait_for_throw_away_ones(make_pool: MakePool) -> None:
    async with make_pool(min_idle=1, most=1) as pool:
        lent = await taken(pool, throwaway=True)
        behind = asyncio.create_task(taken(pool, throwaway=True))
        await eventually(lambda: pool.counts.waiting == 1, "one who waits")
        lasting = await taken(pool)
        assert not behind.done()
        pool.give_back(lent)
        assert (await behind).pid == lent.pid
        lasting.kill()


async def test_whoever_goes_away_while_waiting_costs_no_worker(make_pool: MakePool) -> None:
    async with make_pool(min_idle=0, most=1) as pool:
        lent = await taken(pool, throwaway=True)
        gone = asyncio.create_task(taken(pool, throwaway=True))
        await eventually(lambda: pool.counts.waiting == 1, "one who waits")
        gone.cancel()
        await asyncio.wait([gone])
        pool.give_back(lent)
        assert (await taken(pool, throwaway=True)).pid == lent.pid


async def test_dead_and_silent_ones_are_replaced_before_anybody_gets_them(make_pool: MakePool) -> None:
    async with make_pool(heartbeat_s=0.1) as pool:
        await full(pool)
        pids = {worker.pid for worker in pool.idle}
        dead, silent = pids
        os.kill(dead, signal.SIGKILL)
        os.kill(silent, signal.SIGSTOP)
        await eventually(lambda: len(pool.idle) == 2 and not pids & {worker.pid for worker in pool.idle}, "two others")


async def test_more_than_the_least_go_after_a_time(make_pool: MakePool) -> None:
    async with make_pool(min_idle=1, idle_timeout_s=0.2) as pool:
        lent = [await taken(pool, throwaway=True) for _ in range(3)]
        for worker in lent:
            pool.give_back(worker)
        await eventually(lambda: pool.counts.idle >= 3, "all back")
        await eventually(lambda: pool.counts.idle == 1, "one left")


async def test_a_pool_that_cannot_start_any_says_so_to_those_who_ask(tmp_path: Path) -> None:
    broken = WorkerSettings(working_dir=str(tmp_path / "missing"))
    async with Pool(broken) as pool:
        with pytest.raises(WorkerFailed, match="before it was ready"):
            await pool.take(broken, Nobody(), Conduct())


async def test_the_first_result_comes_at_once(make_pool: MakePool) -> None:
    async with make_pool() as pool:
        took_s: list[float] = []
        for _ in range(10):
            async with LocalEngine(pool.worker, workers=pool) as engine:
                await full(pool)
                began = time.perf_counter()
                await engine.execute("1 + 1")
                took_s.append(time.perf_counter() - began)
        # 2 ms on a machine of its own; others work on this one.
        assert min(took_s) < 0.01
