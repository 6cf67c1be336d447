"""What triggers need from the outside: sources, which tell when something happened.

Built-in ones stand in `adapters/triggers`; a package adds a type by the entry point group `agenttower.triggers`: the
name is the trigger's type, the object a class without arguments that has the methods of `TriggerSource`. Timers and
session events have no source: schedules of the broker and the log itself bring them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec


class TriggerProblem(Exception):
    """A trigger cannot work as it is declared. `field` of its config, `reason` for a person to act on."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


Told = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Called with the outcome of a firing once that is recorded, or refused for good."""


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. `data`: JSON; `source`: where, such as a path. `id`: deterministic, for what may be
    told twice (recorded once), None for what is told once. `file_path`, `change_type`: of files.

    `patient`: while the background session has no room the source waits for it, and tells nothing more; otherwise the
    outcome (`tower_busy`) is told.
    """

    source: str
    timestamp: datetime
    data: Mapping[str, Any] = {}
    id: str | None = None
    file_path: str | None = None
    change_type: str | None = None
    after: Told | None = None
    patient: bool = True


class TriggerSource(Protocol):
    """One trigger of one background session. An exception out of `watch` fails the background session, which has a
    restart rule; a new object is made for each start."""

    def configure(self, config: Mapping[str, Any], *, folder: str, state: Path) -> None:
        """Take the config as declared; no I/O that could block. Relative paths are meant from `folder`. `state` is a
        folder of this trigger's own, to be made when needed: it is there again at the next start of the tower, and gone
        once the background session was stopped. Raises `TriggerProblem`."""
        ...

    def watch(self) -> AsyncIterator[Firing]:
        """What happens from here on, in order. The next one is asked for when the outcome of the last one is known."""
        ...

    async def stop(self) -> None:
        """End, promptly; `watch` is cancelled after it. Called once, even after a failure."""
        ...


@runtime_checkable
class Beginning(Protocol):
    """A source that has something to prepare; without this it is taken to watch as soon as it was asked for."""

    async def watching(self) -> None:
        """Returns when nothing that happens from here on is missed."""
        ...


@runtime_checkable
class Described(Protocol):
    """A source that can say how it watches."""

    @property
    def how(self) -> str:
        """A few words, such as `inotify` or `polling every 2 s (nfs4)`."""
        ...


class TriggerSources(Protocol):
    """The types that have a source."""

    def types(self) -> frozenset[str]: ...

    def make(self, type_: str, *, background: str) -> TriggerSource:
        """A new one for the background session of this name. Raises `TriggerProblem` for a type that nobody knows or
        whose code cannot be loaded."""
        ...


class TriggerFolders(Protocol):
    """Where sources keep what they know from one start of the tower to the next. `OSError` is not raised: told in the
    tower's log."""

    def folder(self, background_id: str, trigger: int) -> Path: ...

    async def drop(self, background_id: str) -> None:
        """One that is gone is no error."""
        ...

    async def prune(self, kept: frozenset[str]) -> None:
        """Drop those of all other background sessions."""
        ...


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """An event of another system, such as an issue tracker's. `id`: deterministic, or kept until `after` was called."""

    id: str
    name: str
    data: Mapping[str, Any] = {}
    after: Told | None = None


class EventSource(Protocol):
    """Tells named events, which are recorded as a session's are."""

    def watch(self) -> AsyncIterator[Notice]:
        """As a `TriggerSource` does; what happened while nobody watched comes first."""
        ...

    async def stop(self) -> None: ...
