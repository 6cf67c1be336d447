"""Transcripts of sessions: one file a turn, mode 0600, by the blake2b of its content, which names the turn before.

What a digest names can therefore not change, and a file that no event names is not part of any transcript.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from adapters.files.atomic import write_private
from domain.sessions.messages import Message

_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_DIGEST_BYTES: Final = 32


class Part(msgspec.Struct, frozen=True):
    """`previous`: the digest of the turns before, None for the first one."""

    previous: str | None
    messages: tuple[Message, ...]


_part: Final = msgspec.json.Decoder(Part)


class FileTranscripts:
    """The `SessionStorage` port on one folder, which belongs to one node: a folder in it for each session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def save(self, session_id: str, previous: str | None, messages: Sequence[Message]) -> str:
        data = msgspec.json.encode(Part(previous, tuple(messages)))
        digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()
        await asyncio.to_thread(write_private, self._of(session_id, digest), data)
        return digest

    async def load(self, session_id: str, digest: str) -> tuple[Message, ...]:
        return await asyncio.to_thread(self._load, session_id, digest)

    async def exists(self, session_id: str, digest: str) -> bool:
        return await asyncio.to_thread(self._of(session_id, digest).is_file)

    def _load(self, session_id: str, digest: str | None) -> tuple[Message, ...]:
        parts: list[tuple[Message, ...]] = []
        while digest is not None:
            part = _part.decode(self._of(session_id, digest).read_bytes())
            parts.append(part.messages)
            digest = part.previous
        return tuple(message for messages in reversed(parts) for message in messages)

    def _of(self, session_id: str, digest: str) -> Path:
        if _DIGEST.match(digest) is None:
            raise FileNotFoundError(f"{digest!r} is no digest of a transcript")
        # Names that a file system tells apart by case only are one there.
        name = hashlib.blake2b(session_id.encode(), digest_size=16).hexdigest()
        return self._folder / name / digest
