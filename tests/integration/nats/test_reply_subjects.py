"""What the broker sends on a user's behalf, past permissions: acknowledgements of queued commands, answers of the
JetStream API and of the tower, deliveries of consumers. None of it reaches the log, a door, or another's inbox."""

import asyncio
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from adapters.nats import server_config
from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import js_api
from adapters.nats.log import JetStreamLog
from adapters.nats.server_config import container_user
from adapters.nats.wire import WireClient
from handlers.ports import Entry
from tests.integration.conftest import NODE, Connected
from tests.waiting import eventually

CONTAINER = "a" * 64
OTHER = "b" * 64
STREAM = f"TOWER_EVENTS_{NODE}"
READERS = [server_config.OPERATOR_USER, server_config.OBSERVER_USER]
READING = [
    ("$JS.API.INFO", b""),
    (f"$JS.API.STREAM.INFO.{STREAM}", b""),
    (f"$JS.API.CONSUMER.CREATE.{STREAM}", b"{}"),
    (f"$JS.API.CONSUMER.INFO.{STREAM}.none", b""),
    (f"$JS.API.CONSUMER.DELETE.{STREAM}.none", b""),
    (f"$JS.API.DIRECT.GET.{STREAM}", b'{"seq":1}'),
    (f"$JS.API.DIRECT.GET.{STREAM}.tower.evt.{NODE}.pane.p1.created", b""),
]
INTO_THE_LOG = f"tower.evt.{NODE}.pane.p1.created"


async def entries(tower: WireClient) -> dict[str, int]:
    streams = ("EVENTS", "COMMANDS", "TIMERS")
    infos = [await js_api(tower, f"STREAM.INFO.TOWER_{stream}_{NODE}") for stream in streams]
    return {stream: info["state"]["last_seq"] for stream, info in zip(streams, infos, strict=True)}


@pytest.fixture
async def one_event(event_log: JetStreamLog) -> None:
    await event_log.append([Entry(INTO_THE_LOG, b"{}", {})], expected_last=0)


@pytest.fixture
async def peers(broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient) -> list[WireClient]:
    await broker.reload([container_user(NODE, name, f"secret-{name}") for name in (CONTAINER, OTHER)])
    return [await connected(broker.url(name), inbox_prefix=f"_INBOX.{name}") for name in (CONTAINER, OTHER)]


@pytest.mark.parametrize("user", READERS)
@pytest.mark.parametrize(
    "reply_to", [INTO_THE_LOG, f"tower.cmd.{NODE}.host.layout.create", f"tower.timer.{NODE}.x"], ids=lambda to: to[6:9]
)
async def test_no_answer_of_the_jetstream_api_is_written_down(
    one_event: None, broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient, user: str, reply_to: str
) -> None:
    client = await connected(broker.url(user))
    before = await entries(tower_nats)
    for subject, payload in READING:
        await client.publish(subject, payload, reply=reply_to)
    await client.flush()
    # Asked after all of them, on the same connection: what the broker writes for them is there by now.
    await js_api(client, f"STREAM.INFO.{STREAM}")
    await asyncio.gather(*(client.ask(subject, payload) for subject, payload in READING))
    assert await entries(tower_nats) == before


@pytest.mark.parametrize("user", READERS)
async def test_no_delivery_of_a_consumer_is_written_down(
    one_event: None, broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient, user: str
) -> None:
    """Pull requests name a reply subject, push consumers a delivery subject."""
    client = await connected(broker.url(user))
    config: dict[str, Any] = {"ack_policy": "none", "mem_storage": True, "inactive_threshold": 10**10}

    async def create(name: str, **more: str) -> None:
        request = {"stream_name": STREAM, "config": {**config, **more, "name": name}, "action": "create"}
        await js_api(client, f"CONSUMER.CREATE.{STREAM}.{name}", request)

    await create("pull")
    before = await entries(tower_nats)
    # Where nobody listens the broker delivers nothing.
    await client.subscribe(INTO_THE_LOG)
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.pull", b"1", reply=INTO_THE_LOG)
    for number, subject in enumerate(
        (f"tower.cmd.{NODE}.host.layout.create", f"tower.timer.{NODE}.x", f"$JS.API.STREAM.PURGE.{STREAM}")
    ):
        await client.subscribe(subject)
        await create(f"push-{number}", deliver_subject=subject)

    async def pulled() -> bool:
        return (await js_api(client, f"CONSUMER.INFO.{STREAM}.pull"))["delivered"]["consumer_seq"] == 1

    await eventually(pulled, "the delivery")
    for number in range(3):
        assert (await js_api(client, f"CONSUMER.INFO.{STREAM}.push-{number}"))["delivered"]["consumer_seq"] == 0
    assert await entries(tower_nats) == before


