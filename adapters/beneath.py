"""Opening files in a folder that others can write, without being led out of it by a symbolic link."""

import os
from pathlib import Path, PurePosixPath


def open_beneath(folder: Path, relative: str, flags: int, mode: int = 0o600, *, make_folders: int | None = None) -> int:
    """A descriptor of `folder/relative`. No part of `relative` may be a symbolic link or lead upwards (`OSError`).

    `make_folders`: the mode of missing folders on the way, None to make none. The umask does not lessen it.
    """
    *names, last = PurePosixPath(relative).parts
    if not last or PurePosixPath(relative).is_absolute() or ".." in (*names, last):
        raise ValueError(f"not a path below a folder: {relative!r}")
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            below = _folder(at, name, make_folders)
            os.close(at)
            at = below
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
    finally:
        os.close(at)


def make_folders_beneath(folder: Path, relative: str, mode: int) -> None:
    """`folder` and those of `relative` below it, `folder` and the new ones with this mode. As strict; `OSError`."""
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchmod(at, mode)
        for name in PurePosixPath(relative).parts:
            below = _folder(at, name, mode)
            os.close(at)
            at = below
    finally:
        os.close(at)


def _folder(at: int, name: str, mode: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=at)
    except FileNotFoundError:
        if mode is None:
            raise
    made = False
    try:
        os.mkdir(name, mode, dir_fd=at)
        made = True
    except FileExistsError:
        pass
    found = os.open(name, flags, dir_fd=at)
    if made:
        os.fchmod(found, mode)
    return found
