"""Waiting for a condition with a deadline: the one place in the tests that polls."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

T = TypeVar("T")

INTERVAL_S = 0.01


async def eventually(
    probe: Callable[[], T | Awaitable[T]], what: str = "", *, timeout_s: float = 30.0, interval_s: float = INTERVAL_S
) -> T:
    """The first true value of `probe()`; past the deadline an AssertionError tells the last value.

    Prefer an event or a condition where the other side has one; this is for what can only be looked at: a process, a
    file, another program's state.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        value = cast(T, await answer if inspect.isawaitable(answer) else answer)
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or probe!r}; last value {value!r}")
        await asyncio.sleep(interval_s)
