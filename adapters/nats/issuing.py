"""Issuing and revoking credentials of the embedded broker, whether it runs or not."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from adapters.nats.credentials import CredentialFiles, Issued, new_password
from adapters.nats.reloading import bring_into_force, forget
from adapters.nats.server_config import OBSERVER_USER, TOWER_USER, BrokerUser

ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared with, never bound to


def address(files: CredentialFiles) -> str | None:
    """HOST:PORT of the broker that runs, as this machine reaches it; None while none runs."""
    config = files.config()
    if config is None or files.broker_pid() is None:
        return None
    host = "127.0.0.1" if config["host"] in ANY else config["host"]
    return f"[{host}]:{config['port']}" if ":" in host else f"{host}:{config['port']}"


async def issue(files: CredentialFiles, container_id: str | None, name: str, now: datetime) -> BrokerUser:
    """New credentials for a container, or for the observer (None); what was issued before is refused from now on, and
    its connections are closed. Raises `NotInForce`, `BrokerProblem`."""

    def change() -> None:
        if container_id is None:
            files.set_passwords(files.passwords() | {OBSERVER_USER: new_password()})
        else:
            one = Issued(name=name, password=new_password(), issued_at=now)
            files.set_issued(files.issued() | {container_id: one})

    return await _changed(files, container_id or OBSERVER_USER, change)


async def revoke(files: CredentialFiles, container_id: str | None, now: datetime) -> bool:
    """Refuse the container's credentials, or the observer's, from now on; False if there were none."""

    def change() -> None:
        files.set_issued({key: one for key, one in files.issued().items() if key != container_id})

    if container_id is None:
        # The user stays, with a password that nobody knows.
        await issue(files, None, OBSERVER_USER, now)
        return True
    old = next((user for user in files.users() if user.name == container_id), None)
    if old is None:
        return False
    await asyncio.to_thread(_under_lock, files, change)
    pid, where = files.broker_pid(), address(files)
    if pid is not None and where is not None:
        await forget(pid, _url(old, where))
    return True


async def _changed(files: CredentialFiles, name: str, change: Callable[[], None]) -> BrokerUser:
    await asyncio.to_thread(_under_lock, files, change)
    users = {user.name: user for user in files.users()}
    pid, where = files.broker_pid(), address(files)
    if pid is not None and where is not None:
        try:
            await bring_into_force(pid, _url(users[TOWER_USER], where), [(users[name], _url(users[name], where))])
        except ProcessLookupError:
            # It has ended meanwhile; its next start reads the files.
            pass
    return users[name]


def _under_lock(files: CredentialFiles, change: Callable[[], None]) -> None:
    with files.locked():
        change()
        files.write_config()


def _url(user: BrokerUser, where: str) -> str:
    return f"nats://{user.name}:{user.password}@{where}"
