"""Keeps new control clients apart from everything that tmux tells control clients about.

tmux 3.3a ends with a segmentation fault, and every pane with it, when it tells something to a control client that has
not yet finished introducing itself (`control_write` before `control_start`): an active pane or a session that changes,
another client that leaves. The introduction takes some turns of the server's loop. What a person does in that fraction
of a millisecond cannot be kept away; what we do can.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Gate:
    """Either one client connects, or others run sequences and leave. Who wants to connect goes before new sequences."""

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._connecting = 0
        self._open = asyncio.Event()
        self._open.set()
        self._one_by_one = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def connecting(self) -> AsyncIterator[None]:
        self._connecting += 1
        self._open.clear()
        try:
            async with self._one_by_one:
                # Nothing new has begun to run since `_connecting` was counted up.
                await self._idle.wait()
                yield
        finally:
            self._connecting -= 1
            if not self._connecting:
                self._open.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        while self._connecting:
            await self._open.wait()
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
