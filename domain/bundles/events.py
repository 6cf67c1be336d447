"""What happens to bundles. These names and fields are the stored form: a change needs a new version.

A bundle is known by its URI; `bundle_id` stands for it in subjects.
"""

import hashlib
from typing import Any, Literal

from domain.messages import Event

Reason = Literal["start", "changed", "requested", "overlay", "used"]
"""Why a bundle was prepared: the tower started, a file of it changed, somebody asked, its overlay was changed, a
session was spawned from it."""

Action = Literal["add", "remove"]


def bundle_id(uri: str) -> str:
    """The first 32 hex digits of the URI's blake2b."""
    return hashlib.blake2b(uri.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class BundleEvent(Event, frozen=True, kw_only=True):
    bundle_id: str
    uri: str


class BundleLoaded(BundleEvent, frozen=True, kw_only=True):
    """Its files were read and composed, for the first time or after it could not be. `files`: how many there are."""

    name: str
    version: str
    description: str
    files: int
    warnings: tuple[str, ...]
    load_s: float


class BundlePrepared(BundleEvent, frozen=True, kw_only=True):
    """It serves: sessions can be spawned from it. `prepare_s` includes the reading."""

    name: str
    version: str
    digest: str
    reason: Reason
    warnings: tuple[str, ...]
    prepare_s: float


class BundlePrepareFailed(BundleEvent, frozen=True, kw_only=True):
    """It cannot serve, with the code, message and details of the refusal that those get who spawn from it."""

    name: str
    code: str
    message: str
    details: dict[str, Any]
    reason: Reason
    warnings: tuple[str, ...]
    prepare_s: float


class BundleReloadRequested(BundleEvent, frozen=True, kw_only=True):
    reload_id: str


class BundleReloaded(BundleEvent, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Another content serves from here on; the same one where somebody asked for it, or after a failure. `reload_ids`:
    what was asked for and is done by it."""

    name: str
    version: str
    description: str
    from_: str | None
    to: str
    reason: Reason
    reload_ids: tuple[str, ...]
    warnings: tuple[str, ...]
    prepare_s: float


class BundleReloadFailed(BundleEvent, frozen=True, kw_only=True):
    """What was there before goes on to serve; `serving` is its digest, None where nothing has."""

    name: str
    serving: str | None
    code: str
    message: str
    details: dict[str, Any]
    reason: Reason
    reload_ids: tuple[str, ...]
    warnings: tuple[str, ...]
    prepare_s: float


class BundleOverlayRequested(BundleEvent, frozen=True, kw_only=True):
    """The overlay over bundles of that `name` is to have the include, or to have it no more."""

    change_id: str
    name: str
    action: Action
    include: str


class BundleOverlayWritten(BundleEvent, frozen=True, kw_only=True):
    """All the includes that the overlay has now."""

    change_id: str
    name: str
    includes: tuple[str, ...]


class BundleOverlayFailed(BundleEvent, frozen=True, kw_only=True):
    """The overlay is as it was: the bundle could not be prepared with the change, or the file not be written."""

    change_id: str
    name: str
    code: str
    message: str
