"""Refusals that a door answers by itself, without holding up what it reads."""

import asyncio
import contextlib
from typing import Final

from handlers.ports import Answer, Outcomes

WAITING: Final = 10_000
"""Refusals that wait to be sent; who is refused beyond that hears nothing and asks again."""


class Refusals:
    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._waiting: asyncio.Queue[Answer] = asyncio.Queue(WAITING)
        self._sending: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sending = asyncio.create_task(self._send(), name="door-refusals")

    def add(self, answer: Answer) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait(answer)

    async def finish(self) -> None:
        """Send what waits, then end."""
        sending, self._sending = self._sending, None
        if sending is not None:
            await self._waiting.join()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    async def _send(self) -> None:
        while True:
            answers = [await self._waiting.get()]
            while not self._waiting.empty():
                answers.append(self._waiting.get_nowait())
            try:
                await self._outcomes.answer(answers)
            finally:
                for _ in answers:
                    self._waiting.task_done()
