"""The projector: follows the log and brings every projection up to it, each in transactions of its own.

An event that a projection cannot take stops that projection alone. Trouble with the database or the log is waited out.
The database is asked where it stands whenever following begins, so that one restored from a backup just goes on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from domain.envelope import Stored, foreign
from projections import standing
from projections.advance import Poison, advance
from projections.ports import Database, DatabaseTrouble, Source, closing
from projections.progress import Progress, Stop
from projections.projection import Batch, Projection, Rewound, apply_together, fingerprint
from projections.rebuild import OnProgress, RebuildFailed, RebuildOvertaken, rebuild
from projections.registry import PROJECTIONS
from projections.standing import Standing

FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 5.0

PACE_S: Final = 0.02
"""Time from one transaction to the next while there is little to apply: a stream of single events shares them."""

MUCH: Final = 32
BUSY_PACE_S: Final = 0.15
"""The same after a transaction of so many events: rows that change again at once are written once, and the processor
is left to those who make the events."""

LITTLE: Final = 250
"""Events of a batch; more say that there is a backlog, which is worked off at full speed."""

LOOK_S: Final = 2.0
"""How often it is looked whether a projection that is stopped was rebuilt by another process."""

_log = structlog.get_logger("projections")


class Projector:
    """Call `prepare` once, then have `run` owned by a task group. `progress` tells how far each projection is."""

    def __init__(self, database: Database, source: Source, projections: Sequence[Projection] = PROJECTIONS) -> None:
        self._database = database
        self._source = source
        self._projections: Final = {projection.name: projection for projection in projections}
        self.progress: Final = Progress(self._projections)
        self._rebuilding: dict[str, asyncio.Lock] = {name: asyncio.Lock() for name in self._projections}
        self._following: asyncio.Timeout | None = None
        self._generations: dict[str, int] = {}
        self._retry_s = FIRST_RETRY_S

    async def prepare(self) -> None:
        """Makes the tables, so that queries can be answered. Raises `DatabaseTrouble`."""
        await self._stand()

    async def run(self) -> None:
        """Endless; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            stale = [name for name, found in (await self._patiently_stand()).items() if not found.current]
            for name in stale:
                group.create_task(self._rebuild_stale(name), name=f"rebuild {name}")
            group.create_task(self._look_for_rebuilt(), name="rebuilt elsewhere")
            group.create_task(self._follow_for_ever(), name="projector")

    async def rebuild(self, name: str, on_progress: OnProgress | None = None) -> None:
        """Build one projection anew while the old tables serve; `KeyError` for an unknown name, else as `rebuild`."""
        async with self._rebuilding[name]:
            await rebuild(self._database, self._source, self._projections[name], on_progress)
        _log.info("projection rebuilt", projection=name)
        await self._stand()
        self._begin_again()

    # --- following -------------------------------------------------------------------------------------------------

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow_until_told()
            except Rewound as rewound:
                _log.warning("database was set back", reason=str(rewound))
            except DatabaseTrouble as trouble:
                await self._wait_out(f"database: {trouble}")
            except Exception as error:  # noqa: BLE001 - the log fails in ways of its own, which must not end the tower
                _log.warning("reading the log failed", exc_info=error)
                await self._wait_out(f"log: {error}")

    async def _follow_until_told(self) -> None:
        """Ends when `_begin_again` is called."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._following = scope
                await self._follow()
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._following = None

    async def _follow(self) -> None:
        running = await self._sound(await self._stand())
        if not running:
            await asyncio.Event().wait()
        after = min(self.progress[name].position for name in running)
        async with closing(self._source.follow(after)) as batches:
            async for stored in batches:
                _name_foreign(stored)
                batch, started = Batch(stored), asyncio.get_running_loop().time()
                if not await self._apply_together(running, batch):
                    for name in tuple(running):
                        if not await self._apply(name, batch):
                            running.remove(name)
                self.progress.changes.applied(stored)
                self._retry_s = FIRST_RETRY_S
                if len(stored) < LITTLE:
                    pace_s = BUSY_PACE_S if len(stored) >= MUCH else PACE_S
                    await _pass(started + pace_s - asyncio.get_running_loop().time())

    async def _apply_together(self, names: Sequence[str], batch: Batch) -> bool:
        """In one transaction; False when nothing was applied, because they stand apart or one cannot take an event."""
        if any(self.progress[name].position != batch.first - 1 for name in names):
            return False
        projections = [self._projections[name] for name in names]
        try:
            await self._database.write(partial(apply_together, projections=projections, batch=batch))
        except (Rewound, DatabaseTrouble):
            raise
        except Exception:  # noqa: BLE001 - each for itself, they find out whose event it is
            return False
        for name in names:
            self.progress.moved(name, batch.last)
        return True

    async def _apply(self, name: str, batch: Batch) -> bool:
        """False when the projection has stopped."""
        position = self.progress[name].position
        part = batch.after(position)
        if part is None:
            return True
        if part.first > position + 1:
            reason = (
                f"the log holds nothing from position {position + 1} to {part.first - 1} (pruned): restore the "
                "database from a backup that reaches it"
            )
            await self._stop(name, Stop(reason, part.stored[0].subject, part.first))
            return False
        try:
            self.progress.moved(name, await advance(self._database, self._projections[name], "", part, position))
        except Poison as poison:
            self.progress.moved(name, poison.position - 1)
            await self._stop(name, Stop(poison.reason, poison.event, poison.position))
            return False
        return True

    async def _stop(self, name: str, stop: Stop) -> None:
        self.progress.stopped(name, stop)
        _log.error(
            "projection stopped; its read model stays as it is, the others go on",
            projection=name,
            position=stop.position,
            event_id=stop.event,
            reason=stop.reason,
            remedy=f"correct the cause and restart, or run: agenttower projections rebuild {name}",
        )
        await self._database.write(
            partial(standing.record_stop, name=name, reason=stop.reason, event=stop.event, position=stop.position)
        )

    async def _wait_out(self, trouble: str) -> None:
        """Longer each time, until something is applied again."""
        for status in self.progress:
            self.progress.held_up(status.name, trouble)
        _log.warning("projections wait", reason=trouble, retry_s=self._retry_s)
        delay, self._retry_s = self._retry_s, min(self._retry_s * 2, LAST_RETRY_S)
        await _pass(delay)

    def _begin_again(self) -> None:
        """End following and take up the positions of the database anew."""
        if self._following is not None:
            self._following.reschedule(asyncio.get_running_loop().time())

    # --- where they stand ------------------------------------------------------------------------------------------

    async def _stand(self) -> Mapping[str, Standing]:
        found = await self._database.write(partial(standing.prepare, projections=tuple(self._projections.values())))
        for name, one in found.items():
            self.progress.stands(name, one.position, serves=one.readable)
            self._generations[name] = one.generation
            if not one.current:
                self.progress.held_up(name, "its definition changed: it is being rebuilt")
        return found

    async def _patiently_stand(self) -> Mapping[str, Standing]:
        while True:
            try:
                return await self._stand()
            except DatabaseTrouble as trouble:
                await self._wait_out(f"database: {trouble}")

    async def _sound(self, found: Mapping[str, Standing]) -> list[str]:
        """Those that may go on: of today's definition, and filled from this log."""
        last = await self._source.last_position()
        sound: list[str] = []
        for name, one in found.items():
            if not one.current:
                continue
            if one.position and not await self._same_log(one, last):
                reason = (
                    f"position {one.position} of the database is not in this log, which ends at {last}: the database "
                    "belongs to another log, or the log was set back"
                )
                await self._stop(name, Stop(reason, "", 0))
            else:
                sound.append(name)
        return sound

    async def _same_log(self, one: Standing, last: int) -> bool:
        if one.position > last:
            return False
        async with closing(self._source.read(one.position - 1, one.position)) as batches:
            async for batch in batches:
                return all(fingerprint(stored.payload) == one.fingerprint for stored in batch)
        # Pruned: nothing left to compare with.
        return True

    async def _rebuild_stale(self, name: str) -> None:
        def shown(done: int, total: int) -> None:
            self.progress.held_up(name, f"its definition changed: it is being rebuilt, {done} of {total}")

        _log.info("definition of a projection changed: rebuilding it", projection=name)
        while True:
            try:
                return await self.rebuild(name, shown)
            except RebuildOvertaken:
                return self._begin_again()
            except RebuildFailed as failed:
                return await self._stop(name, Stop(str(failed), "", 0))
            except DatabaseTrouble as trouble:
                await self._wait_out(f"database: {trouble}")
            except Exception as error:  # noqa: BLE001 - as in `_follow_for_ever`
                _log.warning("reading the log failed", exc_info=error)
                await self._wait_out(f"log: {error}")

    async def _look_for_rebuilt(self) -> None:
        """What is stopped goes on when somebody else has rebuilt it: `agenttower projections rebuild`, say."""
        while True:
            await _pass(LOOK_S)
            stopped = [status.name for status in self.progress if status.stop is not None]
            if not stopped:
                continue
            try:
                found = await self._database.read(standing.generations)
            except DatabaseTrouble:
                continue
            if any(found.get(name) != self._generations[name] for name in stopped):
                self._begin_again()


def _name_foreign(entries: Sequence[Stored]) -> None:
    for stored in entries:
        if (reason := foreign(stored)) is not None:
            _log.error("foreign entry passed over", position=stored.position, subject=stored.subject, reason=reason)


async def _pass(seconds: float) -> None:
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        return
