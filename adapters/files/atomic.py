"""Writing a private file so that a reader, or a crash, sees the old content or the new, never half of it."""

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` (mode 0600, its folder 0700), on disk when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def append_records(path: Path, records: bytes, size: int) -> None:
    """Append records of `size` bytes to `path` (mode 0600), on disk when this returns.

    What a crash or a full disk left of a record is cut off first: behind it no record would be found any more.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        length = os.fstat(file.fileno()).st_size
        os.ftruncate(file.fileno(), length - length % size)
        file.write(records)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """What was made, renamed or deleted in it is on disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
