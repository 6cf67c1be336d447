"""Reading a stream in order, each message once, by a throw-away pull consumer without acknowledgements.

The consumer is dropped and made anew at the last message + 1 whenever something may be missing: a hole in its own
delivery count, silence past its heart-beat, a reconnect, a broker that says it is gone. Pull, so that a slow reader
holds at most `window` messages and is never cut off by the broker.
"""

import asyncio
import random
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
import structlog
from nats.aio.subscription import Subscription

from adapters.nats.connection import ApiError, js_api
from adapters.nats.wire import NoAnswer, NoResponders, WireClient, headers_of, publication, status_of

BATCH: Final = 500
HEARTBEAT_S: Final = 2.0
EXPIRES_S: Final = 60.0
INACTIVE_S: Final = 120.0
FIRST_RETRY_S: Final = 0.05
LAST_RETRY_S: Final = 2.0

NO_MESSAGES: Final = 404
REQUEST_TIMEOUT: Final = 408
HEARTBEAT: Final = 100

_log = structlog.get_logger("nats")

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Build(Protocol[T_co]):
    """Makes what the reader yields from a message. `stamp` is when it was stored, nanoseconds since 1970 as digits.

    Must not fail.
    """

    def __call__(self, sequence: int, stamp: bytes, subject: bytes, header: bytes, payload: bytes, /) -> T_co: ...


class Lost(Exception):
    """The consumer cannot go on: make a new one at last + 1."""


