"""10,000 files within a second: few firings that name each of them, and memory that does not grow with them."""

import asyncio
import os
import threading
from pathlib import Path

import msgspec
import pytest

from adapters.triggers.file_change import FIRING_BYTES
from domain.background.commands import DATA_BYTES
from tests.integration.triggers.conftest import Watch

COUNT = 10_000


@pytest.fixture
def how() -> str:
    return "inotify"


def write_all(folder: Path, first: int, count: int) -> None:
    """In a second, where nothing else is to be done."""
    at = os.open(folder, os.O_RDONLY)
    for number in range(first, first + count):
        file = os.open(f"d{number % 20}/file-{number:06d}.txt", os.O_WRONLY | os.O_CREAT, dir_fd=at)
        os.write(file, b"text")
        os.close(file)
    os.close(at)


@pytest.mark.parametrize("where", ["thread", "loop"])
async def test_ten_thousand_files_in_a_second(watch: Watch, folder: Path, where: str) -> None:
    """On the loop's own thread nothing is read meanwhile, so that the kernel's queue of 16,384 overflows."""
    for number in range(20):
        (folder / f"d{number}").mkdir()
    async with watch(debounce_ms=1000) as watched:
        if where == "thread":
            await asyncio.to_thread(write_all, folder, 0, COUNT)
        else:
            write_all(folder, 0, COUNT)
        (folder / "last").write_text("1")
        told = await watched.changes(until="last")
        assert len(told) == COUNT + 1
        assert set(told.values()) == {"created"}
        assert len(watched.firings) <= 4
        assert all(firing.data["parts"] == len(watched.firings) for firing in watched.firings)
        sizes = [len(msgspec.json.encode(firing.data)) for firing in watched.firings]
        assert FIRING_BYTES * 0.8 < max(sizes) < DATA_BYTES


async def test_memory_does_not_grow_with_what_is_written(watch: Watch, folder: Path) -> None:
    for number in range(20):
        (folder / f"d{number}").mkdir()
    async with watch(debounce_ms=50) as watched:
        rounds: list[int] = []
        for number in range(6):
            # Again and again the same files, and ever more hints.
            await asyncio.to_thread(write_all, folder, 0, COUNT // 2)
            mark = f"mark{number}"
            (folder / mark).write_text("1")
            await watched.changes(until=mark)
            watched.firings.clear()
            rounds.append(_resident_bytes())
        assert max(rounds[2:]) - rounds[1] < 16 * 2**20
        assert threading.active_count() < 60


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
