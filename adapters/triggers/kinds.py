"""The types of triggers that have a source: built in, or of an installed package.

A package names its types in the entry point group `agenttower.triggers`: the name is the type, the object a class that
is made without arguments. A built-in type cannot be taken over.
"""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

import structlog

from adapters.triggers.deliveries import Deliveries
from adapters.triggers.file_change import FileChange
from adapters.triggers.inotify import Inotify
from adapters.triggers.webhooks import Fate, Webhook, WebhookDoor
from handlers.ports import Clock, Ids
from handlers.trigger_ports import Firing, TriggerProblem, TriggerSource

GROUP: Final = "agenttower.triggers"

FILE_CHANGE: Final = "file_change"
WEBHOOK: Final = "webhook"
MANUAL: Final = "manual"

METHODS: Final = ("configure", "watch", "stop")

_log = structlog.get_logger("triggers")


class Manual:
    """A `TriggerSource` that never tells anything: `trigger.fire` does."""

    def configure(self, config: Mapping[str, Any], *, folder: str, state: Path) -> None:
        if config:
            raise TriggerProblem(next(iter(config)), "is not known here; manual has no config")

    async def watch(self) -> AsyncGenerator[Firing]:
        firing: Firing = await asyncio.get_running_loop().create_future()
        yield firing

    async def stop(self) -> None:
        pass


class TriggerKinds:
    """The `TriggerSources` port. `folder`: for what is kept of all; `never`: folders that no trigger looks into."""

    def __init__(
        self,
        *,
        folder: Path,
        clock: Clock,
        ids: Ids,
        count: Callable[[Fate], None],
        never: tuple[str, ...] = (),
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._never = never
        self.inotify: Final = Inotify()
        self.door: Final = WebhookDoor(count)
        self._deliveries = Deliveries(folder / "deliveries.sqlite")
        self._found: dict[str, EntryPoint] | None = None

    def close(self) -> None:
        self.inotify.close()
        self._deliveries.close()

    def types(self) -> frozenset[str]:
        return frozenset({FILE_CHANGE, WEBHOOK, MANUAL, *self._installed()})

    def make(self, type_: str, *, background: str) -> TriggerSource:
        match type_:
            case "file_change":
                return FileChange(self.inotify, self._clock, self._ids, never=self._never)
            case "webhook":
                return Webhook(self.door, self._deliveries, self._clock, background=background)
            case "manual":
                return Manual()
            case _:
                return _loaded(type_, self._installed())

    def _installed(self) -> Mapping[str, EntryPoint]:
        """Looked up once: what is installed later is there at the next start."""
        if self._found is None:
            self._found = {each.name: each for each in entry_points(group=GROUP)}
        return self._found


def _loaded(type_: str, installed: Mapping[str, EntryPoint]) -> TriggerSource:
    found = installed.get(type_)
    if found is None:
        known = ", ".join(sorted({FILE_CHANGE, WEBHOOK, MANUAL, *installed}))
        raise TriggerProblem("type", f"no installed package has a trigger {type_}; there are {known}")
    try:
        made = found.load()()
    except Exception as error:
        _log.exception("a type of triggers cannot be loaded", type=type_, entry_point=found.value)
        raise TriggerProblem("type", f"{found.value} cannot be loaded: {type(error).__name__}: {error}") from error
    missing = [name for name in METHODS if not callable(getattr(made, name, None))]
    if missing:
        raise TriggerProblem("type", f"{found.value} has no {', '.join(missing)}")
    return made


class StateFolders:
    """The `TriggerFolders` port, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, background_id: str, trigger: int) -> Path:
        return self._folder / background_id / str(trigger)

    async def drop(self, background_id: str) -> None:
        await asyncio.to_thread(_remove, self._folder / background_id)

    async def prune(self, kept: frozenset[str]) -> None:
        await asyncio.to_thread(self._prune, kept)

    def _prune(self, kept: frozenset[str]) -> None:
        if self._folder.is_dir():
            for each in self._folder.iterdir():
                if each.name not in kept:
                    _remove(each)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("what a trigger kept is left on the disk", folder=str(folder), reason=str(error))
