"""What sessions need of bundles: prepared ones, by URI or name.

Adapters implement `Bundles`; `handlers/effects/bundles.py` keeps what serves in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from domain.bundles.plan import Plan
from domain.errors import Rejection

PROBLEMS: Final = frozenset({"bundle_invalid", "bundle_not_found", "bundle_include_cycle"})


class ContextText(msgspec.Struct, frozen=True, kw_only=True):
    """`digest`: blake2b-256 of the text, hex."""

    name: str
    text: str
    digest: str


class PreparedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a session needs of a bundle; starting one reads no file. Shared: nothing in it may be changed.

    `digest`: blake2b-256 of all inputs, hex, the true version. `warnings`: what was left out or not understood.
    `files`: what was read, `looked_for`: what was not there; absolute, all to be watched. `uri` is absolute.
    `prepare_s` includes `load_s`, the time for reading and composing.
    """

    uri: str
    name: str
    version: str
    description: str
    digest: str
    plan: Plan
    instruction: str = ""
    context: tuple[ContextText, ...] = ()
    warnings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    looked_for: tuple[str, ...] = ()
    load_s: float = 0.0
    prepare_s: float = 0.0


class BundleProblem(Exception):
    """A bundle cannot be prepared. `details` are those of the error `code`; `faults`: one line each, all that is known.
    `files`: what was read and looked for; a change there may mend it."""

    def __init__(
        self,
        code: str,
        message: str,
        details: Mapping[str, Any],
        *,
        faults: Sequence[str] = (),
        files: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.details: Final = dict(details)
        self.faults: Final = tuple(faults) or (message,)
        self.files: Final = tuple(files)

    def rejection(self) -> Rejection:
        """The refusal of whoever wanted the bundle."""
        return Rejection(self.code, self.message, **self.details)


class Bundles(Protocol):
    """Where bundles come from: files of this machine and git."""

    async def prepare(
        self, uri: str, *, overlay: Sequence[str] | None = None, lenient: bool = False, fresh: bool = True
    ) -> PreparedBundle:
        """Read and merge all of it, its operator's overlay included. Raises `BundleProblem`.

        `overlay`: as if its overlay had these includes. `lenient`: what is missing or goes in a circle is left out,
        with a warning. Without `fresh`, what git fetched before serves without asking again.
        """
        ...

    def absolute(self, uri: str) -> str:
        """The one spelling of a URI or path by which a bundle is known; names stay names."""
        ...


class Overlays(Protocol):
    """The operator's additions to bundles, by bundle name. Both raise `OSError`, and `BundleProblem` for a file that
    cannot be read as one."""

    async def includes(self, name: str) -> tuple[str, ...]: ...

    async def write(self, name: str, includes: Sequence[str]) -> None:
        """Replace the includes of the overlay, whole or not at all; whatever else stands in it stays."""
        ...


class FileWatch(Protocol):
    """Tells when files change on disk."""

    async def watch(self, key: str, files: Sequence[str], since: datetime, changed: Callable[[str], None]) -> None:
        """From here on these and no other files are watched for `key`, whether they are there or not: `changed(key)`
        is called on the loop, at once if one has changed since `since`. No files: no more."""
        ...

    def close(self) -> None: ...
