"""An event loop without time and threads of its own: waiting costs nothing, and a seed decides which task runs next."""

import asyncio
import heapq
from collections import deque
from collections.abc import Coroutine
from itertools import count
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


STEP_S = 1e-6


class Stuck(Exception):
    """Every task waits for another one: nothing will ever happen again."""


class NumberedTask(asyncio.Task[T]):
    """Task groups cancel the members of a set: its order must not come from addresses in memory."""

    def __init__(self, number: int, *args: Any, **kwargs: Any) -> None:
        self._number = number
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class SeededLoop(asyncio.BaseEventLoop):
    """Runs one ready callback at a time, chosen by `random` (None: in order). Time jumps to the next timer."""

    # What `asyncio.BaseEventLoop` keeps, and its type stubs leave out.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, random: Random | None) -> None:
        super().__init__()
        self._random = random
        self._now = 0.0
        self._numbers = count()
        self.set_task_factory(self._make_task)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> NumberedTask[Any]:
        return NumberedTask(next(self._numbers), coro, loop=loop, **kwargs)

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self._now or not ready):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
                continue
            self._now = max(self._now, handle._when)
            ready.append(handle)
        if not ready:
            raise Stuck("no task is ready and no timer is set")
        if self._random is not None and len(ready) > 1:
            ready.rotate(-self._random.randrange(len(ready)))
        handle = ready.popleft()
        # Whoever turns in a circle must not stop time for the others.
        self._now += STEP_S
        if not handle._cancelled:
            handle._run()

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is no other thread to be woken by."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        raise AssertionError(f"{func} asks for a thread: a simulated world has none")


def run(main: Coroutine[Any, Any, T], random: Random | None) -> T:
    """What `main` returns, in a loop of its own."""
    with asyncio.Runner(loop_factory=lambda: SeededLoop(random)) as runner:
        return runner.run(main)


async def pause(seconds: float) -> None:
    """Let virtual time pass."""
    loop = asyncio.get_running_loop()
    passed: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(max(0.0, seconds), lambda: passed.done() or passed.set_result(None))
    try:
        await passed
    finally:
        timer.cancel()
