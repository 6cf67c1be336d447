"""Log files of removed panes: kept for some days after they were first seen to be removed, then deleted.

`<pane id>.removed` beside a log notes when that was.
"""

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from adapters.paths import PREDECESSOR

_LOG: Final = re.compile(r"(?P<pane>[A-Za-z0-9_:-]{1,128})\.log\Z")
_MARK: Final = ".removed"

_log = structlog.get_logger(__name__)


class FilePaneLogs:
    """The `PaneLogs` port on the folders where logs stand on this machine."""

    def __init__(self, folders: Sequence[Path], *, kept: timedelta) -> None:
        self._folders = folders
        self._kept = kept

    async def prune(self, removed: Callable[[str], bool], now: datetime) -> None:
        panes = await asyncio.to_thread(self._panes)
        gone = [(folder, pane) for folder, pane in panes if removed(pane)]
        if gone:
            await asyncio.to_thread(self._prune, gone, now)

    def _panes(self) -> Sequence[tuple[Path, str]]:
        """Of a pane that nobody knows the log stays: it may be of another node with the same home."""
        found: list[tuple[Path, str]] = []
        for folder in self._folders:
            if folder.is_dir():
                names = (_LOG.match(entry.name) for entry in os.scandir(folder))
                found += [(folder, name["pane"]) for name in names if name is not None]
        return found

    def _prune(self, gone: Sequence[tuple[Path, str]], now: datetime) -> None:
        for folder, pane in gone:
            mark = folder / f"{pane}{_MARK}"
            try:
                since_s = mark.stat().st_mtime
            except FileNotFoundError:
                os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
                os.utime(mark, (now.timestamp(), now.timestamp()))
                continue
            if now.timestamp() - since_s > self._kept.total_seconds():
                for name in (f"{pane}.log{PREDECESSOR}", mark.name, f"{pane}.log"):
                    (folder / name).unlink(missing_ok=True)
                _log.info("log of a removed pane deleted", pane_id=pane)
