"""Waiting before a next try, where nothing tells when it will succeed (another process, a file lock)."""

import asyncio


async def pause(delay_s: float) -> None:
    """Wait out a back-off; never used where a condition can be waited for."""
    try:
        async with asyncio.timeout(delay_s):
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        pass
