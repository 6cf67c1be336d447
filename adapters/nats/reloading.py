"""Making a changed configuration of a running nats-server take effect, without disconnecting anybody."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from secrets import token_hex
from typing import Final

from nats import errors

from adapters.nats.backoff import pause
from adapters.nats.connection import BrokerProblem, connect
from adapters.nats.server_config import BrokerUser
from adapters.nats.wire import WireClient

TIMEOUT_S: Final = 15.0
ASK_AGAIN_S: Final = 0.25
"""After this long the server is told again: the imports of an account that is new work from its second reload on."""

LOOK_S: Final = 0.02

PROBED: Final = "tower.rpc."
"""The door on which a probe queues nothing and is recorded nowhere."""


class NotInForce(Exception):
    """The server did not take the configuration over in time; its log says why."""


async def bring_into_force(pid: int, tower_url: str, users: Sequence[tuple[BrokerUser, str]]) -> None:
    """SIGHUP to the server `pid` until each of `users`, given with its URL, can log in and reaches the tower's account.

    Raises `NotInForce`, `BrokerProblem`, and `ProcessLookupError` when the server has ended.
    """
    tower = await connect(tower_url, name="reload")
    waiting = list(users)

    async def all_reach_it() -> bool:
        while waiting and await _reaches(tower, *waiting[0]):
            waiting.pop(0)
        return not waiting

    try:
        await _reload_until(pid, all_reach_it)
    finally:
        await tower.close()


async def forget(pid: int, url: str) -> None:
    """SIGHUP to the server `pid`, until it refuses `url`. Raises as `bring_into_force`."""

    async def refused() -> bool:
        client = await _login(url)
        if client is not None:
            await client.close()
        return client is None

    await _reload_until(pid, refused)


async def _reload_until(pid: int, done: Callable[[], Awaitable[bool]]) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + TIMEOUT_S
    while clock() < deadline:
        os.kill(pid, signal.SIGHUP)
        again = clock() + ASK_AGAIN_S
        while clock() < again:
            if await done():
                return
            # A reload tells nobody that it is done.
            await pause(LOOK_S)
    raise NotInForce(f"the broker (pid {pid}) did not take over its new configuration")


async def _reaches(tower: WireClient, user: BrokerUser, url: str) -> bool:
    """Whether the user can log in, and what it asks through its door arrives in the tower's account."""
    client = await _login(url)
    if client is None:
        return False
    try:
        doors = [door for door in user.services if door.startswith(PROBED) and "*" not in door]
        return all([await _is_open(tower, client, door.replace(">", f"probe-{token_hex(8)}")) for door in doors])
    except (errors.Error, OSError):
        # Closed by the reload that it came before.
        return False
    finally:
        await client.close()


async def _is_open(tower: WireClient, client: WireClient, subject: str) -> bool:
    arrivals: list[object] = []

    async def arrived(message: object) -> None:
        arrivals.append(message)

    subscription = await tower.subscribe(subject, cb=arrived)
    await tower.flush()
    # Without a reply subject: nobody answers, and nothing is decided.
    await client.publish(subject, b"")
    await client.flush()
    # What was delivered is here before the answer to this.
    await tower.flush()
    await subscription.drain()
    return bool(arrivals)


async def _login(url: str) -> WireClient | None:
    try:
        return await connect(url, name="reload-probe")
    except BrokerProblem:
        return None
