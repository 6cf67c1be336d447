"""A real broker for each test that asks for one: a private nats-server, up in a twentieth of a second.

`broker`       an EmbeddedBroker of node `local` in a folder of its own
`connected`    makes connections to it that are closed after the test: `await connected(broker.operator_url)`
`tower_nats`   the tower user's connection, the node's streams made
`event_log`    the node's event log on that connection
"""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Protocol

import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.connection import connect
from adapters.nats.log import JetStreamLog
from adapters.nats.streams import ensure_streams
from adapters.nats.wire import WireClient

NODE = "local"


class Connected(Protocol):
    def __call__(self, url: str, *, inbox_prefix: str = "_INBOX") -> Awaitable[WireClient]: ...


@pytest.fixture
async def broker(short_tmp: Path) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(short_tmp, NODE) as running:
        yield running


@pytest.fixture
async def connected() -> AsyncIterator[Connected]:
    clients: list[WireClient] = []

    async def make(url: str, *, inbox_prefix: str = "_INBOX") -> WireClient:
        client = await connect(url, name="test", inbox_prefix=inbox_prefix)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def tower_nats(broker: EmbeddedBroker, connected: Connected) -> WireClient:
    client = await connected(broker.tower_url)
    assert await ensure_streams(client, NODE) == []
    return client


@pytest.fixture
def event_log(tower_nats: WireClient) -> JetStreamLog:
    return JetStreamLog(tower_nats, NODE)
