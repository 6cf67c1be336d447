"""Pane logs are bounded: what goes through the pipe command is kept whole, visible at once, and takes little."""

import asyncio
import hashlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from adapters.tmux.address import Address
from adapters.tmux.log_pipe import MIB, pipe_command
from adapters.tmux.terminal import TmuxTerminal
from tests.integration.tmux.support import Server
from tests.waiting import eventually

MAX_BYTES = 2 * MIB
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
VISIBLE_S = 0.1


@contextmanager
def piped(shell: str, command: str, path: str = os.environ["PATH"]) -> Iterator[IO[bytes]]:
    """The command's input; at the end it must have ended by itself."""
    words = [shell, "sh"] if shell == "busybox" else [shell]
    with subprocess.Popen([*words, "-c", command], stdin=subprocess.PIPE, env={"PATH": path}) as process:
        assert process.stdin is not None
        yield process.stdin
        process.stdin.close()
        assert process.wait(30) == 0


def archiving(folder: Path, archive: Path) -> str:
    """A PATH on which `mv` first keeps what a rotation would replace later."""
    folder.mkdir()
    mv = folder / "mv"
    mv.write_text(f'#!/bin/sh\ncat "$2" >>{archive} && exec {shutil.which("mv")} "$@"\n')
    mv.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("shell", SHELLS)
def test_100_mb_pass_without_a_byte_lost_or_doubled(short_tmp: Path, shell: str) -> None:
    log, archive = short_tmp / "a b" / "p.log", short_tmp / "archive"
    path = archiving(short_tmp / "bin", archive)
    before, sent = resource.getrusage(resource.RUSAGE_CHILDREN), hashlib.sha256()
    with piped(shell, pipe_command(str(log), MAX_BYTES), path) as pipe:
        for number in range(100):
            block = b"%06d %s\n" % (number, bytes([32 + number % 90]) * (MIB - 8))
            sent.update(block)
            pipe.write(block)
    kept = hashlib.sha256(archive.read_bytes() + log.read_bytes())
    assert kept.digest() == sent.digest()
    assert all(each.stat().st_size <= MAX_BYTES for each in (log, Path(f"{log}.1")))
    assert [oct(each.stat().st_mode & 0o777) for each in (log.parent, log, Path(f"{log}.1"))] == [
        "0o700",
        "0o600",
        "0o600",
    ]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 10


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("own_folder", [True, False])
def test_each_write_can_be_read_at_once_over_rotations_too(short_tmp: Path, shell: str, own_folder: bool) -> None:
    log, second = short_tmp / "p.log", short_tmp / "p.log.1"
    if not own_folder:
        log.touch()
        second.touch()
    late: list[float] = []
    sizes: list[int] = []
    with piped(shell, pipe_command(str(log), MAX_BYTES, own_folder=own_folder)) as pipe:
        for number in range(60):
            mark = b"<mark %d>" % number
            pipe.write(b"x" * 60_000 + mark)
            pipe.flush()
            began = time.monotonic()
            while not any(_ends_with(each, mark) for each in (log, second)):
                assert time.monotonic() - began < 30, mark
            late.append(time.monotonic() - began)
            sizes.append(second.stat().st_size if second.exists() else 0)
    # Of a loaded machine the median is asked; each single one came.
    assert sorted(late)[len(late) // 2] < VISIBLE_S
    assert max(sizes) > 0  # Not the last one: a file whose turn has just come is empty.


def _ends_with(log: Path, mark: bytes) -> bool:
    try:
        return log.read_bytes().endswith(mark)
    except FileNotFoundError:  # Between the two steps of a rotation.
        return False


@pytest.mark.parametrize("shell", SHELLS)
def test_files_that_can_only_be_written_take_turns(short_tmp: Path, shell: str) -> None:
    """As in a folder of the tower's that a container's user writes into."""
    log, second = short_tmp / "p.log", short_tmp / "p.log.1"
    log.touch()
    second.touch()
    written = b"".join(b"%07d\n" % number for number in range(8 * MIB // 8))
    with piped(shell, pipe_command(str(log), MAX_BYTES, own_folder=False)) as pipe:
        pipe.write(written)
    log_is_last = written.endswith(log.read_bytes()) and second.stat().st_size > 0
    older, newer = (second, log) if log_is_last else (log, second)
    assert older.stat().st_mtime_ns <= newer.stat().st_mtime_ns
    kept = older.read_bytes() + newer.read_bytes()
    assert written.endswith(kept)
    assert MAX_BYTES // 2 <= len(kept) <= 2 * MAX_BYTES
    # One tick of the file system's clock may cover the whole of a fast turn.
    os.utime(newer, ns=(0, newer.stat().st_mtime_ns + 1))
    with piped(shell, pipe_command(str(log), MAX_BYTES, own_folder=False)) as pipe:
        pipe.write(b"again")
    assert newer.read_bytes().endswith(b"again")


def test_a_log_that_cannot_be_written_ends_the_pipe(short_tmp: Path) -> None:
    (short_tmp / "p.log").mkdir()
    command = pipe_command(str(short_tmp / "p.log"), MAX_BYTES)
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.wait(30)


async def test_a_flooding_pane_fills_two_files_and_no_more(server: Server) -> None:
    plain = server.address()
    address = Address(
        socket_path=plain.socket_path, node="local", environment=plain.environment, log_max_bytes=MAX_BYTES
    )
    terminal = TmuxTerminal(address)
    log = server.log("p1")
    try:
        await terminal.create_session("s", [server.sh("p1", "i=0; seq 1 900000; echo the end; exec sleep 1000")])

        def whole() -> bool:
            return log.exists() and log.read_bytes().endswith(b"the end\r\n")

        await eventually(whole, "all of it is logged", timeout_s=60)
        kept = [int(line) for line in await asyncio.to_thread(_lines, log)]
        assert kept == list(range(kept[0], 900_001))
        assert kept[0] > 1
    finally:
        await terminal.close()


def _lines(log: Path) -> list[bytes]:
    """Without the first, which is a part of one, and the last."""
    assert all(each.stat().st_size <= MAX_BYTES for each in (log, Path(f"{log}.1")))
    return (Path(f"{log}.1").read_bytes() + log.read_bytes()).split(b"\r\n")[1:-2]
