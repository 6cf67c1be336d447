"""Large values and checkpoints: one file each, mode 0600, named by the blake2b of its content."""

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import Container
from datetime import datetime
from pathlib import Path
from typing import Final

from adapters.files.atomic import sync_folder, write_private

_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_DIGEST_BYTES: Final = 32


class FileBlobs:
    """The `Blobs` port on one folder, which belongs to one node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def scratch(self, name: str) -> str:
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        return str(self._folder / f".{name}")

    async def put(self, data: bytes) -> str:
        return await asyncio.to_thread(self._put, data)

    async def take(self, path: str) -> tuple[str, int]:
        return await asyncio.to_thread(self._take, Path(path))

    async def get(self, digest: str) -> bytes | None:
        try:
            return await asyncio.to_thread(self._of(digest).read_bytes)
        except FileNotFoundError:
            return None

    def path(self, digest: str) -> str:
        return str(self._of(digest))

    async def drop(self, digest: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(self._of(digest).unlink)

    async def prune(self, kept: Container[str], before: datetime) -> None:
        await asyncio.to_thread(self._prune, kept, before.timestamp())

    def _of(self, digest: str) -> Path:
        if _DIGEST.match(digest) is None:
            raise FileNotFoundError(f"{digest!r} is no digest of a blob")
        return self._folder / digest

    def _put(self, data: bytes) -> str:
        digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()
        path = self._folder / digest
        # The same content again must not look old to `prune`.
        if not _touched(path):
            write_private(path, data)
        return digest

    def _take(self, path: Path) -> tuple[str, int]:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).hexdigest()
            size = os.fstat(file.fileno()).st_size
            os.fsync(file.fileno())
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o600)
        os.utime(path)
        path.replace(self._folder / digest)
        sync_folder(self._folder)
        return digest, size

    def _prune(self, kept: Container[str], before_s: float) -> None:
        if not self._folder.is_dir():
            return
        for entry in os.scandir(self._folder):
            # Also the half of a file that a crash left: write_private begins those with a dot.
            stale = _DIGEST.match(entry.name) is not None and entry.name not in kept
            if (stale or entry.name.startswith(".")) and entry.stat().st_mtime < before_s:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)


def _touched(path: Path) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
