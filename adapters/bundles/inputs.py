"""The files of one preparation: each read once, each remembered, also those that were looked for. Blocking."""

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from adapters.bundles.problems import invalid
from adapters.bundles.reading import MAX_FILE_BYTES, text_of

_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
MAX_FILES = 2_000
"""Of one bundle with all that it includes and mentions."""


class Inputs:
    """Every file a change of which may change the outcome: `files` were read, `looked_for` were not."""

    def __init__(self) -> None:
        self._read: dict[Path, bytes] = {}
        self._looked_for: dict[Path, None] = {}
        self._said: list[bytes] = []

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(map(str, self._read))

    @property
    def looked_for(self) -> tuple[str, ...]:
        return tuple(str(path) for path in self._looked_for if path not in self._read)

    def digest(self, *more: bytes) -> str:
        """Over the content of every file in the order of reading, and what else counts: blake2b-256, hex."""
        whole = hashlib.blake2b(digest_size=32)
        for part in (*self._read.values(), *self._said, *more):
            whole.update(len(part).to_bytes(8, "big") + part)
        return whole.hexdigest()

    def exists(self, path: Path) -> bool:
        """Whether there is such a file."""
        self._looked_for[path] = None
        return path.is_file()

    def first(self, candidates: Sequence[Path]) -> Path | None:
        return next((path for path in candidates if self.exists(path)), None)

    def peek(self, path: Path) -> bytes:
        """As `read`, but its content does not count: what is taken from it is said by `count`."""
        self._looked_for[path] = None
        return _content(path)

    def count(self, text: str) -> None:
        self._said.append(text.encode())

    def read(self, path: Path) -> bytes:
        """Raises `BundleProblem` for what is no file of a reasonable size."""
        if path not in self._read:
            if len(self._read) >= MAX_FILES:
                raise invalid(path, None, "", f"at most {MAX_FILES} files in one bundle")
            self._read[path] = _content(path)
        return self._read[path]

    def text(self, path: Path) -> str:
        return text_of(path, self.read(path))


def _content(path: Path) -> bytes:
    try:
        # Without waiting: a pipe may stand there.
        descriptor = os.open(path, _OPEN)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise invalid(path, None, "", "a file", "a socket") from None
        raise invalid(path, None, "", "a file that can be read", error.strerror or str(error)) from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise invalid(path, None, "", "a file", "something else")
        try:
            content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise invalid(path, None, "", "a file that can be read", error.strerror or str(error)) from None
    if len(content) > MAX_FILE_BYTES:
        raise invalid(path, None, "", f"at most {MAX_FILE_BYTES} bytes", "more")
    return content
