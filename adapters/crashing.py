"""Crash points for the fault tests: the process ends at a named await, as SIGKILL would end it.

`AGENTTOWER_CRASH_AT` names the await of a part's method in a function of the tower and the moment, for example
`writer._decide_and_append.append.after`: the log has taken the batch, and the writer does not know it yet. `…#3` means
the third time. Without the variable nothing is wrapped and nothing here is ever called again.
"""

import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Any, Final, TypeVar, cast

VARIABLE: Final = "AGENTTOWER_CRASH_AT"

T = TypeVar("T")


def armed(part: T) -> T:
    """`part`, its awaited methods being crash points when the variable names one."""
    crash = _crash()
    return part if crash is None else cast(T, _Armed(part, crash))


class _Crash:
    def __init__(self, point: str) -> None:
        self._name, _, times = point.partition("#")
        self._left = int(times or 1)

    def at(self, name: str) -> None:
        """The end, if `name` is the point and its time has come."""
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def around(self, name: str, call: Awaitable[T]) -> T:
        self.at(f"{name}.before")
        answer = await call
        self.at(f"{name}.after")
        return answer

    async def along(self, name: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """`after` is when the first item has come, or the end."""
        self.at(f"{name}.before")
        first = True
        async for item in items:
            if first:
                self.at(f"{name}.after")
            first = False
            yield item
        if first:
            self.at(f"{name}.after")


class _Armed:
    """Stands for a part; what is not awaited goes straight to it."""

    def __init__(self, part: object, crash: _Crash) -> None:
        self._part = part
        self._crash = crash
        self._inner: dict[int, _Armed] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name in ("of", "make"):
            return self._of(found)
        if inspect.iscoroutinefunction(found):
            return self._named(found, self._crash.around)
        if inspect.isasyncgenfunction(found):
            return self._named(found, self._crash.along)
        return found

    @staticmethod
    def _named(method: Callable[..., Any], wrap: Callable[[str, Any], Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            caller = sys._getframe(1)
            module = caller.f_globals["__name__"].rpartition(".")[2]
            return wrap(f"{module}.{caller.f_code.co_name}.{method.__name__}", method(*args, **options))

        return call

    def _of(self, of: Callable[[str], object]) -> Callable[[str], object]:
        """`Terminals.of`: the same armed terminal each time. `Runtimes.make`: a new one."""

        def call(container_id: str) -> object:
            terminal = of(container_id)
            return self._inner.setdefault(id(terminal), _Armed(terminal, self._crash))

        return call


@cache
def _crash() -> _Crash | None:
    point = os.environ.get(VARIABLE)
    return _Crash(point) if point else None
