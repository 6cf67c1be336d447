"""One home through many rounds of a fault, and what must hold of it in the end."""

from collections.abc import Awaitable, Callable

from tests.faults.check import verified
from tests.faults.child import Child


async def rounds(child: Child, one_round: Callable[[], Awaitable[None]], seed: int, count: int) -> None:
    for number in range(count):
        try:
            await one_round()
        except Exception as error:
            raise AssertionError(f"seed {seed}, round {number}: {error}") from error
    await child.start()
    await verified(child)
    assert await child.stop() == 0
    await child.nothing_left()
