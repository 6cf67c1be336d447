"""What each user of the generated configuration may publish and subscribe, seen from the broker's side."""

import asyncio
from contextlib import aclosing

import pytest
from nats.aio.msg import Msg

from adapters.nats import server_config
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import js_api
from adapters.nats.output_feed import OutputFeed
from adapters.nats.server_config import container_user
from adapters.nats.wire import NoAnswer, NoResponders, WireClient
from handlers.execution_ports import OutputError
from tests.integration.conftest import NODE, Connected

CONTAINER = "a" * 64
OTHER = "b" * 64


class Permissions:
    """Asks the broker by trying: what was published is seen by the tower user, or it is not."""

    def __init__(self, client: WireClient, tower: WireClient) -> None:
        self.client = client
        self._tower = tower

    async def may_publish(self, subject: str) -> bool:
        seen = asyncio.Event()

        async def see(_message: Msg) -> None:
            seen.set()

        subscription = await self._tower.subscribe(subject, cb=see)
        await self._tower.flush()
        await self.client.publish(subject, b"{}")
        await self.client.flush()
        await self._tower.flush()
        await subscription.drain()
        return seen.is_set()

    async def may_subscribe(self, subject: str, example: str) -> bool:
        seen = asyncio.Event()

        async def see(_message: Msg) -> None:
            seen.set()

        subscription = await self.client.subscribe(subject, cb=see)
        await self.client.flush()
        await self._tower.publish(example, b"{}")
        await self._tower.flush()
        await self.client.flush()
        await subscription.drain()
        return seen.is_set()


async def permissions_of(
    user: str, broker: EmbeddedBroker, connected: Connected, tower: WireClient, inbox_prefix: str = "_INBOX"
) -> Permissions:
    return Permissions(await connected(broker.url(user), inbox_prefix=inbox_prefix), tower)


@pytest.fixture
async def container(broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient) -> Permissions:
    await broker.reload([container_user(NODE, name, f"secret-{name}") for name in (CONTAINER, OTHER)])
    return await permissions_of(CONTAINER, broker, connected, tower_nats, f"_INBOX.{CONTAINER}")


async def test_the_tower_may_do_all(broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient) -> None:
    tower = await permissions_of(server_config.TOWER_USER, broker, connected, tower_nats)
    for subject in ("tower.evt.local.a.b.c", "tower.ctl.local.ping", "_INBOX.x", "anything"):
        assert await tower.may_publish(subject)
        assert await tower.may_subscribe(subject, subject)


async def test_answers_reach_inboxes_and_outcomes_only(
    broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient
) -> None:
    answers = await permissions_of(server_config.ANSWERS_USER, broker, connected, tower_nats)
    assert await answers.may_publish("_INBOX.x.y")
    assert await answers.may_publish("tower.out.local.host.id")
    for subject in ("tower.evt.local.a.b.c", "tower.cmd.local.host.a.b", "tower.req.local.host.a.b", "_INBOX", "x"):
        assert not await answers.may_publish(subject)
    for subject in ("tower.evt.local.a.b.c", "_INBOX.x"):
        assert not await answers.may_subscribe(subject, subject)


async def test_the_operator_commands_as_host_and_reads_all(
    broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient
) -> None:
    operator = await permissions_of(server_config.OPERATOR_USER, broker, connected, tower_nats)
    for subject in ("tower.cmd.local.host.layout.create", "tower.req.local.host.layout.create", "tower.req.b.host.a.b"):
        assert await operator.may_publish(subject)
    assert await operator.may_publish("tower.rpc.local.host.app.managed_layout_list")
    for subject in (
        f"tower.cmd.local.{CONTAINER}.layout.create",
        "tower.req.local.tower.layout.create",
        f"tower.rpc.local.{CONTAINER}.managed.layout.list",
        "tower.evt.local.pane.a.created",
        "tower.out.local.host.id",
        "tower.timer.local.x",
        "_INBOX.x",
        "$JS.API.STREAM.DELETE.TOWER_EVENTS_local",
        "$JS.API.STREAM.PURGE.TOWER_EVENTS_local",
        "$JS.API.STREAM.INFO.TOWER_COMMANDS_local",
    ):
        assert not await operator.may_publish(subject)
    for subject in ("tower.evt.local.pane.a.created", "tower.out.local.host.id", "tower.log.local.e.stdout"):
        assert await operator.may_subscribe(subject, subject)


async def test_the_observer_reads_events_and_outcomes(
    broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient
) -> None:
    observer = await permissions_of(server_config.OBSERVER_USER, broker, connected, tower_nats)
    for subject in (
        "tower.cmd.local.host.layout.create",
        "tower.req.local.host.layout.create",
        "tower.evt.local.pane.a.created",
        "tower.out.local.host.id",
        "_INBOX.x",
        "$JS.API.STREAM.PURGE.TOWER_EVENTS_local",
    ):
        assert not await observer.may_publish(subject)
    assert await observer.may_subscribe("tower.evt.>", "tower.evt.local.pane.a.created")
    assert await observer.may_subscribe("tower.out.>", "tower.out.local.host.id")
    for subject in ("tower.cmd.local.host.a.b", "tower.req.local.host.a.b", "tower.log.local.e.stdout"):
        assert not await observer.may_subscribe(subject, subject)


