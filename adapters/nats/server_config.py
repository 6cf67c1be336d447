"""The embedded broker's configuration: users with exactly the permissions they need, and durable storage.

Permissions do not cover what the broker itself sends on a user's behalf: the acknowledgement of a queued command and
every answer of the JetStream API go to whatever reply subject the asker names, `tower.evt…` too, and would be recorded
there. So only the tower's own two users are in the account that holds the streams. Everybody else has an account of
their own, in which no stream listens: what they may ask passes through service imports, for which the broker puts a
reply subject of its own (`_R_.…`) in the place of theirs, and what they may read comes through stream imports.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.messages import HOST, ORIGIN_PATTERN

TOWER_USER: Final = "tower"
ANSWERS_USER: Final = "tower-answers"
OPERATOR_USER: Final = "operator"
OBSERVER_USER: Final = "observer"

MAX_PAYLOAD_BYTES: Final = 8 * 1024 * 1024
"""Room for an event that holds a command of the largest size (1 MiB) and its envelope."""

NO_LIMIT_BYTES: Final = 2**50

TOWER_ACCOUNT: Final = "TOWER"
OPERATOR_ACCOUNT: Final = "OPERATOR"
OBSERVER_ACCOUNT: Final = "OBSERVER"
PEER_ACCOUNT_PREFIX: Final = "PEER-"

DOORS: Final = ("tower.cmd", "tower.req", "tower.rpc")
NOTHING: Final[tuple[str, ...]] = ()
MANY_ANSWERS: Final = "$JS.API.CONSUMER.MSG.NEXT."
"""Requests that are answered by a stream of messages."""


class BrokerUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the broker. `publish` and `subscribe` are the allowed subjects; None allows everything.

    `services` and `streams` are what the user's account takes from the tower's: subjects to publish on, and to read.
    """

    name: str
    password: str
    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None
    account: str = TOWER_ACCOUNT
    services: tuple[str, ...] = NOTHING
    streams: tuple[str, ...] = NOTHING


def reading_rights(node: str) -> tuple[str, ...]:
    """What one must be allowed to publish to read the events and outcomes of `node` from a position."""
    events, outcomes = f"TOWER_EVENTS_{node}", f"TOWER_OUTCOMES_{node}"
    return (
        "$JS.API.INFO",
        *_consumer_rights(events),
        *(f"$JS.API.DIRECT.GET.{stream}{rest}" for stream in (events, outcomes) for rest in ("", ".>")),
        *_flow_rights(events),
    )


def output_rights(node: str) -> tuple[str, ...]:
    """The same for what executions print."""
    output = f"TOWER_OUTPUT_{node}"
    return (*_consumer_rights(output), *_flow_rights(output))


def _consumer_rights(stream: str) -> tuple[str, ...]:
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        *(f"$JS.API.CONSUMER.{verb}.{stream}.>" for verb in ("CREATE", "INFO", "DELETE", "MSG.NEXT")),
        f"$JS.API.CONSUMER.CREATE.{stream}",
    )


def _flow_rights(stream: str) -> tuple[str, ...]:
    return (f"$JS.ACK.{stream}.>", f"$JS.FC.{stream}.>")


def operator_user(node: str, password: str) -> BrokerUser:
    commands = tuple(f"{door}.*.{HOST}.>" for door in DOORS)
    asked = (*commands, *reading_rights(node), *output_rights(node))
    return BrokerUser(
        name=OPERATOR_USER,
        password=password,
        publish=asked,
        subscribe=(">",),
        account=OPERATOR_ACCOUNT,
        services=asked,
        streams=("tower.evt.>", "tower.out.>", "tower.log.>", "_INBOX.>"),
    )


def observer_user(node: str, password: str) -> BrokerUser:
    return BrokerUser(
        name=OBSERVER_USER,
        password=password,
        publish=reading_rights(node),
        subscribe=("tower.evt.>", "tower.out.>", "_INBOX.>"),
        account=OBSERVER_ACCOUNT,
        services=reading_rights(node),
        streams=("tower.evt.>", "tower.out.>", "_INBOX.>"),
    )


def answers_user(password: str) -> BrokerUser:
    """The connection that answers commands: whatever reply subject is asked for, it can only reach inboxes."""
    return BrokerUser(
        name=ANSWERS_USER, password=password, publish=("_INBOX.>", "tower.out.>", "_R_.>"), subscribe=NOTHING
    )


def container_user(node: str, container_id: str, password: str) -> BrokerUser:
    """The user of a peer inside a container (64 hex digits): its own commands and answers, nothing else.

    An account each: a reply subject that one names reaches nobody else's inbox either.
    """
    if ORIGIN_PATTERN.match(container_id) is None or container_id == HOST:
        raise ValueError("a container id has 64 hexadecimal digits")
    commands = tuple(f"{door}.{node}.{container_id}.>" for door in DOORS)
    answers = (f"_INBOX.{container_id}.>", f"tower.out.{node}.{container_id}.>")
    return BrokerUser(
        name=container_id,
        password=password,
        publish=commands,
        subscribe=answers,
        account=PEER_ACCOUNT_PREFIX + container_id,
        services=commands,
        streams=answers,
    )


def _permissions(user: BrokerUser) -> dict[str, Any]:
    sides = {"publish": user.publish, "subscribe": user.subscribe}
    return {
        side: {"allow": list(subjects)} if subjects else {"deny": [">"]}
        for side, subjects in sides.items()
        if subjects is not None
    }


def _users(users: Iterable[BrokerUser]) -> list[dict[str, Any]]:
    return [
        {"user": user.name, "password": user.password}
        | ({"permissions": permissions} if (permissions := _permissions(user)) else {})
        for user in users
    ]


def account_of(user: BrokerUser) -> dict[str, Any]:
    """The account of one user outside of the tower's, as it stands under its name in `accounts`."""
    imports = [
        {kind: {"account": TOWER_ACCOUNT, "subject": subject}}
        for kind, subjects in (("service", user.services), ("stream", user.streams))
        for subject in subjects
    ]
    return {"users": _users([user]), "imports": imports}


def tower_account(node: str, users: Iterable[BrokerUser]) -> dict[str, Any]:
    """The account with the streams. What is exported does not depend on who is there to import it, so that a new peer
    changes nothing here, and nobody has to be disconnected."""
    doors = (f"{door}.{own}" for door in DOORS for own in (f"*.{HOST}.>", f"{node}.>"))
    services = (*doors, *reading_rights(node), *output_rights(node))
    return {
        "jetstream": "enabled",
        "users": _users(users),
        "exports": [
            *(
                {"service": subject} | ({"response_type": "stream"} if subject.startswith(MANY_ANSWERS) else {})
                for subject in services
            ),
            *({"stream": subject} for subject in ("tower.evt.>", "tower.out.>", "tower.log.>", "_INBOX.>")),
        ],
    }


def accounts(node: str, users: Sequence[BrokerUser]) -> dict[str, Any]:
    return {
        TOWER_ACCOUNT: tower_account(node, [user for user in users if user.account == TOWER_ACCOUNT]),
        **{user.account: account_of(user) for user in users if user.account != TOWER_ACCOUNT},
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
        "accounts": accounts(node, users),
    }
    return json.dumps(config, indent=1)
