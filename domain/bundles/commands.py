"""What can be asked of bundles, on the tower's machine only; then the tower's own reports, which no door takes."""

from typing import Annotated, Any

from msgspec import Meta

from domain.bundles.events import Reason
from domain.messages import Request

Uri = Annotated[str, Meta(max_length=2_000)]


class BundleRequest(Request, frozen=True, kw_only=True):
    """All that is asked and told of bundles."""


class BundleReload(BundleRequest, frozen=True):
    """Prepare a bundle anew, by its URI, name or id: its files are read, its git repositories asked. What serves goes
    on to serve until that has succeeded."""

    bundle: Uri


class BundleOverlayAdd(BundleRequest, frozen=True):
    """Compose a further bundle, `include`, over a bundle, from now on: at the end of its overlay's includes."""

    bundle: Uri
    include: Uri


class BundleOverlayRemove(BundleRequest, frozen=True):
    """Take an include out of a bundle's overlay."""

    bundle: Uri
    include: Uri


# --- the tower's own -----------------------------------------------------------------------------------------------


class BundleRecordPrepared(BundleRequest, frozen=True, kw_only=True):
    """It was prepared. `reload_ids`: requests that it answers."""

    uri: str
    name: str
    version: str
    description: str
    digest: str
    reason: Reason
    files: int = 0
    warnings: tuple[str, ...] = ()
    load_s: float = 0.0
    prepare_s: float = 0.0
    reload_ids: tuple[str, ...] = ()


class BundleRecordFailed(BundleRequest, frozen=True, kw_only=True):
    """It could not be. `serving`: what was prepared before is in memory."""

    uri: str
    code: str
    message: str
    details: dict[str, Any]
    reason: Reason
    serving: bool
    warnings: tuple[str, ...] = ()
    prepare_s: float = 0.0
    reload_ids: tuple[str, ...] = ()


class BundleRecordOverlay(BundleRequest, frozen=True, kw_only=True):
    """A change was made; or not, with `code` and `message`."""

    change_id: str
    includes: tuple[str, ...] = ()
    code: str | None = None
    message: str = ""
