"""The worker's one asyncio loop: made when the first cell awaits, running whenever no synchronous code runs."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import asyncio

CLOSING_S: Final = 1.0

_execution: contextvars.ContextVar[str | None] = contextvars.ContextVar("execution", default=None)


class Looping:
    """`fd` is watched while the loop runs: `on_readable` is called when something can be read from it."""

    def __init__(self, fd: int, on_readable: Callable[[], None]) -> None:
        self._fd = fd
        self._on_readable = on_readable
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owners: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()
        self._main: asyncio.Task[Any] | None = None
        self._look: Callable[[], None] | None = None

    @property
    def made(self) -> bool:
        return self._loop is not None

    def _get(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._loop.is_closed():
            import asyncio

            loop = self._loop = asyncio.new_event_loop()
            loop.set_task_factory(self._make_task)
            loop.add_reader(self._fd, self._on_readable)
        self._loop_is_current()
        return self._loop

    def _loop_is_current(self) -> None:
        """`asyncio.run` of a cell leaves no current loop behind."""
        import asyncio

        asyncio.set_event_loop(self._loop)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        import asyncio

        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        context = options.get("context")
        self._owners[task] = _execution.get() if context is None else context.get(_execution)
        return task

    def run(self, execution_id: str, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it to its end, in a context of that execution; what it leaves behind goes on later."""
        loop = self._get()
        context = contextvars.copy_context()
        context.run(_execution.set, execution_id)
        self._main = loop.create_task(work, context=context)
        try:
            return loop.run_until_complete(self._main)
        except BaseException:
            # Raised in another task of it (KeyboardInterrupt, SystemExit): nothing of it goes on behind its end.
            if not self._main.done():
                self._main.cancel()
                with contextlib.suppress(BaseException):
                    loop.run_until_complete(self._main)
            raise
        finally:
            self._main = None

    def close(self) -> None:
        """Cancel all tasks, and forget the loop; the next cell that awaits makes another."""
        if self._loop is None or self._loop.is_closed():
            return
        import asyncio

        loop, self._loop = self._loop, None
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(BaseException):
            loop.run_until_complete(asyncio.wait(tasks, timeout=CLOSING_S) if tasks else asyncio.sleep(0))
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.remove_reader(self._fd)
        asyncio.set_event_loop(None)
        loop.close()

    def run_until(self, done: Callable[[], bool], beat_at: float, beat: Callable[[], float]) -> None:
        """Let tasks run until `done`, which is asked after each `look`; `beat` is called at `beat_at` and gives the
        next time."""
        loop = self._get()

        def look() -> None:
            if self._look is look and done():
                loop.stop()

        def tick() -> None:
            nonlocal timer
            timer = loop.call_later(beat() - time.monotonic(), tick)

        timer = loop.call_later(beat_at - time.monotonic(), tick)
        self._look = look
        try:
            if not done():
                loop.run_forever()
        except (KeyboardInterrupt, SystemExit):
            # Of a task that runs between executions: it ends the task, not the session.
            return
        finally:
            self._look = None
            timer.cancel()

    def look(self) -> None:
        """Something has changed that `run_until` may wait for. Called in any thread, or by a signal's handler."""
        look = self._look
        if look is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(look)

    def cancel(self, execution_id: str, scope: str) -> bool:
        """Cancel the tasks of an execution, or all of the session's; False when a task's own code is running now (it
        is interrupted instead) or there is nothing to cancel."""
        if self._loop is None or self._loop.is_closed() or not self._loop.is_running():
            return False
        import asyncio

        if asyncio.current_task(self._loop) is not None:
            return False
        tasks = [
            task
            for task in asyncio.all_tasks(self._loop)
            if scope == "session" or self._owners.get(task) == execution_id or task is self._main
        ]
        for task in tasks:
            self._loop.call_soon_threadsafe(task.cancel)
        return bool(tasks)