class StreamReader(Generic[T]):
    """Messages of `stream` from `after` + 1. One task at a time calls `next`; call `close` at the end.

    `last` is the sequence of the last message handed to `build`. `remaining` is how many messages the stream still
    held after it when it was sent, None before the first one.
    """

    def __init__(
        self,
        client: WireClient,
        stream: str,
        build: Build[T],
        *,
        after: int,
        contiguous: bool = False,
        window: int = 2 * BATCH,
        filter_subject: str | None = None,
        filter_subjects: Sequence[str] = (),
        name_prefix: str = "r",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """`contiguous`: a hole in the stream's own sequence, too, means that a message may be missing. The consumer is
        called `name_prefix` and random digits; it holds `metadata` for whoever lists it."""
        self.client = client
        self._stream = stream
        self._build = build
        self._contiguous = contiguous
        self._window = window
        self._config: dict[str, Any] = {} if filter_subject is None else {"filter_subject": filter_subject}
        if filter_subjects:
            self._config["filter_subjects"] = list(filter_subjects)
        if metadata is not None:
            self._config["metadata"] = dict(metadata)
        self._name_prefix = name_prefix
        self._woken = False
        self._arrived = asyncio.Event()
        self._items: list[T] = []
        self._subscription: Subscription | None = None
        self._consumer = ""
        self._inbox = ""
        self._pull = b""
        self._delivered = 0
        self._outstanding = 0
        self._heard = 0.0
        self._broken = "not started"
        self.last = after
        self.remaining: int | None = None
        client.reconnected.append(self._reconnected)

    @property
    def exhausted(self) -> bool:
        """Nothing is left to take, and nothing was left in the stream when its last message was sent."""
        return self.remaining == 0 and not self._items

    @property
    def holds(self) -> int:
        """Messages that have arrived and were not taken."""
        return len(self._items)

    async def open(self) -> None:
        """Make the consumer. Raises `ApiError`, `NoResponders`, `NoAnswer`."""
        await self._drop_consumer()
        client = self.client
        self._consumer = f"{self._name_prefix}{secrets.token_hex(8)}"
        self._inbox = client.new_inbox()
        self._delivered = 0
        self._outstanding = 0
        self._broken = ""
        self._subscription = await client.subscribe_raw(self._inbox, self._received)
        config: dict[str, Any] = {
            "name": self._consumer,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.last + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(INACTIVE_S * 1e9),
            **self._config,
        }
        subject = f"CONSUMER.CREATE.{self._stream}.{self._consumer}"
        info = await js_api(client, subject, {"stream_name": self._stream, "config": config, "action": "create"})
        self.remaining = int(info.get("num_pending", 0))
        self._heard = asyncio.get_running_loop().time()
        await self._ask_for_more()

    async def next(self, *, limit: int = BATCH, whole: bool = False, timeout_s: float | None = None) -> list[T]:
        """What has arrived, at least one message; with `whole`, wait for `limit` messages or the stream's end.

        An empty list when `timeout_s` passed or `wake` was called. Raises `Lost` when the consumer must be made anew
        (call `open`).
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while not self._enough(limit, whole):
            if self._broken:
                raise Lost(self._broken)
            if self._woken:
                break
            silent_at = self._heard + 2.5 * HEARTBEAT_S
            self._arrived.clear()
            if not self._outstanding:
                await self._ask_for_more()
            try:
                async with asyncio.timeout_at(silent_at if deadline is None else min(silent_at, deadline)):
                    await self._arrived.wait()
            except TimeoutError:
                if deadline is not None and loop.time() >= deadline:
                    break
                if self._heard + 2.5 * HEARTBEAT_S <= loop.time():
                    raise Lost("no heart-beat from the broker") from None
        self._woken = False
        items, self._items = self._items[:limit], self._items[limit:]
        if items:
            await self._ask_for_more()
        return items

    def wake(self) -> None:
        """Whoever waits in `next`, or calls it next, gets what is there, if only an empty list."""
        self._woken = True
        self._arrived.set()

    async def close(self) -> None:
        if self._reconnected in self.client.reconnected:
            self.client.reconnected.remove(self._reconnected)
        await self._drop_consumer()

    def _enough(self, limit: int, whole: bool) -> bool:
        have = len(self._items)
        # What arrived before a break is good and comes first.
        return have >= limit or (have > 0 and (not whole or self.remaining == 0 or bool(self._broken)))

    def _received(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        self._heard = asyncio.get_running_loop().time()
        if self._broken:
            return
        if not reply.startswith(b"$JS.ACK."):
            self._status(header)
            return
        tokens = reply.split(b".")
        # $JS.ACK.stream.consumer.deliveries.stream_seq.consumer_seq.time.pending, or the same after domain and account
        at = 5 if len(tokens) == 9 else 7
        if int(tokens[at + 1]) != self._delivered + 1:
            self._fail("messages were lost on the way")
            return
        sequence = int(tokens[at])
        if self._contiguous and sequence != self.last + 1 and self._delivered:
            # The first message of a consumer may follow a purge.
            self._fail(f"message {sequence} came after {self.last}")
            return
        self._delivered += 1
        self._outstanding -= 1
        self._items.append(self._build(sequence, tokens[at + 2], subject, header, payload))
        self.last = sequence
        self.remaining = int(tokens[at + 3])
        if not self._arrived.is_set():
            self._arrived.set()

    def _status(self, header: bytes) -> None:
        status = status_of(header)
        if status == HEARTBEAT:
            return
        if status in (NO_MESSAGES, REQUEST_TIMEOUT):
            # The rest of one pull request will not be delivered; the next one asks for it.
            unserved = headers_of(header).get("Nats-Pending-Messages", "0")
            self._outstanding = max(0, self._outstanding - int(unserved))
            self._arrived.set()
            return
        self._fail(header[9:].split(b"\r\n", 1)[0].decode("utf-8", "replace"))

    def _fail(self, why: str) -> None:
        self._broken = self._broken or why
        self._arrived.set()

    def _reconnected(self) -> None:
        self._fail("the connection was lost")

    async def _ask_for_more(self) -> None:
        """Keep half the window to a whole window of messages asked for or held."""
        free = self._window - self._outstanding - len(self._items)
        if self._broken or free < min(BATCH, self._window // 2):
            return
        request = {
            "batch": free,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        self._outstanding += free
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        try:
            await self.client.send(publication(subject, msgspec.json.encode(request), reply=self._inbox))
        except NoAnswer as error:
            self._fail(str(error))

    async def _drop_consumer(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        self._broken = self._broken or "closed"
        await self.client.unsubscribe_raw(subscription)
        if self.client.is_connected:
            # Without waiting: a consumer that outlives this is removed by its inactivity threshold.
            subject = f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}"
            try:
                await self.client.send(publication(subject, b""))
            except NoAnswer:
                pass


async def open_again(reader: StreamReader[Any], why: str) -> None:
    """Make the reader's consumer anew, for as long as it takes. Raises `ApiError` when the stream is gone."""
    delay_s = FIRST_RETRY_S
    _log.info("reading again", after=reader.last, why=why)
    while True:
        try:
            await reader.open()
            return
        except (NoAnswer, NoResponders) as error:
            _log.debug("cannot read yet", error=str(error))
        except ApiError as error:
            # 503: JetStream is starting; 404 while it recovers the stream is told apart by the caller's own checks.
            if error.code not in (500, 503):
                raise
        await reader.client.reconnected_within(random.uniform(0.5, 1.0) * delay_s)
        delay_s = min(2 * delay_s, LAST_RETRY_S)
