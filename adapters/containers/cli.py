"""The container engine's own command line, `docker` or `podman`: which one, and how it is run.

Both understand the same words and print the same JSON as far as the tower uses it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from typing import BinaryIO, Final, NamedTuple

from handlers.ports import ContainersUnreachable, NoContainerEngine

KNOWN: Final = ("docker", "podman")

CHARACTERS: Final = 300
"""Of what an engine says about a failure."""


class Answer(NamedTuple):
    """What the program printed on stdout, its exit code and the end of its stderr."""

    output: bytes
    exit_code: int
    said: str


def find_cli(setting: str | None) -> str | None:
    """The program to run: the one in the settings, else the first of docker and podman; None without any."""
    return next((found for name in ([setting] if setting else KNOWN) if (found := shutil.which(name))), None)


def need_cli(setting: str | None) -> str:
    """Raises `NoContainerEngine`."""
    found = find_cli(setting)
    if found is None:
        missing = f"{setting} is not there" if setting else "neither docker nor podman is installed"
        raise NoContainerEngine(missing)
    return found


async def ask(cli: str, words: Sequence[str], *, timeout_s: float) -> Answer:
    """Run it once. Raises `ContainersUnreachable` when it gives no answer in time or cannot be run."""
    # Files, not pipes: a helper that the engine leaves behind would hold a pipe open.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = await asyncio.create_subprocess_exec(
                cli,
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise ContainersUnreachable(f"{cli} cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(timeout_s):
                exit_code = await process.wait()
        except TimeoutError:
            raise ContainersUnreachable(f"{cli} {words[0]} gave no answer in {timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return Answer(_all(output), exit_code, _all(errors).decode("utf-8", "replace").strip()[-CHARACTERS:])


def _all(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
