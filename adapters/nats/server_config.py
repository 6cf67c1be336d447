"""The embedded broker's configuration: users with exactly the permissions they need, and durable storage.

Permissions do not cover what the broker itself sends on a user's behalf: the acknowledgement of a queued command goes
to whatever reply subject its sender names, `tower.evt…` too, and would be recorded there. So peers in containers live
in an account of their own, in which no stream listens; their commands and answers pass through exports of the tower's
account, a reply subject reaches no further than theirs, and the tower sees one made by the broker (`_R_.…`).
"""

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

NO_LIMIT_BYTES: Final = 2**50

TOWER_ACCOUNT: Final = "TOWER"
PEERS_ACCOUNT: Final = "PEERS"

NOTHING: Final[tuple[str, ...]] = ()


class BrokerUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the broker. `publish` and `subscribe` are the allowed subjects; None allows everything."""

    name: str
    password: str
    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None
    account: str = TOWER_ACCOUNT


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
        publish=("tower.cmd.*.host.>", "tower.req.*.host.>", "tower.rpc.*.host.>", *reading_rights(node)),
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
    return BrokerUser(
        name=ANSWERS_USER, password=password, publish=("_INBOX.>", "tower.out.>", "_R_.>"), subscribe=NOTHING
    )


def container_user(node: str, container_id: str, password: str) -> BrokerUser:
    """The user of a peer inside a container (64 hex digits): its own commands and answers, nothing else."""
    if ORIGIN_PATTERN.match(container_id) is None or container_id == "host":
        raise ValueError("a container id has 64 hexadecimal digits")
    return BrokerUser(
        name=container_id,
        password=password,
        publish=tuple(f"tower.{door}.{node}.{container_id}.>" for door in ("cmd", "req", "rpc")),
        subscribe=(f"_INBOX.{container_id}.>", f"tower.out.{node}.{container_id}.>"),
        account=PEERS_ACCOUNT,
    )


def _permissions(user: BrokerUser) -> dict[str, Any]:
    sides = {"publish": user.publish, "subscribe": user.subscribe}
    return {
        side: {"allow": list(subjects)} if subjects else {"deny": [">"]}
        for side, subjects in sides.items()
        if subjects is not None
    }


def _users(users: Sequence[BrokerUser]) -> list[dict[str, Any]]:
    return [
        {"user": user.name, "password": user.password}
        | ({"permissions": permissions} if (permissions := _permissions(user)) else {})
        for user in users
    ]


def _accounts(node: str, users: Sequence[BrokerUser]) -> dict[str, Any]:
    peers = [user for user in users if user.account == PEERS_ACCOUNT]
    imports = [
        {kind: {"account": TOWER_ACCOUNT, "subject": subject}}
        for peer in peers
        for kind, subject in (
            *(("service", f"tower.{door}.{node}.{peer.name}.*.*") for door in ("cmd", "req")),
            # Names of one or two words follow.
            ("service", f"tower.rpc.{node}.{peer.name}.>"),
            ("stream", f"_INBOX.{peer.name}.>"),
            ("stream", f"tower.out.{node}.{peer.name}.>"),
        )
    ]
    return {
        TOWER_ACCOUNT: {
            "jetstream": "enabled",
            "users": _users([user for user in users if user.account == TOWER_ACCOUNT]),
            "exports": [
                *({"service": f"tower.{door}.{node}.>"} for door in ("cmd", "req", "rpc")),
                {"stream": "_INBOX.>"},
                {"stream": f"tower.out.{node}.>"},
            ],
        },
        PEERS_ACCOUNT: {"users": _users(peers), "imports": imports},
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
        # The store's own limit would be three quarters of what is free at the start, for ever; DiskWatch looks instead.
        "jetstream": {"store_dir": str(store), "sync_interval": "always", "max_file_store": NO_LIMIT_BYTES},
        "accounts": _accounts(node, users),
    }
    return json.dumps(config, indent=1)
