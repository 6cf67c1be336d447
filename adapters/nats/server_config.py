"""The embedded broker's configuration: users with exactly the permissions they need, and durable storage."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.messages import ORIGIN_PATTERN

TOWER_USER: Final = "tower"
ANSWERS_USER: Final = "tower-answers"
OPERATOR_USER: Final = "operator"
OBSERVER_USER: Final = "observer"

MAX_PAYLOAD_BYTES: Final = 8 * 1024 * 1024
"""Room for an event that holds a command of the largest size (1 MiB) and its envelope."""

NOTHING: Final[tuple[str, ...]] = ()


class BrokerUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the broker. `publish` and `subscribe` are the allowed subjects; None allows everything."""

    name: str
    password: str
    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None


def reading_rights(node: str) -> tuple[str, ...]:
    """What one must be allowed to publish to read the events and outcomes of `node` from a position."""
    events, outcomes = f"TOWER_EVENTS_{node}", f"TOWER_OUTCOMES_{node}"
    return (
        "$JS.API.INFO",
        f"$JS.API.STREAM.INFO.{events}",
        *(f"$JS.API.CONSUMER.{verb}.{events}.>" for verb in ("CREATE", "INFO", "DELETE", "MSG.NEXT")),
        f"$JS.API.CONSUMER.CREATE.{events}",
        *(f"$JS.API.DIRECT.GET.{stream}{rest}" for stream in (events, outcomes) for rest in ("", ".>")),
        "$JS.ACK.>",
        "$JS.FC.>",
    )


def operator_user(node: str, password: str) -> BrokerUser:
    return BrokerUser(
        name=OPERATOR_USER,
        password=password,
        publish=("tower.cmd.*.host.>", "tower.req.*.host.>", *reading_rights(node)),
        subscribe=(">",),
    )


def observer_user(node: str, password: str) -> BrokerUser:
    return BrokerUser(
        name=OBSERVER_USER,
        password=password,
        publish=reading_rights(node),
        subscribe=("tower.evt.>", "tower.out.>", "_INBOX.>"),
    )


def answers_user(password: str) -> BrokerUser:
    """The connection that answers commands: whatever reply subject is asked for, it can only reach inboxes."""
    return BrokerUser(name=ANSWERS_USER, password=password, publish=("_INBOX.>", "tower.out.>"), subscribe=NOTHING)


def container_user(node: str, container_id: str, password: str) -> BrokerUser:
    """The user of a peer inside a container (64 hex digits): its own commands and answers, nothing else."""
    if ORIGIN_PATTERN.match(container_id) is None or container_id == "host":
        raise ValueError("a container id has 64 hexadecimal digits")
    return BrokerUser(
        name=container_id,
        password=password,
        publish=(f"tower.cmd.{node}.{container_id}.>", f"tower.req.{node}.{container_id}.>"),
        subscribe=(f"_INBOX.{container_id}.>", f"tower.out.{node}.{container_id}.>"),
    )


def _permissions(user: BrokerUser) -> dict[str, Any]:
    sides = {"publish": user.publish, "subscribe": user.subscribe}
    return {
        side: {"allow": list(subjects)} if subjects else {"deny": [">"]}
        for side, subjects in sides.items()
        if subjects is not None
    }


def render(*, node: str, host: str, port: int, store: Path, log_file: Path, users: Sequence[BrokerUser]) -> str:
    """The configuration file, in the JSON subset of the server's format."""
    config = {
        "server_name": f"agenttower-{node}",
        "host": host,
        "port": port,
        "max_payload": MAX_PAYLOAD_BYTES,
        "log_file": str(log_file),
        "logfile_size_limit": 16 * 1024 * 1024,
        "logfile_max_num": 3,
        # An audit log must be on disk before it is acknowledged; by default JetStream syncs every two minutes.
        "jetstream": {"store_dir": str(store), "sync_interval": "always"},
        "authorization": {
            "users": [
                {
                    "user": user.name,
                    "password": user.password,
                    **({"permissions": permissions} if (permissions := _permissions(user)) else {}),
                }
                for user in users
            ]
        },
    }
    return json.dumps(config, indent=1)
