"""Private values by digest: one file each, mode 0600, named by the blake2b of its content."""

import asyncio
import hashlib
from pathlib import Path

from adapters.files.atomic import write_private


class FileVault:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, value: str) -> str:
        digest = hashlib.blake2b(value.encode(), digest_size=16).hexdigest()
        path = self._folder / digest
        if not await asyncio.to_thread(path.exists):
            await asyncio.to_thread(write_private, path, value.encode())
        return digest

    async def get(self, digest: str) -> str | None:
        try:
            return (await asyncio.to_thread((self._folder / digest).read_bytes)).decode()
        except FileNotFoundError:
            return None
