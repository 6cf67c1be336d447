"""Log files of panes on this machine. Blocking: run in a thread."""

import os
from collections.abc import Sequence
from pathlib import Path

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


def local_starts(panes: Sequence[PaneToCreate]) -> list[Start]:
    """How to start panes here. One whose log cannot be made starts without: a failed log is a later stage's matter."""
    return [_local_start(pane) for pane in panes]


def _local_start(pane: PaneToCreate) -> Start:
    try:
        make_log(pane.log_path)
    except (OSError, ValueError):
        log = False
    else:
        log = True
    return Start(pane=pane, directory_known=pane.working_dir is None or os.path.isdir(pane.working_dir), log=log)
