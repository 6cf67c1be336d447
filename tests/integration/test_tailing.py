"""Reading a log that is written on: its end, what is added, what a rotation moved."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.tailing import Tail, changes, last_lines

QUIET_S = 0.3


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "p.log"


@pytest.fixture
def tail(log: Path) -> Iterator[Tail]:
    tail = Tail(str(log))
    yield tail
    tail.close()


def before(log: Path) -> Path:
    return Path(f"{log}.1")


def add(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def rotate(log: Path) -> None:
    log.replace(before(log))


def begun(tail: Tail, lines: int | None) -> bytes:
    return b"".join(tail.begin(lines))


def more(tail: Tail) -> bytes:
    return b"".join(tail.more())


class TestTheEnd:
    def test_of_a_log_without_a_predecessor(self, log: Path, tail: Tail) -> None:
        log.write_bytes(b"1\n2\n3\n4")
        assert begun(tail, 2) == b"3\n4"

    def test_reaches_into_the_predecessor(self, log: Path, tail: Tail) -> None:
        before(log).write_bytes(b"1\n2\n3")
        log.write_bytes(b"3\n4\n")
        assert begun(tail, 3) == b"2\n33\n4\n"

    def test_is_all_that_is_kept(self, log: Path, tail: Tail) -> None:
        before(log).write_bytes(b"1\n" * 100_000)
        log.write_bytes(b"2\n")
        assert begun(tail, None) == b"1\n" * 100_000 + b"2\n"
        add(log, b"3\n")
        assert more(tail) == b"3\n"

    def test_right_after_a_rotation(self, log: Path, tail: Tail) -> None:
        before(log).write_bytes(b"1\n2\n")
        assert begun(tail, 1) == b"2\n"
        add(log, b"3\n")
        assert more(tail) == b"3\n"

    def test_counts_line_feeds_only(self, log: Path, tail: Tail) -> None:
        log.write_bytes(b"one\n10%\r20%\r30%\r\ntwo\x0b\x0c\x1e\n")
        assert begun(tail, 2) == b"10%\r20%\r30%\r\ntwo\x0b\x0c\x1e\n"

    def test_of_none(self, log: Path, tail: Tail) -> None:
        log.write_bytes(b"1\n")
        assert begun(tail, 0) == b""
        add(log, b"2\n")
        assert more(tail) == b"2\n"

    def test_where_there_is_no_log(self, tail: Tail) -> None:
        with pytest.raises(FileNotFoundError):
            begun(tail, 1)

    def test_of_a_long_log_is_read_from_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        lines = [f"line {number} {'x' * 50}\n".encode() for number in range(20_000)]
        path.write_bytes(b"".join(lines) + b"unfinished")
        with path.open("rb") as file:
            assert last_lines([file], 3) == b"".join(lines[-2:]) + b"unfinished"
            assert last_lines([file], 5000) == b"".join(lines[-4999:]) + b"unfinished"
            assert last_lines([file], 1_000_000) == path.read_bytes()
            assert last_lines([file], 0) == b""


class TestFollowing:
    def test_over_a_rotation_no_byte_is_lost_or_doubled(self, log: Path, tail: Tail) -> None:
        log.write_bytes(b"1\n")
        assert begun(tail, 10) == b"1\n"
        add(log, b"2\n")
        rotate(log)
        assert more(tail) == b"2\n"
        add(log, b"3\n")
        assert more(tail) == b"3\n"
        assert more(tail) == b""
        assert not tail.missed

    def test_over_two_rotations_at_once(self, log: Path, tail: Tail) -> None:
        log.write_bytes(b"1\n")
        assert begun(tail, 10) == b"1\n"
        for number in (2, 3):
            add(log, b"%d\n" % number)
            rotate(log)
            # Each part is later than the one before it, also on a coarse clock.
            os.utime(before(log), ns=(0, before(log).stat().st_mtime_ns + number))
        log.write_bytes(b"4\n")
        os.utime(log, ns=(0, before(log).stat().st_mtime_ns + 1))
        assert more(tail) == b"2\n3\n4\n"
        assert tail.missed, "there may have been a third"

    def test_files_that_take_turns(self, log: Path, tail: Tail) -> None:
        stamp = 10**18

        def write(path: Path, data: bytes, *, anew: bool = False) -> None:
            nonlocal stamp
            stamp += 10**9
            if anew:
                path.write_bytes(b"")
            add(path, data)
            os.utime(path, ns=(0, stamp))

        before(log).touch()
        os.utime(before(log), ns=(0, 0))
        write(log, b"1\n")
        assert begun(tail, 10) == b"1\n"
        write(log, b"2\n")
        write(before(log), b"3\n")
        assert more(tail) == b"2\n3\n"
        write(log, b"4\n", anew=True)
        assert more(tail) == b"4\n"
        write(log, b"5\n")
        assert more(tail) == b"5\n"
        assert not tail.missed
        log.write_bytes(b"")
        more(tail)
        assert tail.missed


class TestChanges:
    async def test_a_reader_does_not_wake_itself(self, log: Path, tail: Tail) -> None:
        """To look is no change: who follows a quiet log sleeps."""
        changed, loop = asyncio.Event(), asyncio.get_running_loop()
        add(log, b"one\n")
        with changes(log, lambda: loop.call_soon_threadsafe(changed.set)):
            assert begun(tail, None) == b"one\n"
            add(log, b"two\n")
            seen = b""
            async with asyncio.timeout(30):
                while seen != b"two\n":
                    await changed.wait()
                    changed.clear()
                    seen += more(tail)
                while True:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(QUIET_S):
                            await changed.wait()
                    if not changed.is_set():
                        return
                    changed.clear()
                    assert more(tail) == b""
