"""Reading pane logs of containers from the host.

Where the bench folder is mounted a log is a file of the host below it; elsewhere it lies in the container and is read
by `exec`. `adapters.beneath.open_beneath` opens the former: what is below the bench folder, containers can write.
"""

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from adapters.beneath import make_folders_beneath, open_beneath
from adapters.containers.executing import exec_words
from adapters.containers.inside import run_inside
from domain.containers import ContainerFacts
from handlers.effects.pane_places import BENCH_LOGS

TAIL_S: Final = 20.0

_log = structlog.get_logger("containers")


async def read_tail(cli: str, container: ContainerFacts, log_path: str, *, lines: int) -> bytes:
    """The end of a log which lies in the container. Raises `FileNotFoundError`, `ContainersUnreachable`."""
    tail = ("tail", "-n", str(lines), "--", _absolute(log_path))
    ran = await run_inside(exec_words(cli, container), tail, timeout_s=TAIL_S)
    if ran.exit_code != 0:
        raise FileNotFoundError(ran.said)
    return ran.output


def follow_argv(cli: str, container: ContainerFacts, log_path: str, *, lines: int) -> Sequence[str]:
    """A program that prints the end of a log which lies in the container, and then what is added, until the end of its
    input: an engine whose client is killed leaves the program inside running.

    `-F` goes on across a rotation, and waits for a file that is not there yet.
    """
    script = 'tail -n "$1" -F -- "$2" & cat >/dev/null; kill $!'
    return (*exec_words(cli, container), "sh", "-c", script, "sh", str(lines), _absolute(log_path))


def _absolute(log_path: str) -> str:
    if not posixpath.isabs(log_path):
        raise ValueError(f"not the path of a pane log: {log_path!r}")
    return log_path


def make_log_folder(bench: Path) -> None:
    """The bench folder and that of its logs, which every user of a container may go through. Blocking."""
    try:
        make_folders_beneath(bench, BENCH_LOGS, 0o755)
    except OSError as error:
        _log.warning("containers cannot write pane logs here", folder=str(bench), reason=str(error))


def open_log(log_path: str, bench: Path) -> int:
    """A descriptor to read a log of this machine with. No symbolic link below `bench` is followed. `OSError`."""
    path = Path(log_path)
    if path.is_relative_to(bench) and ".." not in path.parts:
        return open_beneath(bench, str(path.relative_to(bench)), os.O_RDONLY)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
