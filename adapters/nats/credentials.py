"""Credentials of the broker's users: those made at the first start, and those issued to containers.

home/nats/users.json    user -> password, of the tower's own users and of operator and observer; 0600
home/nats/issued.json   container id -> what was issued to it; 0600

Both are read at every start of the embedded broker. A broker that runs takes changes over by a reload.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.nats import server_config
from adapters.nats.private import write_private
from adapters.nats.server_config import BrokerUser

OWN_USERS: Final = (
    server_config.TOWER_USER,
    server_config.ANSWERS_USER,
    server_config.OPERATOR_USER,
    server_config.OBSERVER_USER,
)
PASSWORD_BYTES: Final = 32


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: what the container was called when they were issued, its id if nothing else is known."""

    name: str
    password: str
    issued_at: datetime


def new_password() -> str:
    """A letter first: digits alone would be a number in a nats-server's configuration."""
    return "p" + secrets.token_urlsafe(PASSWORD_BYTES)


class CredentialFiles:
    """The files in `folder`, which is `home/nats`. Change them under `locked()`, then `write_config`."""

    def __init__(self, folder: Path, node: str) -> None:
        self.folder: Final = folder
        self.node: Final = node

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes the files; the kernel frees the lock with the process."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self.folder / "credentials.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def passwords(self) -> dict[str, str]:
        """Of the own users; those that have none yet are made."""
        path = self.folder / "users.json"
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
        if missing := [name for name in OWN_USERS if name not in found]:
            found |= {name: new_password() for name in missing}
            self.set_passwords(found)
        return found

    def set_passwords(self, passwords: Mapping[str, str]) -> None:
        write_private(self.folder / "users.json", msgspec.json.encode(dict(passwords)).decode())

    def issued(self) -> dict[str, Issued]:
        path = self.folder / "issued.json"
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Issued]) if path.exists() else {}

    def set_issued(self, issued: Mapping[str, Issued]) -> None:
        write_private(self.folder / "issued.json", msgspec.json.encode(dict(issued)).decode())

    def users(self) -> tuple[BrokerUser, ...]:
        passwords = self.passwords()
        return (
            BrokerUser(name=server_config.TOWER_USER, password=passwords[server_config.TOWER_USER]),
            server_config.answers_user(passwords[server_config.ANSWERS_USER]),
            server_config.operator_user(self.node, passwords[server_config.OPERATOR_USER]),
            server_config.observer_user(self.node, passwords[server_config.OBSERVER_USER]),
            *(
                server_config.container_user(self.node, container_id, one.password)
                for container_id, one in sorted(self.issued().items())
            ),
        )

    def config(self) -> dict[str, Any] | None:
        """The configuration that the broker was last started with; None before its first start."""
        path = self.folder / "server.conf"
        return json.loads(path.read_bytes()) if path.exists() else None

    def write_config(self) -> None:
        """Put today's users into the configuration. It takes effect with a reload, or with the next start."""
        config = self.config()
        if config is not None:
            config["accounts"] = server_config.accounts(self.node, self.users())
            write_private(self.folder / "server.conf", json.dumps(config, indent=1))

    def broker_pid(self) -> int | None:
        """The embedded broker that runs on this folder: it holds the store's lock, which names it."""
        try:
            fd = os.open(self.folder / "store.lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 20, 0).strip()
            return int(pid) if pid.isdigit() else None
        else:
            return None
        finally:
            os.close(fd)


def context(user: BrokerUser, address: str | None, node: str) -> dict[str, Any]:
    """What a credentials file holds: a context of the `nats` command, which ignores what it does not know.

    `address` is HOST:PORT, None while it is not known; `connect_url` has the password, for clients that take one URL.
    """
    origin = user.name if user.account.startswith(server_config.PEER_ACCOUNT_PREFIX) else None
    return {
        "description": f"AgentTower node {node}, {'container ' + origin[:12] if origin else user.name}",
        "url": f"nats://{address}" if address else "",
        "user": user.name,
        "password": user.password,
        "inbox_prefix": f"_INBOX.{origin}" if origin else "_INBOX",
        "connect_url": f"nats://{user.name}:{user.password}@{address}" if address else "",
        "node": node,
        "origin": origin,
        "publish": list(user.publish or ()),
        "subscribe": list(user.subscribe or ()),
    }
