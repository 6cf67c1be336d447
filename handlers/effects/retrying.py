"""The retry policy of a pipeline stage, as data, and the one function that applies it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from handlers.ports import Clock, TerminalUnreachable

STAGE_TIMEOUT_S: Final = 30.0
RETRY_AFTER_S: Final = (1.0, 2.0)
"""Waits before the second and the third try. Only `TerminalUnreachable` and time-outs are tried again."""

T = TypeVar("T")


async def with_retries(step: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """What `step` gives. Raises its own errors; `TerminalUnreachable` when the last try found no answer."""
    for wait_s in (*RETRY_AFTER_S, None):
        try:
            async with asyncio.timeout(STAGE_TIMEOUT_S):
                return await step()
        except (TerminalUnreachable, TimeoutError) as error:
            if wait_s is None:
                raise TerminalUnreachable(str(error) or f"no answer in {STAGE_TIMEOUT_S:.0f} s") from error
            await clock.sleep(wait_s)
    raise AssertionError("the last try returns or raises")
