"""The engine: one session of a tower."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, Final, Literal, Self

import msgspec
import structlog

from adapters.executing.outcomes import Outcome
from adapters.executing.output import Chunk
from adapters.executing.protocol import (
    Checkpoint,
    NotAsking,
    OnOutput,
    OnQuestion,
    Question,
    Strategy,
    Transaction,
    WhenBusy,
    WorkerBusy,
)
from adapters.executing.worker import WorkerFailed
from adapters.nats.output_feed import OutputFeed
from adapters.remote.asked import AskedFor
from adapters.remote.tower import RemoteTower
from domain.errors import Rejection
from domain.executions import events as e
from domain.executions.state import END_NAMES
from domain.messages import Event
from handlers.execution_ports import OutputError, between_executions

_log = structlog.get_logger("remote")


class RemoteEngine:
    """One session of a tower, see `adapters.executing.protocol.Engine`. Leaving it ends nothing there.

    `on_output` gets what is printed, also between executions; `on_question` what code asks, which anybody may answer
    meanwhile.
    """

    def __init__(
        self,
        tower: RemoteTower,
        session_id: str | None = None,
        *,
        on_output: OnOutput | None = None,
        on_question: OnQuestion | None = None,
    ) -> None:
        self.session_id: Final = session_id or tower.new_id()
        self._tower = tower
        self._on_output = on_output
        self._on_question = on_question
        self._tasks: set[asyncio.Task[None]] = set()
        self._works: dict[str, asyncio.Future[Event]] = {}
        self._asking = 0
        self._entered = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        self._entered.enter_context(self._tower.hearing(self.session_id, self._worked, self._look_at_works))
        if self._on_output is not None:
            feed = OutputFeed(self._tower.client, self._tower.node, between_executions(self.session_id))
            self._own(self._pass_on(feed, None))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._entered.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- executions ------------------------------------------------------------------------------------------------

    async def execute(
        self,
        code: str,
        *,
        execution_id: str | None = None,
        timeout: float | None = None,
        when_busy: WhenBusy = "queue",
        transaction: Transaction = "commit_always",
    ) -> Outcome:
        """As `Engine.execute`. Raises `Rejection` for what the tower refuses otherwise."""
        asked = AskedFor(self._tower, execution_id or self._tower.new_id(), self._asks)
        request = {
            "id": asked.execution_id,
            "session_id": self.session_id,
            "code": code,
            "timeout": timeout,
            "when_busy": when_busy,
            "transaction": transaction,
        }
        with self._tower.hearing(asked.execution_id, asked.heard, asked.look):
            try:
                result = await self._tower.ask("execution", "request", request)
            except Rejection as refused:
                if refused.code in ("worker_busy", "tower_busy"):
                    raise WorkerBusy(refused.message) from None
                raise
            if result["replay"]:
                await asked.look()
            async with self._printing(asked):
                outcome = await asked.end
        if asked.has_large_value:
            value = await self._tower.large_value(asked.execution_id)
            return msgspec.structs.replace(outcome, value=value)
        return outcome

    @contextlib.asynccontextmanager
    async def _printing(self, asked: AskedFor) -> AsyncIterator[None]:
        """Within: `on_output` gets what the execution prints; left when it has all of it."""
        if self._on_output is None:
            yield
            return
        feed = OutputFeed(self._tower.client, self._tower.node, asked.execution_id)
        task = self._own(self._pass_on(feed, asked.execution_id))
        try:
            yield
            feed.finish(asked.output_position)
            await task
        finally:
            task.cancel()

    async def _pass_on(self, feed: OutputFeed, execution_id: str | None) -> None:
        assert self._on_output is not None
        try:
            async with aclosing(feed):
                async for pieces in feed:
                    for piece in pieces:
                        stream = "stderr" if piece.stream == "stderr" else "stdout"
                        await self._on_output(Chunk(stream, piece.text, execution_id))
        except OutputError as error:
            _log.warning("output cannot be read", execution_id=execution_id, reason=str(error))

    async def cancel(self, execution_id: str, *, scope: Literal["execution", "session"] = "execution") -> bool:
        try:
            result = await self._tower.ask("execution", "cancel", {"execution_id": execution_id, "scope": scope})
        except Rejection as refused:
            if refused.code in ("execution_already_ended", "execution_not_found"):
                return False
            raise
        return not (result.get("replay") and result["state"] in END_NAMES)

    def _asks(self, question: Question) -> None:
        if self._on_question is not None:
            # Beside its output, which goes on while a person thinks.
            self._own(_awaited(self._on_question(question)))

    async def answer(self, execution_id: str | None, value: str | None) -> None:
        try:
            await self._tower.ask("execution", "answer", {"execution_id": execution_id or "", "value": value})
        except Rejection as refused:
            if refused.code in ("promise_not_found", "execution_not_found", "execution_already_ended"):
                raise NotAsking(refused.message) from None
            raise

    # --- names -----------------------------------------------------------------------------------------------------

    async def checkpoint(self, *, verify: bool = False) -> Checkpoint:
        event = await self._work("checkpoint", {"verify": verify})
        assert isinstance(event, e.SessionCheckpointed)
        return Checkpoint(
            reference=event.digest,
            digest=event.digest,
            names=event.names,
            unsaved={each.name: each.reason for each in event.skipped},
            function_count=event.function_count,
            class_count=event.class_count,
            checkpoint_size=event.bytes_,
        )

    async def restore(
        self, reference: str, *, strategy: Strategy = "overwrite", clear_existing: bool = False
    ) -> tuple[str, ...]:
        data = {"checkpoint": reference, "strategy": strategy, "clear_existing": clear_existing}
        event = await self._work("restore", data)
        assert isinstance(event, e.SessionRestored)
        return event.names

    async def _work(self, verb: str, data: dict[str, Any]) -> Event:
        self._asking += 1
        try:
            result = await self._tower.ask("session", verb, {"session_id": self.session_id, **data})
            event = await self._done(result["work_id"])
        except Rejection as refused:
            raise WorkerFailed(str(refused)) from refused
        finally:
            self._asking -= 1
            if not self._asking:
                self._works.clear()
        if isinstance(event, e.SessionWorkFailed):
            raise WorkerFailed(event.reason)
        return event

    def _done(self, work_id: str) -> asyncio.Future[Event]:
        return self._works.setdefault(work_id, asyncio.get_running_loop().create_future())

    def _worked(self, event: Event) -> None:
        """It may be heard of before the answer to what was asked; others may have asked for it."""
        if self._asking and isinstance(event, e.SessionCheckpointed | e.SessionRestored | e.SessionWorkFailed):
            done = self._done(event.work_id)
            if not done.done():
                done.set_result(event)

    async def _look_at_works(self) -> None:
        for name in ("checkpointed", "restored", "work_failed"):
            event = await self._tower.last_event("session", self.session_id, name)
            if event is not None:
                self._worked(event)


async def _awaited(work: Any) -> None:
    await work
