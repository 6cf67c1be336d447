"""What `agenttower doctor` says of triggers: limits of the kernel, time zones, and what the settings name."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from adapters.settings import Settings

LIMITS: Final = Path("/proc/sys/fs/inotify")
FEW_WATCHES: Final = 65_536
FEW_INSTANCES: Final = 128
ZONE: Final = "Europe/Berlin"


class Said(NamedTuple):
    level: Literal["good", "warning"]
    name: str
    said: str
    fix: str = ""


def look_at_triggers(settings: "Settings", limits: Path = LIMITS) -> Iterator[Said]:
    """`limits`: the folder in which the kernel says how many watches there may be."""
    yield _inotify(limits)
    yield _zones()
    for definition in settings.background_sessions:
        yield from _of(definition)


def _inotify(limits: Path) -> Said:
    try:
        watches = int((limits / "max_user_watches").read_text())
        instances = int((limits / "max_user_instances").read_text())
    except (OSError, ValueError):
        return Said("warning", "inotify", "the kernel has none: folders are looked at now and then", "")
    said = f"{watches} watches, {instances} instances"
    if watches < FEW_WATCHES or instances < FEW_INSTANCES:
        few = f"{said}: a tree of more folders than that is looked at now and then"
        return Said("warning", "inotify", few, f"sysctl fs.inotify.max_user_watches={8 * FEW_WATCHES}")
    return Said("good", "inotify", f"{said}, each a folder of a file_change trigger")


def _zones() -> Said:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(ZONE)
    except (ZoneInfoNotFoundError, OSError):
        return Said("warning", "time zones", "no data: cron triggers know UTC only", "apt-get install tzdata")
    return Said("good", "time zones", "known")


def _of(definition: Mapping[str, Any]) -> Iterator[Said]:
    """A background session of the settings."""
    name = f"background session {definition['name']}"
    missing = list(_missing(definition))
    for what, fix in missing:
        yield Said("warning", name, what, fix)
    if not missing:
        types = ", ".join(dict.fromkeys(_type(each) for each in definition["triggers"]))
        yield Said("good", name, f"{types}; runs {definition['bundle']}")


def _missing(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    bundle = str(definition["bundle"])
    if _is_path(bundle) and not any(os.path.exists(_here(bundle) + end) for end in ("", ".md", ".yaml", ".yml")):
        yield f"there is no bundle {_here(bundle)}", "correct `bundle`, or start the tower where it is"
    for trigger in definition["triggers"]:
        config: Mapping[str, Any] = trigger.get("config") or {}
        path = config.get("path")
        if _type(trigger) == "file_change" and path is not None and not os.path.isdir(_here(str(path))):
            yield (
                f"there is no folder {_here(str(path))}",
                "make it: the trigger waits for it",
            )
        secret = config.get("secret_file")
        if secret is not None and not os.access(_here(str(secret)), os.R_OK):
            yield f"the secret {_here(str(secret))} cannot be read", "without it every delivery is refused"
        variable = config.get("secret_env")
        if variable is not None and not os.environ.get(str(variable)):
            yield f"the variable {variable} is not set", "without it every delivery is refused"


def _type(trigger: Mapping[str, Any]) -> str:
    named = trigger.get("type") or str(trigger.get("module", "")).removeprefix("trigger-").replace("-", "_")
    return str(named)


def _is_path(bundle: str) -> bool:
    return "/" in bundle and ":" not in bundle


def _here(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
