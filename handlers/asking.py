"""Asking from inside the tower's own process: HTTP puts commands into the same inbox as the doors do."""

import asyncio
from typing import Any

import msgspec

from domain.errors import Rejection
from domain.messages import HOST
from handlers import wire
from handlers.inbox import Asked, Inbox
from handlers.ports import Ids


class Asker:
    def __init__(self, inbox: Inbox, ids: Ids) -> None:
        self._inbox = inbox
        self._ids = ids

    async def ask(
        self,
        *,
        noun: str,
        verb: str,
        data: object,
        idempotency_key: str | None = None,
        command_id: str | None = None,
        origin: str = HOST,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> dict[str, Any]:
        """The outcome of a command, after its commit. The caller sets the deadline; asking again with the same
        `command_id` is safe."""
        command_id = command_id or self._ids.uuid7()
        payload = wire.encode_payload(
            command_id,
            data,
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
            traceparent=traceparent,
        )
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(encoded: bytes) -> None:
            if not outcome.done():
                outcome.set_result(encoded)

        asked = Asked(payload=payload, origin=origin, noun=noun, verb=verb, on_outcome=answered)
        if not self._inbox.offer(asked):
            busy = Rejection("tower_busy", "too many commands wait; try again", queued=len(self._inbox))
            return wire.rejected(command_id, busy.code, busy.message, busy.details, 0)
        return msgspec.json.decode(await outcome)
