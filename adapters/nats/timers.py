"""Durable time: schedules held by the broker, and what fell due.

A schedule is one message on `tower.timer.{node}.{name}`; the broker publishes its payload on `tower.due.{node}.{name}`
at its time (up to 0.3 s late), or when it is back if it was down then. Missed ticks of an interval are skipped.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog

from adapters.nats import subjects
from adapters.nats.connection import ApiError, js_api, raise_api_error
from adapters.nats.wire import NoAnswer, NoResponders, WireClient, header_block, publication, status_of
from handlers.ports import Due, TimerError

DUE_KEPT_S: Final = 24 * 3600
"""How long a fired one-time schedule waits to be read; what is open is scheduled again at every start."""

TICK_KEPT_S: Final = 60
"""A tick that nobody read is soon followed by another."""

CONSUMER: Final = "due"
BATCH: Final = 16
ACK_WAIT_S: Final = 30
EXPIRES_S: Final = 20
RETRY_S: Final = 0.5
TIMEOUT_S: Final = 10.0

_log = structlog.get_logger("timers")


class BrokerTimers:
    """The `Timers` port over `TOWER_TIMERS_{node}`. One reader of `due()` at a time."""

    def __init__(self, client: WireClient, node: str) -> None:
        self._client = client
        self._node = subjects.checked_node(node)
        self._stream = subjects.timers_stream(node)
        self._due_prefix = f"tower.due.{node}."

    async def at(self, name: str, when: datetime, payload: bytes) -> None:
        """Once, at `when` (aware); a time that has passed fires at once."""
        stamp = when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await self._schedule(name, f"@at {stamp}", payload, DUE_KEPT_S)

    async def every(self, name: str, interval_s: int, payload: bytes) -> None:
        """Every `interval_s` seconds, at least 1."""
        if interval_s < 1:
            raise ValueError("an interval has at least 1 s")
        await self._schedule(name, f"@every {interval_s}s", payload, max(TICK_KEPT_S, 2 * interval_s))

    async def cron(self, name: str, expression: str, payload: bytes, *, time_zone: str | None = None) -> None:
        """By a cron expression of six fields (seconds first) or five, in an IANA time zone (UTC by default)."""
        fields = expression.split()
        spec = " ".join(["0", *fields] if len(fields) == 5 else fields)
        await self._schedule(name, spec, payload, TICK_KEPT_S, time_zone)

    async def cancel(self, name: str) -> None:
        """Cancel; one that is not there is success. What has fired already is still read."""
        try:
            await js_api(self._client, f"STREAM.PURGE.{self._stream}", {"filter": self._subject(name)})
        except (ApiError, NoAnswer, NoResponders) as error:
            raise TimerError(f"timer {name} was not cancelled: {error}") from error

    async def due(self) -> AsyncGenerator[Due]:
        puller = _DuePuller(self._client, self._stream, f"{self._due_prefix}>")
        try:
            while True:
                subject, ack, payload = await puller.next()
                yield Due(subject.removeprefix(self._due_prefix), payload)
                await puller.acknowledge(ack)
        finally:
            await puller.close()

    def _subject(self, name: str) -> str:
        tokens = [subjects.checked_token(token) for token in name.split(".")]
        return f"tower.timer.{self._node}.{'.'.join(tokens)}"

    async def _schedule(self, name: str, spec: str, payload: bytes, kept_s: int, time_zone: str | None = None) -> None:
        headers = {
            "Nats-Schedule": spec,
            "Nats-Schedule-Target": f"{self._due_prefix}{name}",
            "Nats-Schedule-TTL": f"{kept_s}s",
        }
        if time_zone is not None:
            headers["Nats-Schedule-Time-Zone"] = time_zone
        try:
            reply = await self._client.ask(
                self._subject(name), payload, block=header_block(headers), timeout_s=TIMEOUT_S
            )
            raise_api_error(msgspec.json.decode(reply.payload))
        except (ApiError, NoAnswer, NoResponders) as error:
            raise TimerError(f"timer {name} was not scheduled: {error}") from error


class _DuePuller:
    """A durable pull consumer with acknowledgements: what was not acknowledged comes again."""

    def __init__(self, client: WireClient, stream: str, filter_subject: str) -> None:
        self._client = client
        self._stream = stream
        self._filter = filter_subject
        self._arrived = asyncio.Event()
        self._messages: deque[tuple[str, str, bytes]] = deque()
        self._asked = 0
        self._subscription: Any = None
        self._inbox = ""
        self._ready = False

    async def next(self) -> tuple[str, str, bytes]:
        """Subject, acknowledgement subject and payload of the next due message, however long it takes."""
        if self._subscription is None:
            self._inbox = self._client.new_inbox()
            self._subscription = await self._client.subscribe_raw(self._inbox, self._received)
            self._client.reconnected.append(self._again)
        while not self._messages:
            if not self._ready:
                await self._make_ready()
            self._arrived.clear()
            if self._asked <= 0:
                await self._pull()
            try:
                async with asyncio.timeout(EXPIRES_S + 2):
                    await self._arrived.wait()
            except TimeoutError:
                self._again()
        return self._messages.popleft()

    async def acknowledge(self, ack: str) -> None:
        try:
            await self._client.send(publication(ack, b"+ACK"))
        except NoAnswer:
            pass  # it comes again

    async def close(self) -> None:
        if self._again in self._client.reconnected:
            self._client.reconnected.remove(self._again)
        if self._subscription is not None:
            await self._client.unsubscribe_raw(self._subscription)
            self._subscription = None

    async def _make_ready(self) -> None:
        config = {
            "durable_name": CONSUMER,
            "filter_subject": self._filter,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": ACK_WAIT_S * 1_000_000_000,
            "max_deliver": -1,
        }
        request = {"stream_name": self._stream, "config": config}
        while not self._ready:
            try:
                await js_api(self._client, f"CONSUMER.CREATE.{self._stream}.{CONSUMER}.{self._filter}", request)
                self._ready = True
            except (ApiError, NoAnswer, NoResponders) as error:
                _log.warning("due timers cannot be read", reason=str(error))
                await self._client.reconnected_within(RETRY_S)

    async def _pull(self) -> None:
        request = {"batch": BATCH, "expires": EXPIRES_S * 1_000_000_000}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{CONSUMER}"
        try:
            await self._client.send(publication(subject, msgspec.json.encode(request), reply=self._inbox))
            self._asked = BATCH
        except NoAnswer:
            await self._client.reconnected_within(RETRY_S)
            self._again()

    def _received(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        if reply.startswith(b"$JS.ACK."):
            self._asked -= 1
            self._messages.append((subject.decode(), reply.decode(), payload))
            self._arrived.set()
            return
        if status_of(header) != 408:
            # The consumer is gone or moved; an expired request (408) is only asked again.
            self._ready = False
        self._again()

    def _again(self) -> None:
        self._asked = 0
        self._arrived.set()
