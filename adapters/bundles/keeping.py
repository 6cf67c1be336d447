"""The effect that keeps bundles prepared, put together over files, git and watches."""

from collections.abc import Callable

from adapters.bundles.overlays import FileOverlays, overlay_folder
from adapters.bundles.preparing import BundleFiles
from adapters.bundles.watching import FolderWatch
from adapters.crashing import armed
from adapters.settings import Settings
from domain.tower import Tower
from handlers.effects.bundles import BundleKeeping
from handlers.effects.follow_ups import FollowUps
from handlers.ports import Clock


def bundle_files(settings: Settings, clock: Clock) -> BundleFiles:
    """Bundles as these settings find them."""
    prefixes = {prefix: str(folder) for prefix, folder in settings.bundle_prefixes.items()}
    return BundleFiles(settings.home, clock, prefixes=prefixes, configured=settings.bundles)


def keeping_of(
    settings: Settings, *, follow_ups: FollowUps, clock: Clock, instance: str, state: Callable[[], Tower]
) -> BundleKeeping:
    # Else the nearest folder to look at for overlays is the home itself, in which something changes at each start.
    overlay_folder(settings.home).mkdir(mode=0o700, parents=True, exist_ok=True)
    return armed(
        BundleKeeping(
            bundles=armed(bundle_files(settings, clock)),
            overlays=armed(FileOverlays(settings.home)),
            files=armed(FolderWatch()),
            follow_ups=follow_ups,
            clock=clock,
            instance=instance,
            configured=settings.bundles,
            state=state,
        )
    )
