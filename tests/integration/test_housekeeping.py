"""What is deleted, and what is not: texts that nobody waits for, blobs that no event names, logs of panes removed long
ago."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.files.blobs import FileBlobs
from adapters.files.pane_logs import FilePaneLogs
from adapters.files.texts import FileTexts

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SEND = "019b7c3f-5c00-7000-8000-000000000007"
OTHER = "019b7c3f-5c00-7000-8000-000000000008"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestTexts:
    async def test_are_kept_privately_by_a_digest_of_their_own(self, tmp_path: Path) -> None:
        texts = FileTexts(tmp_path / "texts")
        first, second = await texts.keep(SEND, "yes\n"), await texts.keep(OTHER, "yes\n")
        assert first != second
        assert await texts.get(first) == await texts.get(second) == "yes\n"
        assert await FileTexts(tmp_path / "texts").keep(SEND, "yes\n") == first
        assert await FileTexts(tmp_path / "other").keep(SEND, "yes\n") != first
        for path in (tmp_path / "texts").iterdir():
            assert path.stat().st_mode & 0o777 == 0o600, path

    async def test_are_dropped_when_they_are_sent(self, tmp_path: Path) -> None:
        texts = FileTexts(tmp_path)
        digest = await texts.keep(SEND, "x")
        await texts.drop(digest)
        await texts.drop(digest)
        assert await texts.get(digest) is None
        assert names(tmp_path) == {"key"}

    async def test_that_nobody_waits_for_go_when_they_are_old(self, tmp_path: Path) -> None:
        texts = FileTexts(tmp_path)
        await texts.prune(frozenset(), NOW)
        kept, old, fresh = [await texts.keep(SEND, words) for words in ("kept", "old", "fresh")]
        (tmp_path / ".half.tmp").touch()
        for name, age_s in ((kept, 1000), (old, 1000), (fresh, 10), ("key", 9999), (".half.tmp", 1000)):
            os.utime(tmp_path / name, (NOW.timestamp() - age_s, NOW.timestamp() - age_s))
        await texts.prune(frozenset({kept}), NOW - timedelta(seconds=600))
        assert names(tmp_path) == {kept, fresh, "key"}


class TestBlobs:
    async def test_are_kept_privately_by_their_content(self, tmp_path: Path) -> None:
        blobs = FileBlobs(tmp_path / "blobs")
        value, made = b"v" * 300_000, tmp_path / "checkpoint"
        made.write_bytes(value)
        digest = await blobs.put(value)
        assert digest == hashlib.blake2b(value, digest_size=32).hexdigest()
        assert await blobs.take(str(made)) == (digest, len(value))
        assert await blobs.put(value) == digest
        assert not made.exists()
        assert await blobs.get(digest) == value
        assert blobs.path(digest) == str(tmp_path / "blobs" / digest)
        assert names(tmp_path / "blobs") == {digest}
        for path in (tmp_path / "blobs").iterdir():
            assert path.stat().st_mode & 0o777 == 0o600, path

    async def test_that_are_not_there_are_told_as_such(self, tmp_path: Path) -> None:
        blobs = FileBlobs(tmp_path / "blobs")
        await blobs.prune(frozenset(), NOW)
        for digest in ("0" * 64, "../secret", ""):
            assert await blobs.get(digest) is None
            await blobs.drop(digest)
        with pytest.raises(FileNotFoundError):
            blobs.path("../secret")

    async def test_that_no_event_names_go_when_they_are_old(self, tmp_path: Path) -> None:
        blobs = FileBlobs(tmp_path)
        kept, old, fresh, again = [await blobs.put(words) for words in (b"kept", b"old", b"fresh", b"again")]
        for name, age_s in ((kept, 1000), (old, 1000), (fresh, 10), (again, 1000)):
            os.utime(tmp_path / name, (NOW.timestamp() - age_s, NOW.timestamp() - age_s))
        await blobs.put(b"again")
        await blobs.prune(frozenset({kept}), NOW - timedelta(seconds=600))
        assert names(tmp_path) == {kept, fresh, again}
        await blobs.drop(kept)
        assert names(tmp_path) == {fresh, again}


class TestLogs:
    async def test_of_removed_panes_go_after_their_days_and_no_others(self, tmp_path: Path) -> None:
        folder = tmp_path / "panes"
        logs = FilePaneLogs([folder, tmp_path / "missing"], kept=timedelta(days=14))
        await logs.prune(lambda _: True, NOW)
        folder.mkdir()
        for name in ("gone.log", "gone.log.1", "lives.log", "lives.log.1", "notes.txt"):
            (folder / name).touch()
        everything = names(folder)
        gone = "gone".__eq__
        await logs.prune(gone, NOW)
        await logs.prune(gone, NOW + timedelta(days=13, hours=23))
        assert names(folder) == everything | {"gone.removed"}
        await logs.prune(gone, NOW + timedelta(days=14, seconds=1))
        assert names(folder) == {"lives.log", "lives.log.1", "notes.txt"}

    async def test_the_days_count_from_the_removal_however_quiet_the_pane_was(self, tmp_path: Path) -> None:
        logs = FilePaneLogs([tmp_path], kept=timedelta(days=14))
        (tmp_path / "quiet.log").touch()
        os.utime(tmp_path / "quiet.log", (0, 0))
        await logs.prune(lambda _: True, NOW)
        assert "quiet.log" in names(tmp_path)
