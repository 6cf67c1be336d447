"""Texts to send: one file each, mode 0600, named by a digest that is keyed with this folder's own secret.

A digest stays in the event log for ever, and short texts can be guessed: without the key it tells nothing. With it,
`blake2b(text, key=key, salt=send id)` shows what was sent to whoever may read the key.
"""

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import Container
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from adapters.files.atomic import write_private

_KEY: Final = "key"
_KEY_BYTES: Final = 32
_DIGEST: Final = re.compile(r"[0-9a-f]{32}\Z")


class FileTexts:
    """The `Texts` port on one folder, which belongs to one node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, send_id: str, text: str) -> str:
        return await asyncio.to_thread(self._keep, UUID(send_id).bytes, text.encode())

    async def get(self, digest: str) -> str | None:
        try:
            return (await asyncio.to_thread((self._folder / digest).read_bytes)).decode()
        except FileNotFoundError:
            return None

    async def drop(self, digest: str) -> None:
        await asyncio.to_thread((self._folder / digest).unlink, missing_ok=True)

    async def prune(self, kept: Container[str], before: datetime) -> None:
        await asyncio.to_thread(self._prune, kept, before.timestamp())

    def _keep(self, salt: bytes, text: bytes) -> str:
        digest = hashlib.blake2b(text, digest_size=16, key=self._key(), salt=salt).hexdigest()
        write_private(self._folder / digest, text)
        return digest

    def _key(self) -> bytes:
        path = self._folder / _KEY
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            key = b""
        if len(key) != _KEY_BYTES:
            key = secrets.token_bytes(_KEY_BYTES)
            write_private(path, key)
        return key

    def _prune(self, kept: Container[str], before_s: float) -> None:
        if not self._folder.is_dir():
            return
        for entry in os.scandir(self._folder):
            # Also the half of a file that a crash left: write_private begins those with a dot.
            stale = _DIGEST.match(entry.name) is not None and entry.name not in kept
            if (stale or entry.name.startswith(".")) and entry.stat().st_mtime < before_s:
                os.unlink(entry.path)