@pytest.mark.parametrize("user", [server_config.OPERATOR_USER, CONTAINER])
@pytest.mark.parametrize(
    "reply_to", [INTO_THE_LOG, f"tower.cmd.{NODE}.host.pane.remove", f"tower.cmd.{NODE}.{OTHER}.a.b"]
)
async def test_no_acknowledgement_of_a_queued_command_is_written_down(
    peers: list[WireClient],
    broker: EmbeddedBroker,
    connected: Connected,
    tower_nats: WireClient,
    user: str,
    reply_to: str,
) -> None:
    origin = "host" if user == server_config.OPERATOR_USER else user
    client = await connected(broker.url(user), inbox_prefix="_INBOX" if origin == "host" else f"_INBOX.{origin}")
    await client.publish(f"tower.cmd.{NODE}.{origin}.layout.create", b"{}", reply=reply_to)
    # Acknowledged after the first.
    await client.ask(f"tower.cmd.{NODE}.{origin}.layout.create", b"{}")
    assert await entries(tower_nats) == {"EVENTS": 0, "COMMANDS": 2, "TIMERS": 0}


@pytest.mark.parametrize("spoofed", [f"_INBOX.{OTHER}.x", f"tower.out.{NODE}.{OTHER}.some-id"])
async def test_a_peer_has_nothing_sent_to_another_peer(
    peers: list[WireClient], tower_nats: WireClient, spoofed: str
) -> None:
    """Neither an acknowledgement of the broker's, nor an answer of the tower's, which it could make look like any."""
    bad, good = peers
    arrived: list[Msg] = []

    async def see(message: Msg) -> None:
        arrived.append(message)

    async def answer(message: Msg) -> None:
        await tower_nats.publish(message.reply, b"an outcome")

    await tower_nats.subscribe(f"tower.req.{NODE}.>", cb=answer)
    await tower_nats.flush()
    await good.subscribe(spoofed, cb=see)
    await good.flush()
    for door in ("cmd", "req"):
        await bad.publish(f"tower.{door}.{NODE}.{CONTAINER}.a.b", b"{}", reply=spoofed)
        await bad.ask(f"tower.{door}.{NODE}.{CONTAINER}.a.b", b"{}")
    await good.flush()
    assert arrived == []
    await tower_nats.publish(spoofed, b"the tower's own")
    await tower_nats.flush()
    await good.flush()
    assert [message.data for message in arrived] == [b"the tower's own"]


async def test_a_reader_writes_nothing_through_the_outcomes_of_others(
    one_event: None, broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient
) -> None:
    """A consumer may deliver to the outcomes that its owner reads: under the event's own subject, hence no outcome."""
    observer = await connected(broker.observer_url)
    subject = f"tower.out.{NODE}.host.some-id"
    await observer.subscribe(subject)
    config = {"name": "c", "ack_policy": "none", "mem_storage": True, "deliver_subject": subject}
    request = {"stream_name": STREAM, "config": config, "action": "create"}
    await js_api(observer, f"CONSUMER.CREATE.{STREAM}.c", request)
    await js_api(observer, f"CONSUMER.INFO.{STREAM}.c")
    kept = await tower_nats.ask(f"$JS.API.DIRECT.GET.TOWER_OUTCOMES_{NODE}.{subject}")
    assert kept.status == 404


@pytest.mark.parametrize("user", READERS)
async def test_an_ordered_push_consumer_reads_all(
    broker: EmbeddedBroker, connected: Connected, event_log: JetStreamLog, user: str
) -> None:
    """What a plain client's `ordered_consumer=True` makes, flow control included."""
    payload = b"x" * 4000
    await event_log.append(
        [Entry(f"tower.evt.{NODE}.pane.p{n}.created", payload, {}) for n in range(1000)], expected_last=0
    )
    client = await connected(broker.url(user))
    events = await client.jetstream().subscribe(f"tower.evt.{NODE}.>", stream=STREAM, ordered_consumer=True)
    seen = [(await events.next_msg(timeout=30)).metadata.sequence.stream for _ in range(1000)]
    assert seen == list(range(1, 1001))
    await events.unsubscribe()


@pytest.mark.parametrize("user", READERS)
async def test_a_durable_consumer_keeps_its_place(
    broker: EmbeddedBroker, connected: Connected, event_log: JetStreamLog, user: str
) -> None:
    await event_log.append([Entry(f"tower.evt.{NODE}.pane.p{n}.created", b"{}", {}) for n in range(4)], expected_last=0)
    seen: list[int] = []
    for _ in range(2):
        client = await connected(broker.url(user))
        events = await client.jetstream().pull_subscribe(f"tower.evt.{NODE}.>", durable="mine", stream=STREAM)
        for message in await events.fetch(2, timeout=10):
            seen.append(message.metadata.sequence.stream)
            await message.ack_sync()
    assert seen == [1, 2, 3, 4]


async def test_a_plain_acknowledged_publish_of_the_operator(
    broker: EmbeddedBroker, connected: Connected, tower_nats: WireClient
) -> None:
    client = await connected(broker.operator_url)
    queued = await client.jetstream().publish(f"tower.cmd.{NODE}.host.layout.create", msgspec.json.encode({}))
    assert (queued.stream, queued.seq) == (f"TOWER_COMMANDS_{NODE}", 1)
