"""A managed pane: an instruction is typed into it, and what its log gets until the end of the turn is the answer.

Nobody tells when a program in a terminal has answered: a turn is over when something that it says matches a pattern, or
when it has been quiet for a while. Meant for programs that work line by line, shells and prompts; a screen that is
drawn over and over comes as one long text. The pane was there before the session and stays when that ends.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

from adapters.escapes import Plain
from adapters.executing.output import Decoder, pieces
from adapters.runtimes.context import handed_over
from adapters.runtimes.kept import Kept
from adapters.runtimes.shapes import PaneShape, shaped
from handlers.session_ports import Output, RuntimeFailed, RuntimeSpec, Turn, TurnError, TurnResult, TurnState

IDLE_S: Final = 2.0
"""When neither `idle_s` nor `sentinel` is given."""

LAST_WORDS_S: Final = 0.5
"""How long a pane whose process has ended is listened to."""

WINDOW_CHARACTERS: Final = 4_096
"""How far back a pattern is looked for when more has come."""


class Panes(Protocol):
    """The panes of the tower. All but `gone` raise `RuntimeFailed`."""

    def claim(self, session_id: str, container: str, pane: str) -> str:
        """The id of a pane, by its id or its label: nobody else gets it until `release`."""
        ...

    def release(self, session_id: str) -> None: ...

    def gone(self, pane_id: str) -> asyncio.Future[str]:
        """Why there is nobody any more who reads what is typed. Cancel it when it is not wanted."""
        ...

    async def follow(self, pane_id: str) -> AsyncIterator[bytes]:
        """What it prints from now on."""
        ...

    async def send(self, session_id: str, step: str, pane_id: str, text: str, *, enter: bool) -> None:
        """Once for each step of a session, however often it is asked; when it has been typed."""
        ...


class PaneRuntime:
    def __init__(self, panes: Panes) -> None:
        self._panes = panes
        self._shape = PaneShape(pane="-")
        self._session_id = ""
        self._pane_id: str | None = None
        self._pattern: re.Pattern[str] | None = None
        self._stop: asyncio.Event | None = None

    async def start(self, spec: RuntimeSpec) -> None:
        self._shape = shape = shaped(spec.runtime, PaneShape)
        self._session_id = spec.session_id
        try:
            self._pattern = None if shape.sentinel is None else re.compile(shape.sentinel, re.MULTILINE)
        except re.error as error:
            raise RuntimeFailed("runtime_invalid", f"runtime.sentinel: {error}") from error
        self._pane_id = self._panes.claim(spec.session_id, shape.container, shape.pane)

    @property
    def _idle_s(self) -> float | None:
        return IDLE_S if self._shape.idle_s is None and self._pattern is None else self._shape.idle_s

    async def execute(self, turn: Turn, output: Output) -> TurnResult:
        assert self._pane_id is not None
        stop, kept = asyncio.Event(), Kept()
        self._stop = stop
        hearing = _Hearing(kept, output, self._pattern)
        state, error = TurnState.COMPLETED, None
        try:
            async with asyncio.timeout(turn.timeout_s):
                if await self._carry_out(turn, self._pane_id, hearing, stop):
                    state = TurnState.CANCELLED
        except TimeoutError:
            state = TurnState.TIMED_OUT
        except RuntimeFailed as failure:
            state, error = TurnState.FAILED, TurnError(type=failure.type, message=str(failure))
        finally:
            self._stop = None
        if state in (TurnState.CANCELLED, TurnState.TIMED_OUT):
            await self._interrupt(turn, self._pane_id)
        return TurnResult(state=state, output=kept.text, left_out_bytes=kept.left_out_bytes, error=error)

    async def _carry_out(self, turn: Turn, pane_id: str, hearing: "_Hearing", stop: asyncio.Event) -> bool:
        """Whether it was cancelled. Raises `RuntimeFailed`."""
        listening = _Listening(await self._panes.follow(pane_id))
        gone, stopped = self._panes.gone(pane_id), asyncio.ensure_future(stop.wait())
        try:
            await listening.begin()
            text = handed_over(turn, self._shape.context)
            await self._panes.send(self._session_id, f"turn:{turn.turn}", pane_id, text, enter=True)
            return await self._listen(listening, hearing, gone, stopped)
        finally:
            gone.cancel()
            stopped.cancel()
            await listening.end()

    async def _listen(
        self,
        listening: "_Listening",
        hearing: "_Hearing",
        gone: asyncio.Future[str],
        stopped: asyncio.Future[Any],
    ) -> bool:
        ends: tuple[asyncio.Future[Any], ...] = (gone, stopped)
        while not hearing.over:
            quiet_s = LAST_WORDS_S if gone.done() else self._idle_s
            waiting = {listening.next, *(each for each in ends if not each.done())}
            done, _ = await asyncio.wait(waiting, timeout=quiet_s, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                return True
            if listening.next in done:
                if (data := listening.take()) is None:
                    break
                await hearing.take(data)
            elif not done:
                break
        await hearing.finish()
        if gone.done() and not hearing.over:
            raise RuntimeFailed("pane_gone", gone.result())
        return False

    async def _interrupt(self, turn: Turn, pane_id: str) -> None:
        if self._shape.interrupt:
            with contextlib.suppress(RuntimeFailed):
                step = f"interrupt:{turn.turn}"
                await self._panes.send(self._session_id, step, pane_id, self._shape.interrupt, enter=False)

    async def cancel(self) -> None:
        if self._stop is not None:
            self._stop.set()

    async def close(self) -> None:
        await self.cancel()
        self._panes.release(self._session_id)


class _Hearing:
    """What a pane says in a turn, as plain text; `over` when the pattern was found in it."""

    def __init__(self, kept: Kept, output: Output, pattern: re.Pattern[str] | None) -> None:
        self._kept = kept
        self._output = output
        self._pattern = pattern
        self._plain, self._decoder = Plain(), Decoder()
        self._window = ""
        self.over = False

    async def take(self, data: bytes) -> None:
        await self._say(self._decoder.feed(self._plain.feed(data)))

    async def finish(self) -> None:
        await self._say(self._decoder.feed(self._plain.end()) + self._decoder.end())

    async def _say(self, text: str) -> None:
        for piece in pieces(text):
            self._kept.add(piece)
            await self._output(piece)
            if self._pattern is not None:
                self._window = self._window[-WINDOW_CHARACTERS:] + piece
                self.over = self.over or self._pattern.search(self._window) is not None


class _Listening:
    """The blocks of a log, the `next` of which is waited for."""

    def __init__(self, blocks: AsyncIterator[bytes]) -> None:
        self._blocks: Any = blocks
        self.next: asyncio.Future[bytes | None] = asyncio.ensure_future(self._next())

    async def begin(self) -> None:
        """A log that is not read yet would not be closed either."""
        await asyncio.sleep(0)

    def take(self) -> bytes | None:
        """What has come; None when no more will."""
        data = self.next.result()
        if data is not None:
            self.next = asyncio.ensure_future(self._next())
        return data

    async def _next(self) -> bytes | None:
        async for block in self._blocks:
            if block:
                return block
        return None

    async def end(self) -> None:
        self.next.cancel()
        await asyncio.gather(self.next, return_exceptions=True)
        await self._blocks.aclose()