@pytest.mark.parametrize("user", [server_config.OPERATOR_USER, server_config.OBSERVER_USER])
async def test_readers_use_the_reading_part_of_the_jetstream_api(
    broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient, user: str
) -> None:
    client = await connected(broker.url(user))
    await js_api(client, "INFO")
    await js_api(client, f"STREAM.INFO.TOWER_EVENTS_{NODE}")
    for request in ("STREAM.INFO.TOWER_TIMERS_local", "STREAM.DELETE.TOWER_EVENTS_local", "STREAM.NAMES"):
        with pytest.raises((NoAnswer, NoResponders)):
            await js_api(client, request, timeout_s=0.3)
    assert (await js_api(tower_nats, f"STREAM.INFO.TOWER_EVENTS_{NODE}"))["state"]["messages"] == 0


async def test_the_operator_alone_reads_what_executions_print(
    broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient
) -> None:
    await tower_nats.publish("tower.log.local.e1.stdout", b"printed")
    await tower_nats.flush()

    async def read_by(user: str) -> list[str]:
        client = await connected(broker.url(user))
        async with aclosing(OutputFeed(client, NODE, "e1", ended=True)) as feed:
            return [piece.text async for pieces in feed for piece in pieces]

    assert await read_by(server_config.OPERATOR_USER) == ["printed"]
    with pytest.raises(OutputError):
        await read_by(server_config.OBSERVER_USER)
    operator = await permissions_of(server_config.OPERATOR_USER, broker, connected, tower_nats)
    for request in ("DELETE", "PURGE", "UPDATE", "MSG.DELETE"):
        assert not await operator.may_publish(f"$JS.API.STREAM.{request}.TOWER_OUTPUT_local")
    assert not await operator.may_publish("tower.log.local.e1.stdout")


async def test_a_container_sees_and_touches_its_own_only(container: Permissions) -> None:
    assert await container.may_publish(f"tower.cmd.local.{CONTAINER}.layout.create")
    assert await container.may_publish(f"tower.req.local.{CONTAINER}.layout.create")
    assert await container.may_publish(f"tower.rpc.local.{CONTAINER}.managed.layout.list")
    for subject in (
        "tower.cmd.local.host.layout.create",
        "tower.req.local.host.layout.create",
        f"tower.cmd.local.{OTHER}.layout.create",
        f"tower.req.local.{OTHER}.layout.create",
        "tower.rpc.local.host.app.managed_layout_list",
        f"tower.rpc.local.{OTHER}.managed.layout.list",
        f"tower.cmd.other.{CONTAINER}.layout.create",
        "tower.evt.local.pane.a.created",
        f"tower.out.local.{CONTAINER}.id",
        f"_INBOX.{OTHER}.x",
        f"_INBOX.{CONTAINER}.x",
        "$JS.API.INFO",
        "$JS.API.STREAM.INFO.TOWER_EVENTS_local",
        "$JS.API.CONSUMER.CREATE.TOWER_OUTPUT_local.x",
        "tower.log.local.e.stdout",
        "$SYS.REQ.SERVER.PING",
        "tower.ctl.local.ping",
    ):
        assert not await container.may_publish(subject)
    assert await container.may_subscribe(f"_INBOX.{CONTAINER}.>", f"_INBOX.{CONTAINER}.x")
    assert await container.may_subscribe(f"tower.out.local.{CONTAINER}.>", f"tower.out.local.{CONTAINER}.id")
    for subject, example in (
        (">", "tower.evt.local.pane.a.created"),
        ("$SYS.>", "$SYS.ACCOUNT.x"),
        ("_INBOX.>", "_INBOX.x"),
        (f"_INBOX.{OTHER}.>", f"_INBOX.{OTHER}.x"),
        (f"tower.out.local.{OTHER}.>", f"tower.out.local.{OTHER}.id"),
        ("tower.out.>", f"tower.out.local.{OTHER}.id"),
        ("tower.evt.>", "tower.evt.local.pane.a.created"),
        ("tower.log.>", "tower.log.local.e.stdout"),
        (f"tower.cmd.local.{CONTAINER}.>", f"tower.cmd.local.{CONTAINER}.a.b"),
    ):
        assert not await container.may_subscribe(subject, example)


def test_only_a_container_id_names_a_container() -> None:
    for name in ("host", "tower", "a" * 63, "A" * 64, "*", "a" * 64 + ".>"):
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            container_user(NODE, name, "secret")
