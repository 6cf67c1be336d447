"""Watches what the triggers of background sessions wait for.

Listens to `background.starting`, `background.failed` and `background.stopped`; sends `background.record_running` when
all triggers of one are watched, `trigger.record_fired` for what happens, `background.record_failed` when a watch ends
with an exception (its restart is decided with that). Session and issue events are routed by decisions, timers tick by
`ticking.py`. What is watched follows from the state: a start takes up all that starts or runs.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from typing import Final

import structlog

from domain.background import commands as c
from domain.background import events as e
from domain.background.definition import ROUTED, TIMER
from domain.background.events import BackgroundState
from domain.background.firing import trigger_id
from domain.background.state import Background
from domain.envelope import Recorded
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.trigger_ports import (
    Beginning,
    Described,
    Firing,
    TriggerFolders,
    TriggerProblem,
    TriggerSource,
    TriggerSources,
)

STOP_S: Final = 0.8
"""How long a watch may take to end; one that does not is left behind."""

WATCHED: Final = frozenset({BackgroundState.STARTING, BackgroundState.RUNNING})
INVALID: Final = "trigger_invalid"
"""Type of the error of a trigger that cannot work as it is declared."""

MESSAGE_CHARACTERS: Final = 1000

_log = structlog.get_logger(__name__)


class Watch:
    """What is watched for one background session; `sources` by the place of the trigger."""

    def __init__(self, there: Background) -> None:
        self.there = there
        self.sources: dict[int, TriggerSource] = {}
        self.task: asyncio.Task[None] | None = None
        self.room = asyncio.Event()


class Triggering:
    """Observer of the writer. `instance` makes the command ids of one start of the tower; `folder`: where relative
    paths begin that no declaration says."""

    def __init__(
        self,
        *,
        sources: TriggerSources,
        folders: TriggerFolders,
        follow_ups: FollowUps,
        instance: str,
        folder: str,
    ) -> None:
        self._sources = sources
        self._folders = folders
        self._follow_ups = follow_ups
        self._instance = instance
        self._folder = folder
        self._state = Tower()
        self._group: asyncio.TaskGroup | None = None
        self._watches: dict[str, Watch] = {}
        self._wanted: dict[str, Background | None] = {}
        self._tending: set[str] = set()
        self._dropped: set[str] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._asked = 0

    @property
    def watching(self) -> int:
        """Background sessions whose triggers are watched."""
        return len(self._watches)

    def how(self, background_id: str) -> dict[int, str]:
        """How each trigger is watched that can say so, by its place."""
        watch = self._watches.get(background_id)
        sources = {} if watch is None else watch.sources
        return {place: source.how for place, source in sources.items() if isinstance(source, Described)}

    def start(self, state: Tower) -> None:
        self._state = state
        for there in sorted(state.backgrounds.known.values(), key=lambda each: each.number):
            if there.state in WATCHED:
                self._want(there.background_id, there)

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        for record in recorded:
            match record.event:
                case e.BackgroundStarting(background_id=background_id):
                    self._want(background_id, state.backgrounds.known.get(background_id))
                case e.BackgroundFailed(background_id=background_id):
                    self._want(background_id, None)
                case e.BackgroundStopped(background_id=background_id):
                    # What happens from now on until it starts again is nobody's.
                    self._dropped.add(background_id)
                    self._want(background_id, None)
                case e.BackgroundEvent(background_id=background_id) | e.TriggerEvent(background_id=background_id):
                    watch = self._watches.get(background_id)
                    if watch is not None:
                        watch.room.set()
                case _:
                    pass

    async def run(self) -> None:
        known = self._state.backgrounds.known.values()
        await self._folders.prune(frozenset(each.background_id for each in known if each.listens))
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for background_id in list(self._wanted):
                    self._tend_to(background_id)
                await asyncio.Event().wait()
        finally:
            self._group = None
            await asyncio.gather(*(self._end(watch) for watch in list(self._watches.values())))

    def _want(self, background_id: str, there: Background | None) -> None:
        self._wanted[background_id] = there
        self._tend_to(background_id)

    def _tend_to(self, background_id: str) -> None:
        if self._group is not None and background_id not in self._tending:
            self._tending.add(background_id)
            self._group.create_task(self._tend(background_id))

    async def _tend(self, background_id: str) -> None:
        """End what is watched, watch what is wanted; one after the other, and the latest wish only."""
        try:
            while background_id in self._wanted:
                there = self._wanted.pop(background_id)
                watch = self._watches.get(background_id)
                if watch is not None:
                    await self._end(watch)
                if background_id in self._dropped:
                    self._dropped.discard(background_id)
                    await self._folders.drop(background_id)
                if there is not None and background_id not in self._wanted:
                    self._begin(there)
        finally:
            self._tending.discard(background_id)

    # --- one background session ------------------------------------------------------------------------------------

    def _begin(self, there: Background) -> None:
        watch = self._watches[there.background_id] = Watch(there)
        # Not of the group: one that does not end must not keep the tower from ending.
        watch.task = asyncio.create_task(self._watch(watch), name=f"triggers of {there.background_id}")

    async def _end(self, watch: Watch) -> None:
        """Promptly: whoever does not end is left behind."""
        if self._watches.get(watch.there.background_id) is watch:
            del self._watches[watch.there.background_id]
        ending = [asyncio.create_task(self._stop(watch))]
        if watch.task is not None:
            watch.task.cancel()
            ending.append(watch.task)
        self._ending.update(ending)
        for task in ending:
            task.add_done_callback(self._ending.discard)
        _, late = await asyncio.wait(ending, timeout=STOP_S)
        for task in late:
            task.cancel()
        if late:
            _log.warning("a trigger does not end", background_id=watch.there.background_id, after_s=STOP_S)

    async def _stop(self, watch: Watch) -> None:
        sources, watch.sources = watch.sources, {}
        await asyncio.gather(*(_stopped(source) for source in sources.values()))

    async def _watch(self, watch: Watch) -> None:
        there = watch.there
        try:
            self._make(watch)
            async with asyncio.TaskGroup() as group:
                for place, source in watch.sources.items():
                    group.create_task(self._follow(watch, place, source.watch()))
                begun = [source.watching() for source in watch.sources.values() if isinstance(source, Beginning)]
                await asyncio.gather(*begun)
                if there.state is BackgroundState.STARTING:
                    running = c.BackgroundRecordRunning(
                        background_id=there.background_id, definition_digest=there.definition_digest
                    )
                    await self._ask(there.background_id, running)
        except BaseExceptionGroup as errors:
            failures = errors.subgroup(Exception)
            if failures is None:
                raise
            await self._failed(watch, _first(failures))
        except Exception as error:  # noqa: BLE001 (whatever a trigger raises, its restart rule decides)
            await self._failed(watch, error)

    def _make(self, watch: Watch) -> None:
        """Raises `TriggerProblem`."""
        there = watch.there
        for place, trigger in enumerate(there.definition.triggers):
            if trigger.type in ROUTED or trigger.type == TIMER:
                continue
            source = self._sources.make(trigger.type, background=there.name)
            state = self._folders.folder(there.background_id, place)
            source.configure(trigger.config, folder=there.folder or self._folder, state=state)
            watch.sources[place] = source

    async def _follow(self, watch: Watch, place: int, firings: AsyncIterator[Firing]) -> None:
        async for firing in firings:
            await self._tell(watch, place, firing)

    async def _tell(self, watch: Watch, place: int, firing: Firing) -> None:
        """Until it is recorded or refused for good; what is told again has the same ids."""
        there = watch.there
        background_id, timestamp = there.background_id, firing.timestamp
        fired = None if firing.id is None else trigger_id("watched", background_id, place, firing.id)
        request = c.TriggerRecordFired(
            background_id=background_id,
            trigger=place,
            type=there.definition.triggers[place].type,
            source=firing.source,
            timestamp=timestamp if timestamp.tzinfo is not None else timestamp.replace(tzinfo=UTC),
            data=firing.data,
            trigger_id=fired,
            file_path=firing.file_path,
            change_type=firing.change_type,
        )
        step = f"fired:{fired or self._next()}"
        while True:
            watch.room.clear()
            outcome = await self._follow_ups.ask(background_id, step, request)
            if outcome["status"] == "accepted" or outcome["error"]["code"] != "tower_busy" or not firing.patient:
                break
            await watch.room.wait()
        if outcome["status"] != "accepted":
            error = outcome["error"]
            _log.warning(
                "a firing is not recorded", background_id=background_id, trigger=place, reason=error["message"]
            )
        if firing.after is not None:
            await firing.after(outcome)

    async def _failed(self, watch: Watch, error: BaseException) -> None:
        there = watch.there
        await self._stop(watch)
        wrong = isinstance(error, TriggerProblem)
        error_type = INVALID if wrong else type(error).__name__
        exc_info = None if wrong else error
        _log.warning("a trigger failed", background_id=there.background_id, error=str(error), exc_info=exc_info)
        told = c.BackgroundRecordFailed(
            background_id=there.background_id,
            definition_digest=there.definition_digest,
            error=str(error)[:MESSAGE_CHARACTERS] or error_type,
            error_type=error_type,
        )
        await self._ask(there.background_id, told)

    async def _ask(self, background_id: str, request: c.Reported) -> None:
        await self._follow_ups.ask(self._instance, self._next(), request, because_of=background_id)

    def _next(self) -> str:
        self._asked += 1
        return f"trigger:{self._instance}:{self._asked}"


async def _stopped(source: TriggerSource) -> None:
    try:
        await source.stop()
    except Exception as error:  # noqa: BLE001 (it is over either way)
        _log.warning("a trigger did not end well", exc_info=error)


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group without an exception")
