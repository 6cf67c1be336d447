"""The two doors through which commands come from the broker into the writer's inbox, and the ping of the node.

The request door answers at once when there is no room; the durable door stops pulling. Both are opened only when the
tower is ready. Who asks is the subject's origin token, which the broker's permissions make true.
"""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec
import structlog
from nats.aio.subscription import Subscription

from adapters.nats import subjects
from adapters.nats.connection import ApiError, js_api
from adapters.nats.outcomes import BROKER_REPLY
from adapters.nats.pulling import Lost, StreamReader, open_again
from adapters.nats.refusals import Refusals
from adapters.nats.streams import MAX_COMMAND_BYTES
from adapters.nats.wire import NoAnswer, NoResponders, WireClient, headers_of
from domain.errors import Rejection
from domain.messages import ORIGIN_PATTERN
from handlers import wire
from handlers.inbox import Asked
from handlers.ports import Answer, Outcomes

REPLY_TO_HEADER: Final = "Tower-Reply-To"
RETRY_S: Final = 0.5

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_log = structlog.get_logger("doors")


class Inbox(Protocol):
    """Where commands go: `handlers.inbox.Inbox`."""

    def __len__(self) -> int: ...

    def offer(self, asked: Asked) -> bool: ...

    async def put(self, asked: Asked) -> None: ...


def _addressed(subject: bytes) -> subjects.Addressed | None:
    """Who asks what; None for a subject or an origin that nobody may use, which is then dropped."""
    found = subjects.addressed(subject.decode("utf-8", "replace"))
    if found is None or ORIGIN_PATTERN.match(found.origin) is None:
        _log.warning("command dropped: no such origin", subject=subject.decode("utf-8", "replace")[:200])
        return None
    return found


class RequestDoor:
    """`tower.req.{node}.>`: nothing is queued here, a full inbox is answered `tower_busy`."""

    def __init__(self, client: WireClient, node: str, inbox: Inbox, outcomes: Outcomes) -> None:
        self._client = client
        self._subject = f"tower.req.{subjects.checked_node(node)}.>"
        self._inbox = inbox
        self._subscription: Subscription | None = None
        self._refusals = Refusals(outcomes)

    async def open(self) -> None:
        """From now on requests are taken; before, they find no responder."""
        self._refusals.start()
        self._subscription = await self._client.subscribe_raw(self._subject, self._received)
        # Whoever asks after this call returned finds the door open.
        await self._client.flush()

    async def close(self) -> None:
        """Take what was sent before, then nothing more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self._client.drain_raw(subscription)
        await self._refusals.finish()

    def _received(self, subject: bytes, reply: bytes, _header: bytes, payload: bytes) -> None:
        found = _addressed(subject)
        if found is None:
            return
        asked = Asked(
            payload=payload,
            origin=found.origin,
            noun=found.noun,
            verb=found.verb,
            reply_to=reply.decode("utf-8", "replace") if reply else None,
        )
        if len(payload) > MAX_COMMAND_BYTES:
            reason = f"a command has at most {MAX_COMMAND_BYTES} bytes"
            refusal = Rejection("validation_failed", f"payload: {reason}", field="payload", reason=reason)
            self._later(asked, None, refusal)
        elif not self._inbox.offer(asked):
            queued = len(self._inbox)
            refusal = Rejection("tower_busy", f"{queued} commands wait; ask again with the same id", queued=queued)
            self._later(asked, wire.claimed_id(payload), refusal)

    def _later(self, asked: Asked, command_id: str | None, refusal: Rejection) -> None:
        outcome = wire.rejected(command_id, refusal.code, refusal.message, refusal.details, 0)
        # Answered but not kept, hence without an id in its address: nothing was decided about this command.
        self._refusals.add(Answer(asked.origin, "", msgspec.json.encode(outcome), asked.reply_to))


class DurableDoor:
    """`TOWER_COMMANDS_{node}` from a position, in order, nothing skipped; back-pressured by the inbox."""

    def __init__(self, client: WireClient, node: str, inbox: Inbox) -> None:
        self._client = client
        self._stream = subjects.commands_stream(subjects.checked_node(node))
        self._inbox = inbox
        self._task: asyncio.Task[None] | None = None

    def open(self, after: int) -> None:
        """Read on after sequence `after` (what the log says has been read, 0 for nothing)."""
        self._task = asyncio.create_task(self._run(after), name="durable-door")

    async def close(self) -> None:
        """Stop reading. What was taken and is not decided is read again at the next start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def purge(self, upto: int) -> None:
        """Remove the commands up to sequence `upto`, which the log has taken over. Best effort."""
        if upto < 1:
            return
        try:
            await js_api(self._client, f"STREAM.PURGE.{self._stream}", {"seq": upto + 1})
        except (ApiError, NoAnswer, NoResponders) as error:
            _log.warning("commands not purged", upto=upto, reason=str(error))

    async def _run(self, after: int) -> None:
        reader = StreamReader(self._client, self._stream, _asked, after=after, contiguous=True)
        try:
            await self._open(reader, "start")
            while True:
                try:
                    batch = await reader.next()
                except Lost as lost:
                    await self._open(reader, str(lost))
                    continue
                for asked in batch:
                    if asked is not None:
                        await self._inbox.put(asked)
        finally:
            await reader.close()

    async def _open(self, reader: StreamReader[Asked | None], why: str) -> None:
        """Make the reader's consumer, however long the broker or the stream is away."""
        while True:
            try:
                state = (await js_api(self._client, f"STREAM.INFO.{self._stream}"))["state"]
                if reader.last > state["last_seq"]:
                    _log.warning(
                        "the command stream was made anew; reading it from its start",
                        recorded=reader.last,
                        last=state["last_seq"],
                    )
                    reader.last = 0
                await open_again(reader, why)
                return
            except (ApiError, NoAnswer, NoResponders) as error:
                _log.warning("commands cannot be read", stream=self._stream, reason=str(error))
            await self._client.reconnected_within(RETRY_S)


