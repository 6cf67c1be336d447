"""A type of triggers in one file: `pipe` fires for each line that is written into a named pipe.

    background_sessions:
      - name: on-call
        bundle: responder
        triggers:
          - {type: pipe, config: {path: /run/agenttower/alerts}}
        instruction: "Look into this: {event.data[line]}"

Then `echo "disk full on db-1" > /run/agenttower/alerts`.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from handlers.trigger_ports import Firing, TriggerProblem


class PipeTrigger:
    """The tower makes one for each trigger of each start."""

    def configure(self, config: Mapping[str, Any], *, folder: str, state: Path) -> None:
        """What is wrong is said by field. `state`, a folder for what is to be known next time, is not needed here."""
        path = config.get("path")
        if not isinstance(path, str) or not path:
            raise TriggerProblem("path", "the path of a named pipe is expected")
        unknown = config.keys() - {"path"}
        if unknown:
            raise TriggerProblem(sorted(unknown)[0], "is not known here; known is path")
        self._path = Path(folder, path)
        self._begun = asyncio.Event()
        self._transport: asyncio.ReadTransport | None = None

    async def watching(self) -> None:
        """Optional: the background session is `running` when this returns."""
        await self._begun.wait()

    async def watch(self) -> AsyncIterator[Firing]:
        """An exception in here fails the background session, which has a restart rule."""
        if not self._path.exists():
            os.mkfifo(self._path, 0o600)
        elif not stat.S_ISFIFO(self._path.stat().st_mode):
            raise TriggerProblem("path", f"{self._path} is no named pipe")
        # Open for writing too: otherwise it ends with the first writer.
        pipe = os.fdopen(os.open(self._path, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        self._begun.set()
        while line := await reader.readline():
            text = line.decode("utf-8", "backslashreplace").rstrip("\n")
            yield Firing(source=str(self._path), timestamp=datetime.now(UTC), data={"line": text})

    async def stop(self) -> None:
        """Promptly; `watch` is cancelled after it."""
        if self._transport is not None:
            self._transport.close()
