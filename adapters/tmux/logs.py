"""Log files of panes, made before tmux writes to them. Blocking: run in a thread."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from adapters.beneath import open_beneath
from adapters.paths import PREDECESSOR
from adapters.tmux.address import Address
from adapters.tmux.log_pipe import pipe_command
from adapters.tmux.sequences import Start
from handlers.ports import PaneToCreate


def make_log(log_path: str) -> None:
    """The file (0600) and its missing directories (0700). `OSError` if the log cannot be written."""
    path = Path(log_path)
    _make_private_dir(path.parent)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))


def _make_private_dir(path: Path) -> None:
    # mkdir(parents=True) would give the parents the default mode.
    if path.is_dir():
        return
    _make_private_dir(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def make_shared_log(log_path: str, shared: tuple[str, Path]) -> None:
    """A log that a container writes and this machine reads; nothing where `log_path` is not in the shared folder.

    Ours, so that we can read it whoever writes, and 0622: the container's user may be any. `OSError` if it cannot be.
    """
    inside, here = PurePosixPath(shared[0]), shared[1]
    path = PurePosixPath(log_path)
    if not path.is_relative_to(inside):
        return
    here.mkdir(mode=0o755, parents=True, exist_ok=True)
    relative = str(path.relative_to(inside))
    # With the one that is written in turn with it: the container's user can make no file there.
    for name in (relative, relative + PREDECESSOR):
        fd = open_beneath(here, name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, make_folders=0o755)
        try:
            os.fchmod(fd, 0o622)
        finally:
            os.close(fd)


def make_logs(address: Address, log_path: str) -> None:
    """The log file where this machine can make it. `OSError` or `ValueError` if it cannot be written."""
    if address.local:
        make_log(log_path)
    elif address.shared is not None:
        make_shared_log(log_path, address.shared)


def log_command(address: Address, log_path: str) -> str:
    """What the pane's output is piped into."""
    shared = address.shared is not None and PurePosixPath(log_path).is_relative_to(address.shared[0])
    return pipe_command(log_path, address.log_max_bytes, own_folder=address.local or not shared)


def starts(address: Address, panes: Sequence[PaneToCreate]) -> list[Start]:
    """How to start panes. One whose log cannot be made starts without: a failed log is a later stage's matter."""
    return [_start(address, pane) for pane in panes]


def _start(address: Address, pane: PaneToCreate) -> Start:
    try:
        make_logs(address, pane.log_path)
    except (OSError, ValueError):
        log = None
    else:
        log = log_command(address, pane.log_path)
    known = address.local and (pane.working_dir is None or os.path.isdir(pane.working_dir))
    return Start(pane=pane, directory_known=known, log=log)
