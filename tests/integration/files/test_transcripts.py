"""Transcripts on disk: named by what they say and by what was said before."""

from pathlib import Path

import pytest

from adapters.files.transcripts import FileTranscripts
from domain.sessions.messages import Message

ONE = (Message(role="user", content="é"), Message(role="assistant", content="1", name="a"))
TWO = (Message(role="user", content="2"),)


async def test_turns_are_read_in_order(tmp_path: Path) -> None:
    storage = FileTranscripts(tmp_path)
    first = await storage.save("s", None, ONE)
    second = await storage.save("s", first, TWO)
    assert await storage.load("s", first) == ONE
    assert await storage.load("s", second) == ONE + TWO
    assert await storage.save("s", first, TWO) == second, "the same again gives the same"
    assert await storage.save("s", None, TWO) != second


async def test_what_no_digest_leads_to_is_not_part_of_it(tmp_path: Path) -> None:
    storage = FileTranscripts(tmp_path)
    first = await storage.save("s", None, ONE)
    await storage.save("s", first, TWO)
    assert await storage.load("s", first) == ONE


async def test_sessions_do_not_see_each_other(tmp_path: Path) -> None:
    storage = FileTranscripts(tmp_path)
    digest = await storage.save("s", None, ONE)
    assert await storage.exists("s", digest)
    assert not await storage.exists("S", digest)
    with pytest.raises(FileNotFoundError):
        await storage.load("S", digest)
    with pytest.raises(FileNotFoundError):
        await storage.load("s", "../s")


async def test_files_are_private(tmp_path: Path) -> None:
    await FileTranscripts(tmp_path / "t").save("s", None, ONE)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "t").rglob("*") if path.is_file()] == [0o600]
