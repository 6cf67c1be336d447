"""Asking a tower over NATS: the client side of both doors, for the CLI, HTTP and peers."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from adapters.nats import subjects
from adapters.nats.connection import ApiError, raise_api_error
from adapters.nats.doors import REPLY_TO_HEADER
from adapters.nats.wire import NoAnswer, NoResponders, Reply, WireClient, header_block
from domain.messages import HOST
from handlers import wire
from handlers.ports import Ids

TIMEOUT_S: Final = 30.0
FIRST_TRY_S: Final = 2.0
LAST_TRY_S: Final = 10.0
RETRY_S: Final = 0.2
LOOK_EVERY_S: Final = 1.0

Door = Literal["request", "durable"]

Outcome = dict[str, Any]
"""`command_id`, `status` (accepted, rejected), `result` or `error` {code, message, details}, `position`, as sent."""


class AskError(Exception):
    """There is no outcome; the text says what is known about the command."""


class NoTower(AskError):
    """Nobody takes commands of this node: nothing was done."""


class Undecided(AskError):
    """No outcome in time. `queued_at` is the command's sequence in the durable queue, None when it is not known to be
    queued: then whether it was decided is unknown, and asking again with `command_id` tells."""

    def __init__(self, text: str, command_id: str, queued_at: int | None) -> None:
        super().__init__(text)
        self.command_id = command_id
        self.queued_at = queued_at


class CommandClient:
    """Commands of one origin to one node. Any number of `ask` calls may run at the same time."""

    def __init__(self, client: WireClient, node: str, *, ids: Ids, origin: str = HOST) -> None:
        """`client` must have the inbox prefix `_INBOX.{origin}` unless the origin is the operator."""
        self._client = client
        self._node = subjects.checked_node(node)
        self._ids = ids
        self._origin = subjects.checked_token(origin)

    async def ask(
        self,
        noun: str,
        verb: str,
        data: Mapping[str, Any] | msgspec.Struct,
        *,
        idempotency_key: str | None = None,
        command_id: str | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        timeout_s: float = TIMEOUT_S,
        door: Door = "request",
    ) -> Outcome:
        """The outcome of a command, accepted or rejected. The same `command_id` twice is decided once.

        Raises `NoTower` or `Undecided`.
        """
        command_id = command_id or self._ids.uuid7()
        payload = wire.encode_payload(
            command_id,
            data,
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
            traceparent=traceparent,
        )
        deadline = asyncio.get_running_loop().time() + timeout_s
        if door == "request":
            return await self._request(noun, verb, payload, command_id, deadline)
        return await self._queue_and_wait(noun, verb, payload, command_id, deadline)

    async def _request(self, noun: str, verb: str, payload: bytes, command_id: str, deadline: float) -> Outcome:
        subject = subjects.request_subject(self._node, self._origin, noun, verb)
        loop = asyncio.get_running_loop()
        tries = 0
        while (left_s := deadline - loop.time()) > 0:
            try_s = min(FIRST_TRY_S * 2**tries, LAST_TRY_S)
            try:
                reply = await self._client.ask(subject, payload, timeout_s=min(try_s, left_s))
                return _outcome(reply, command_id)
            except NoResponders:
                if not tries:
                    raise NoTower(f"no tower runs for node {self._node}") from None
            except NoAnswer:
                # Only now may a decision be hidden: a tower that is away from here on has to come back.
                tries += 1
            await self._client.reconnected_within(min(RETRY_S, max(0.0, deadline - loop.time())))
        raise Undecided(
            f"no answer in time: it is unknown whether command {command_id} was decided; ask again with this id",
            command_id,
            None,
        )

    async def _queue_and_wait(self, noun: str, verb: str, payload: bytes, command_id: str, deadline: float) -> Outcome:
        loop = asyncio.get_running_loop()
        sequence: int | None = None
        while (left_s := deadline - loop.time()) > 0:
            try:
                async with self._client.expecting() as (inbox, answered):
                    if sequence is None:
                        sequence = await self._queue(noun, verb, payload, command_id, inbox, left_s)
                    return await self._await_outcome(answered, command_id, deadline)
            except NoAnswer:
                await self._client.reconnected_within(min(RETRY_S, max(0.0, deadline - loop.time())))
        if sequence is None:
            text = f"no answer in time: it is unknown whether command {command_id} was queued; ask again with this id"
        else:
            text = f"command {command_id} is queued for good at sequence {sequence} and not decided yet"
        raise Undecided(text, command_id, sequence)

    async def _queue(self, noun: str, verb: str, payload: bytes, command_id: str, inbox: str, left_s: float) -> int:
        """Publish at the durable door; the sequence from the broker's acknowledgement. Raises `NoAnswer`, `NoTower`."""
        subject = subjects.command_subject(self._node, self._origin, noun, verb)
        block = header_block({"Nats-Msg-Id": command_id, REPLY_TO_HEADER: inbox})
        try:
            reply = await self._client.ask(subject, payload, block=block, timeout_s=min(LAST_TRY_S, left_s))
        except NoResponders:
            raise NoTower(f"node {self._node} has no command queue: no tower has run for it") from None
        acknowledged: dict[str, Any] = msgspec.json.decode(reply.payload)
        try:
            raise_api_error(acknowledged)
        except ApiError as error:
            raise NoTower(f"the broker did not queue the command: {error.description}") from error
        return int(acknowledged["seq"])

    async def _await_outcome(self, answered: asyncio.Future[Reply], command_id: str, deadline: float) -> Outcome:
        """The answer on the inbox or, where that was lost, the outcome that the tower kept. Raises `NoAnswer`."""
        loop = asyncio.get_running_loop()
        while True:
            left_s = deadline - loop.time()
            done, _ = await asyncio.wait({answered}, timeout=max(0.0, min(LOOK_EVERY_S, left_s)))
            if done:
                return _outcome(answered.result(), command_id)
            kept = await self._kept_outcome(command_id)
            if kept is not None:
                return kept
            if left_s <= 0:
                raise NoAnswer("no outcome in time")

    async def _kept_outcome(self, command_id: str) -> Outcome | None:
        """From the outcomes stream; containers may not read it (they subscribe `tower.out…` instead)."""
        if self._origin != HOST or subjects.TOKEN.match(command_id) is None:
            return None
        subject = subjects.outcome_subject(self._node, self._origin, command_id)
        request = msgspec.json.encode({"last_by_subj": subject})
        stream = subjects.outcomes_stream(self._node)
        try:
            reply = await self._client.ask(f"$JS.API.DIRECT.GET.{stream}", request, timeout_s=LOOK_EVERY_S)
        except (NoResponders, NoAnswer):
            return None
        return None if reply.status else _outcome(reply, command_id)


def _outcome(reply: Reply, command_id: str) -> Outcome:
    try:
        outcome: Outcome = msgspec.json.decode(reply.payload, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise AskError(f"the tower's answer to command {command_id} cannot be read: {error}") from error
    # A payload without a usable id is refused without naming one.
    return {**outcome, "command_id": outcome.get("command_id") or command_id}
