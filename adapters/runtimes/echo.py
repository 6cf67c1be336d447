"""Says what it is told: for demonstrations and tests."""

import asyncio
import re
from typing import Final

from adapters.executing.output import pieces
from adapters.runtimes.context import handed_over
from adapters.runtimes.kept import Kept
from adapters.runtimes.shapes import EchoShape, shaped
from handlers.session_ports import Output, RuntimeSpec, Turn, TurnResult, TurnState

_WORDS: Final = re.compile(r"\s*\S+(?:\s+\Z)?|\s+\Z")


class EchoRuntime:
    def __init__(self) -> None:
        self._shape = EchoShape()
        self._stop: asyncio.Event | None = None

    async def start(self, spec: RuntimeSpec) -> None:
        self._shape = shaped(spec.runtime, EchoShape)

    async def execute(self, turn: Turn, output: Output) -> TurnResult:
        stop = self._stop = asyncio.Event()
        text, kept = handed_over(turn, self._shape.context), Kept()
        try:
            async with asyncio.timeout(turn.timeout_s):
                for word in _WORDS.findall(text) if self._shape.delay_s else pieces(text):
                    if await self._stopped(stop):
                        return _result(TurnState.CANCELLED, kept)
                    for piece in pieces(word):
                        kept.add(piece)
                        await output(piece)
        except TimeoutError:
            return _result(TurnState.TIMED_OUT, kept)
        finally:
            self._stop = None
        return _result(TurnState.COMPLETED, kept)

    async def _stopped(self, stop: asyncio.Event) -> bool:
        """Whether it was, by the time for the next word."""
        try:
            async with asyncio.timeout(self._shape.delay_s):
                await stop.wait()
        except TimeoutError:
            return False
        return True

    async def cancel(self) -> None:
        if self._stop is not None:
            self._stop.set()

    async def close(self) -> None:
        await self.cancel()


def _result(state: TurnState, kept: Kept) -> TurnResult:
    return TurnResult(state=state, output=kept.text, left_out_bytes=kept.left_out_bytes)