def _reply_to(header: bytes) -> str | None:
    """From the header, which its sender writes: unlike a reply subject it may not look as if the broker had made it."""
    named = headers_of(header).get(REPLY_TO_HEADER) if header else None
    return None if named is None or named.startswith(BROKER_REPLY) else named


def _asked(sequence: int, stamp: bytes, subject: bytes, header: bytes, payload: bytes) -> Asked | None:
    found = _addressed(subject)
    if found is None:
        return None
    return Asked(
        payload=payload,
        origin=found.origin,
        noun=found.noun,
        verb=found.verb,
        reply_to=_reply_to(header),
        queued_at=_EPOCH + timedelta(microseconds=int(stamp) // 1000),
        durable_sequence=sequence,
    )


class Pong(msgspec.Struct, frozen=True, kw_only=True):
    """Which tower runs a node."""

    pid: int
    host: str
    node: str
    started_at: datetime


class Message(Protocol):
    """What is used of a nats-py message."""

    reply: str


class PingDoor:
    """`tower.ctl.{node}.ping`: says which tower runs the node. `answers` is the connection that may only answer."""

    def __init__(self, client: WireClient, answers: WireClient, pong: Pong) -> None:
        self._client = client
        self._answers = answers
        self._subject = subjects.ping_subject(subjects.checked_node(pong.node))
        self._payload = msgspec.json.encode(pong)
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        self._subscription = await self._client.subscribe(self._subject, cb=self._received)
        await self._client.flush()

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None and self._client.is_connected:
            await subscription.drain()

    async def _received(self, message: Message) -> None:
        if message.reply.startswith("_INBOX."):
            await self._answers.publish(message.reply, self._payload)


async def ask_ping(client: WireClient, node: str, timeout_s: float = 2.0) -> Pong | None:
    """The tower that runs `node`; None if nobody answers."""
    try:
        reply = await client.ask(subjects.ping_subject(subjects.checked_node(node)), timeout_s=timeout_s)
        return msgspec.json.decode(reply.payload, type=Pong)
    except (NoResponders, NoAnswer, msgspec.DecodeError):
        return None
