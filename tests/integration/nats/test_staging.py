"""Where a batch stands until it is committed: in memory while there is room, and a killed broker finishes it there."""

import asyncio
import contextlib
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from adapters.nats.broker import EmbeddedBroker
from adapters.nats.log import JetStreamLog
from adapters.nats.staging import MEMORY, ROOM_BYTES, Staging
from adapters.nats.streams import ensure_streams
from adapters.nats.wire import WireClient
from handlers.ports import LogUnavailable
from tests.integration.conftest import NODE, Connected
from tests.integration.nats.test_log import entries, entry, everything, raw_headers
from tests.waiting import eventually

ROUNDS = 4
MANY = 1000


@pytest.fixture
def log(tower_nats: WireClient, broker: EmbeddedBroker) -> JetStreamLog:
    return JetStreamLog(tower_nats, NODE, store=broker)


class Stream:
    """The folder of the node's events in the broker's store."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "nats" / "store" / "jetstream" / "TOWER" / "streams" / f"TOWER_EVENTS_{NODE}"
        self._batches = self._folder / "batches"

    def memory(self) -> Path | None:
        return self._batches.readlink() if self._batches.is_symlink() else None

    def staged(self) -> list[Path]:
        return list(self._batches.iterdir())

    def written_bytes(self) -> int:
        return sum(block.stat().st_size for block in (self._folder / "msgs").glob("*.blk"))

    def exceeds(self, size_bytes: int) -> bool:
        return self.written_bytes() > size_bytes


@pytest.fixture
def stream(short_tmp: Path) -> Stream:
    return Stream(short_tmp)


class Room:
    """Of a file system in memory that is a folder, in truth."""

    def __init__(self, folder: Path) -> None:
        self.free = ROOM_BYTES
        self.stream = folder / "stream"
        self.memory = folder / "memory"
        self.stream.mkdir()
        self.memory.mkdir()

    def staging(self) -> Staging:
        return Staging(self.stream, self.memory, lambda _path: self.free)

    def folders(self) -> list[Path]:
        return list(self.memory.iterdir())


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


class TestTheBroker:
    async def test_stages_in_memory_and_leaves_nothing_there(
        self, log: JetStreamLog, broker: EmbeddedBroker, stream: Stream
    ) -> None:
        assert await log.append(entries(3), expected_last=0) == 3
        memory = stream.memory()
        assert memory is not None
        assert memory.parent == MEMORY
        assert os.stat(memory).st_mode & 0o777 == 0o700
        assert stream.staged() == []
        await broker.stop()
        assert stream.memory() is None
        assert memory.name not in os.listdir(MEMORY)

    @pytest.mark.parametrize(("count", "together"), [(2, False), (3, True)])
    async def test_lets_three_stand_together_that_need_not(
        self, log: JetStreamLog, tower_nats: WireClient, count: int, together: bool
    ) -> None:
        await log.append([entry(number) for number in range(count)], expected_last=0)
        assert (b"Nats-Batch-Id" in await raw_headers(tower_nats, 1)) is together

    async def test_goes_on_when_its_memory_is_taken_away(self, log: JetStreamLog, stream: Stream) -> None:
        await log.append(entries(3), expected_last=0)
        memory = stream.memory()
        assert memory is not None
        shutil.rmtree(memory)
        assert await log.append(entries(3, start=4), expected_last=3) == 6
        assert stream.staged() == []

    async def test_finishes_after_its_death_what_it_had_begun(
        self, log: JetStreamLog, broker: EmbeddedBroker, tower_nats: WireClient, stream: Stream
    ) -> None:
        last = await log.append(entries(MANY), expected_last=0)
        for _ in range(ROUNDS):
            begun = partial(stream.exceeds, stream.written_bytes())
            appending = asyncio.create_task(log.append(entries(MANY, start=last + 1), expected_last=last))
            await eventually(begun, "the first of the batch", interval_s=0)
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            with contextlib.suppress(LogUnavailable):
                await appending
            await eventually(lambda: not tower_nats.is_connected, "the lost connection")
            await broker.wait_ready()
            await eventually(lambda: tower_nats.is_connected, "the reconnect")
            last += MANY
            assert await log.last_position() == last
        assert await log.append(entries(3, start=last + 1), expected_last=last) == last + 3
        assert stream.memory() is not None
        assert [stored.position for stored in await everything(log)] == list(range(1, last + 4))

    async def test_stages_on_the_disk_when_told_to(self, short_tmp: Path, stream: Stream, connected: Connected) -> None:
        async with EmbeddedBroker(short_tmp, NODE, stage_in_memory=False) as broker:
            client = await connected(broker.tower_url)
            await ensure_streams(client, NODE)
            log = JetStreamLog(client, NODE, store=broker)
            assert await log.append(entries(3), expected_last=0) == 3
            assert stream.memory() is None
            assert stream.staged() == []


class TestStaging:
    def test_waits_for_the_stream(self, room: Room) -> None:
        room.stream.rmdir()
        staging = room.staging()
        assert not staging.in_memory()
        room.stream.mkdir()
        assert staging.in_memory()

    def test_without_room_the_disk_is_used(self, room: Room) -> None:
        staging, link = room.staging(), room.stream / "batches"
        assert staging.in_memory()
        room.free -= 1
        assert not staging.in_memory()
        assert not link.is_symlink()
        link.mkdir()
        room.free += 1
        assert staging.in_memory()
        assert link.is_symlink()

    def test_what_a_batch_left_on_the_disk_stays(self, room: Room) -> None:
        (room.stream / "batches" / "one").mkdir(parents=True)
        assert not room.staging().in_memory()
        assert (room.stream / "batches" / "one").is_dir()

    def test_what_a_killed_broker_left_in_memory_goes(self, room: Room) -> None:
        assert room.staging().in_memory()
        (room.folders()[0] / "one").mkdir()
        (room.stream / "batches").unlink()
        assert room.staging().in_memory()
        assert list(room.folders()[0].iterdir()) == []

    def test_what_is_to_be_finished_outlives_the_end(self, room: Room) -> None:
        staging = room.staging()
        assert staging.in_memory()
        (room.folders()[0] / "one").mkdir()
        staging.end()
        assert (room.stream / "batches" / "one").is_dir()
        (room.stream / "batches" / "one").rmdir()
        staging.end()
        assert not (room.stream / "batches").is_symlink()
        assert room.folders() == []

    @pytest.mark.parametrize("theirs", ["file", "open", "link"])
    def test_a_folder_of_somebody_else_is_not_used(self, room: Room, theirs: str) -> None:
        staging = room.staging()
        assert staging.in_memory()
        (folder,) = room.folders()
        staging.end()
        match theirs:
            case "file":
                folder.touch()
            case "open":
                folder.mkdir(mode=0o755)
            case _:
                folder.symlink_to(room.stream)
        assert not staging.in_memory()
        assert not (room.stream / "batches").exists()

    def test_streams_have_folders_of_their_own(self, room: Room, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        assert room.staging().in_memory()
        assert Staging(other, room.memory, lambda _path: room.free).in_memory()
        assert len(room.folders()) == 2
