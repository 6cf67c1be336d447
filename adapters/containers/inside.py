"""One program run inside a container, with all that it prints.

`exec` of podman loses output of programs that end at once (4 of 12 times on a busy machine), docker on podman's socket
too, and both then give exit code 0 or 1 all the same. So a shell runs the program, says that it ended, and stays until
we have heard it: its own end of input.
"""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Sequence
from typing import Final, NamedTuple

from handlers.ports import ContainersUnreachable

MOST_BYTES: Final = 32 * 1024 * 1024
_BLOCK_BYTES: Final = 64 * 1024
_LAST_WORDS_S: Final = 1.0

_STAYING: Final = 't=$1; shift; "$@"; code=$?; echo "$t $code" >&2; echo "$t $code"; exec cat >/dev/null'


class Ran(NamedTuple):
    """What it printed on stdout and stderr, and its exit code."""

    output: bytes
    said: str
    exit_code: int


async def run_inside(exec_words: Sequence[str], argv: Sequence[str], *, timeout_s: float) -> Ran:
    """`exec_words` as `executing.exec_words` gives them. Raises `ContainersUnreachable` unless the program ran."""
    token = f"at-{secrets.token_hex(8)}"
    words = (*exec_words, "/bin/sh", "-c", _STAYING, "sh", token, *argv)
    pipes = [os.pipe() for _ in range(3)]
    ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=pipes[0][0], stdout=pipes[1][1], stderr=pipes[2][1], start_new_session=True
            )
        except OSError as error:
            raise ContainersUnreachable(f"{words[0]} cannot be run: {error.strerror}") from error
        finally:
            for fd in (pipes[0][0], pipes[1][1], pipes[2][1]):
                os.close(fd)
        try:
            return await _heard(process, ours, token.encode(), timeout_s)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    finally:
        for fd in ours:
            os.close(fd)


async def _heard(process: asyncio.subprocess.Process, ours: list[int], token: bytes, timeout_s: float) -> Ran:
    _, stdout, stderr = ours
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            reading = [group.create_task(_until(fd, token)) for fd in (stdout, stderr)]
    except TimeoutError:
        raise ContainersUnreachable(f"no answer from inside the container in {timeout_s:g} s") from None
    (output, code), (errors, _) = (each.result() for each in reading)
    said = errors.decode("utf-8", "replace").strip()
    # The end of input, for which the shell stays.
    os.close(ours.pop(0))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_S):
            await process.wait()
    if code is None:
        raise ContainersUnreachable(said or f"the engine's exec ended with exit code {process.returncode}")
    return Ran(output, said, code)


async def _until(fd: int, token: bytes) -> tuple[bytes, int | None]:
    """What comes before the token's line, and the code on it; None at an end without one."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    os.set_blocking(fd, False)
    loop.add_reader(fd, readable.set)
    data = bytearray()
    try:
        while len(data) <= MOST_BYTES:
            await readable.wait()
            readable.clear()
            with contextlib.suppress(BlockingIOError):
                block = os.read(fd, _BLOCK_BYTES)
                data += block
                _, found, after = bytes(data[-2 * _BLOCK_BYTES :]).rpartition(token)
                if found and after.endswith(b"\n"):
                    return bytes(data[: len(data) - len(after) - len(found)]), int(after)
                if not block:
                    return bytes(data), None
        return bytes(data), None
    finally:
        loop.remove_reader(fd)
