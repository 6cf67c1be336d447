"""Pane logs for whoever asks over HTTP: files of this machine, or of a container, read in there by the engine.

Following ends when the pane is removed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from adapters.containers.cli import need_cli
from adapters.containers.pane_logs import follow_argv, open_log, read_tail
from adapters.tailing import BLOCK_BYTES, Tail, changes
from domain.containers import ContainerFacts
from domain.errors import Rejection
from handlers.ports import ContainersUnreachable

LOOK_AGAIN_S: Final = 1.0
"""Between two looks whether the pane is removed; the log is looked at when it changes, and then."""

MOST_LINES: Final = 10_000_000
"""Stands for all lines of a log that `tail` reads."""

Row = Mapping[str, Any]


class PaneLogReader:
    """`folders`: where logs stand on this machine, the last one below the `bench` folder. `known`: a registered
    container. `removed`: whether a pane is, as the tower has it now."""

    def __init__(
        self,
        *,
        folders: tuple[Path, ...],
        bench: Path,
        container_cli: str | None,
        known: Callable[[str], ContainerFacts | None],
        removed: Callable[[str], bool],
    ) -> None:
        self._folders = folders
        self._bench = bench
        self._container_cli = container_cli
        self._known = known
        self._removed = removed

    async def read(self, pane: Row, lines: int | None, *, follow: bool) -> AsyncIterator[bytes]:
        """Its blocks. Raises `Rejection` temporarily_unavailable before the first of them when it cannot be read."""
        if not pane["log_path"]:
            raise Rejection(
                "temporarily_unavailable", f"pane {pane['id']} has no log: it is {pane['state']}", part="log"
            )
        path = Path(pane["log_path"])
        if any(path.is_relative_to(folder) for folder in self._folders):
            return await self._here(pane["id"], path, lines, follow=follow)
        return await self._inside(pane, lines, follow=follow)

    async def _here(self, pane_id: str, path: Path, lines: int | None, *, follow: bool) -> AsyncIterator[bytes]:
        tail = Tail(str(path), lambda name: open_log(name, self._bench))
        try:
            begun = await asyncio.to_thread(lambda: list(tail.begin(lines)))
        except OSError as error:
            tail.close()
            raise Rejection(
                "temporarily_unavailable", f"the log of pane {pane_id} cannot be read: {error.strerror}", part="log"
            ) from error
        return self._blocks(pane_id, path, tail, begun, follow=follow)

    async def _blocks(
        self, pane_id: str, path: Path, tail: Tail, begun: list[bytes], *, follow: bool
    ) -> AsyncIterator[bytes]:
        changed, loop = asyncio.Event(), asyncio.get_running_loop()
        try:
            for block in begun:
                yield block
            if not follow:
                return
            with changes(path, lambda: loop.call_soon_threadsafe(changed.set)):
                over = False
                while not over:
                    over = self._removed(pane_id)
                    changed.clear()
                    more = tail.more()
                    while block := await asyncio.to_thread(next, more, b""):
                        yield block
                    if not over:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(LOOK_AGAIN_S):
                                await changed.wait()
        finally:
            tail.close()

    async def _inside(self, pane: Row, lines: int | None, *, follow: bool) -> AsyncIterator[bytes]:
        container = self._known(pane["container_id"])
        if container is None:
            raise Rejection("temporarily_unavailable", "its container is gone, and its log with it", part="log")
        count = MOST_LINES if lines is None else lines
        try:
            cli = need_cli(self._container_cli)
            if follow:
                argv = follow_argv(cli, container, pane["log_path"], lines=count)
                return self._followed(pane["id"], tuple(argv))
            data = await read_tail(cli, container, pane["log_path"], lines=count)
        except (ContainersUnreachable, FileNotFoundError) as error:
            said = f"the log of pane {pane['id']} cannot be read in container {container.name}: {error}"
            raise Rejection("temporarily_unavailable", said, part="log") from error
        return _once(data)

    async def _followed(self, pane_id: str, argv: tuple[str, ...]) -> AsyncIterator[bytes]:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        reading: asyncio.Task[bytes] | None = None
        try:
            while True:
                reading = reading or asyncio.create_task(process.stdout.read(BLOCK_BYTES))
                over = self._removed(pane_id)
                await asyncio.wait({reading}, timeout=LOOK_AGAIN_S)
                if not reading.done():
                    if over:
                        return
                    continue
                block, reading = reading.result(), None
                if not block:
                    return
                yield block
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
