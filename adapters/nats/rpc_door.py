"""`tower.rpc.{node}.{origin}.{method}`: the predecessor's methods as NATS requests, commands and queries alike.

Every call is work of its own, a bounded number at a time, so that a slow query holds up neither the broker's connection
nor the writer. The answer goes to an inbox of the caller's only, over the connection that may publish nothing else.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from nats.aio.subscription import Subscription

from adapters.nats import subjects
from adapters.nats.refusals import Refusals
from adapters.nats.streams import MAX_COMMAND_BYTES
from adapters.nats.wire import WireClient
from adapters.rpc import methods
from adapters.rpc.calling import refused
from domain.errors import Rejection
from domain.messages import ORIGIN_PATTERN
from handlers.ports import Answer, Outcomes

AT_A_TIME: Final = 32
WAITING: Final = 1_000
"""Calls that wait for their turn; the next one is `tower_busy`."""

LASTING: Final = 1_000
"""Calls under way that wait for what a session says, besides these."""

END_S: Final = 5.0
"""How long calls may take to end when the door closes."""

Call = Callable[[str, str, bytes], Awaitable[dict[str, Any]]]
"""Who asks (`host` or a container id), method, body -> the answer. Never raises."""

_log = structlog.get_logger("doors")


class _Waiting(NamedTuple):
    caller: str
    method: str
    body: bytes
    reply_to: str | None


class RpcDoor:
    def __init__(self, client: WireClient, node: str, call: Call, outcomes: Outcomes) -> None:
        self._client = client
        self._subject = f"tower.rpc.{subjects.checked_node(node)}.>"
        self._call = call
        self._outcomes = outcomes
        self._refusals = Refusals(outcomes)
        self._calls: asyncio.Queue[_Waiting] = asyncio.Queue(WAITING)
        self._workers: list[asyncio.Task[None]] = []
        self._lasting: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """From now on calls are answered; before, they find no responder."""
        self._refusals.start()
        self._workers = [asyncio.create_task(self._work(), name=f"rpc-{number}") for number in range(AT_A_TIME)]
        self._subscription = await self._client.subscribe_raw(self._subject, self._received)
        await self._client.flush()

    async def close(self) -> None:
        """Take no more calls, answer those that were taken, cut what has not ended in time."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self._client.drain_raw(subscription)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._calls.join()
                if self._lasting:
                    await asyncio.wait(self._lasting)
        workers, self._workers = [*self._workers, *self._lasting], []
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await self._refusals.finish()

    def _received(self, subject: bytes, reply: bytes, _header: bytes, payload: bytes) -> None:
        found = subjects.called(subject.decode("utf-8", "replace"))
        if found is None or ORIGIN_PATTERN.match(found.origin) is None:
            _log.warning("call dropped: no such origin", subject=subject.decode("utf-8", "replace")[:200])
            return
        waiting = _Waiting(found.origin, found.method, payload, reply.decode("utf-8", "replace") if reply else None)
        if len(payload) > MAX_COMMAND_BYTES:
            reason = f"the parameters have at most {MAX_COMMAND_BYTES} bytes"
            refusal = Rejection("validation_failed", f"payload: {reason}", field="payload", reason=reason)
            self._refusals.add(_answer(waiting, refused(waiting.method, refusal)))
            return
        if methods.lasts(waiting.method) and len(self._lasting) < LASTING:
            task = asyncio.create_task(self._answer(waiting), name="rpc-lasting")
            self._lasting.add(task)
            task.add_done_callback(self._lasting.discard)
            return
        try:
            self._calls.put_nowait(waiting)
        except asyncio.QueueFull:
            queued = self._calls.qsize()
            refusal = Rejection("tower_busy", f"{queued} calls wait; ask again", queued=queued)
            self._refusals.add(_answer(waiting, refused(waiting.method, refusal)))

    async def _work(self) -> None:
        while True:
            waiting = await self._calls.get()
            try:
                await self._answer(waiting)
            finally:
                self._calls.task_done()

    async def _answer(self, waiting: _Waiting) -> None:
        try:
            answer = await self._call(waiting.caller, waiting.method, waiting.body)
            await self._outcomes.answer([_answer(waiting, answer)])
        except Exception:  # noqa: BLE001 -- one call that cannot be answered must not take a worker from the others
            _log.exception("call not answered", method=waiting.method[:200])


def _answer(waiting: _Waiting, answer: dict[str, Any]) -> Answer:
    # Without an id in its address: what is asked here is not kept as an outcome.
    return Answer(waiting.caller, "", msgspec.json.encode(answer), waiting.reply_to)
