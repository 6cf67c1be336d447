"""Keeps bundles prepared, so that a session starts from one without reading a file, and prepares them anew.

Listens to `bundle.reload_requested`, `bundle.overlay_requested`, `session.spawned` and to the files of bundles; sends
`bundle.record_prepared`, `bundle.record_failed`, `bundle.record_overlay`, and `session.record_stale` for sessions that
were spawned from what was before. What serves is in memory; each start prepares it again. Two preparations of one
bundle never overlap: what is wanted meanwhile is done once, after it.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec
import structlog

from domain.bundles import commands as c
from domain.bundles import events as e
from domain.bundles.state import Change
from domain.envelope import Recorded
from domain.sessions.commands import SessionRecordStale
from domain.sessions.events import SessionSpawned
from domain.tower import Tower
from handlers.bundle_ports import BundleProblem, Bundles, FileWatch, Overlays, PreparedBundle
from handlers.effects.follow_ups import FollowUps
from handlers.effects.stale import stale, stale_sessions
from handlers.ports import Clock

DEBOUNCE_S: Final = 0.2
"""Quiet after a change before what changed is read."""

PATIENCE_S: Final = 2.0
"""A bundle that is written all the while is read after this time."""

PREWARM_S: Final = 30.0
"""How long the start of a tower waits for its bundles; what is not prepared by then goes on."""

SOON_S: Final = 0.5
"""How long a decision waits for a bundle that nobody has used."""

MAX_KEPT: Final = 256
"""Bundles in memory, the configured ones besides; beyond, the one that was used longest ago is dropped."""

WEIGHTS: Final[dict[e.Reason, int]] = {"changed": 0, "start": 1, "used": 2, "overlay": 3, "requested": 4}
"""Of several reasons for one preparation the weightiest is told."""

_log = structlog.get_logger(__name__)


class Wanted(msgspec.Struct, kw_only=True):
    """A preparation to come. Times are those of the monotonic clock; `due` is put off by further changes."""

    reason: e.Reason
    since: float
    due: float


class Kept:
    """A bundle in memory. `settled`: a first outcome is there."""

    def __init__(self, uri: str, *, configured: bool) -> None:
        self.uri = uri
        self.configured = configured
        self.prepared: PreparedBundle | None = None
        self.problem: BundleProblem | None = None
        self.coming: PreparedBundle | None = None
        self.wanted: Wanted | None = None
        self.task: asyncio.Task[None] | None = None
        self.settled = asyncio.Event()
        self.waiting: list[asyncio.Future[PreparedBundle]] = []

    @property
    def bundle_id(self) -> str:
        return e.bundle_id(self.uri)


class BundleKeeping:
    """Observer of the writer. `configured`: URIs that are prepared at the start. `instance` makes the command ids of
    one start; `state` gives the state as the writer has it now."""

    def __init__(
        self,
        *,
        bundles: Bundles,
        overlays: Overlays,
        files: FileWatch,
        follow_ups: FollowUps,
        clock: Clock,
        instance: str,
        configured: Sequence[str],
        state: Callable[[], Tower],
        debounce_s: float = DEBOUNCE_S,
    ) -> None:
        self._bundles = bundles
        self._overlays = overlays
        self._files = files
        self._follow_ups = follow_ups
        self._clock = clock
        self._instance = instance
        self._configured = tuple(configured)
        self._state = state
        self._debounce_s = debounce_s
        self._kept: dict[str, Kept] = {}
        self._group: asyncio.TaskGroup | None = None
        self._records = 0

    # --- what serves -----------------------------------------------------------------------------------------------

    @property
    def working(self) -> int:
        """Bundles that are being prepared."""
        return sum(kept.task is not None for kept in self._kept.values())

    def serving(self, text: str) -> PreparedBundle | None:
        """What serves by this URI, name or id; reads no file."""
        kept = self._find(text)
        return None if kept is None else kept.prepared

    def prepared(self) -> Iterator[PreparedBundle]:
        """Everything that serves."""
        return (kept.prepared for kept in self._kept.values() if kept.prepared is not None)

    async def find(self, reference: str, within_s: float = SOON_S) -> PreparedBundle | None:
        """What serves by this URI, name or id; else what can be prepared in this time, and is kept and watched from
        then on. None if it takes longer: it goes on, so ask again. Raises `BundleProblem`."""
        kept = self._find(reference) or self._keep(self._bundles.absolute(reference), configured=False)
        if kept.prepared is not None:
            # The last one used is the last to be dropped.
            self._kept[kept.bundle_id] = self._kept.pop(kept.bundle_id)
            return kept.prepared
        future: asyncio.Future[PreparedBundle] = asyncio.get_running_loop().create_future()
        kept.waiting.append(future)
        self._want(kept, "used", 0)
        done, _ = await asyncio.wait([future], timeout=within_s)
        return future.result() if done else None

    async def prewarmed(self, within_s: float = PREWARM_S) -> None:
        """Until each configured bundle serves or has failed, or the time is over."""
        configured = [kept for kept in self._kept.values() if kept.configured]
        try:
            async with asyncio.timeout(within_s):
                for kept in configured:
                    await kept.settled.wait()
        except TimeoutError:
            late = [kept.uri for kept in configured if not kept.settled.is_set()]
            _log.warning("bundles are not prepared yet", bundles=late, after_s=within_s)

    # --- what is to be done ----------------------------------------------------------------------------------------

    def start(self, state: Tower) -> None:
        """Prepare the configured bundles and those that served before; take up what was asked for."""
        for uri in self._configured:
            self._want(self._keep(self._bundles.absolute(uri), configured=True), "start", 0)
        for known in sorted(state.bundles.known.values(), key=lambda known: known.order)[-MAX_KEPT:]:
            if known.digest is not None:
                self._want(self._keep(known.uri, configured=False), "start", 0)
        for bundle_id in state.bundles.reloads.values():
            self._asked(bundle_id, "requested")
        for change in state.bundles.changes.values():
            self._asked(change.bundle_id, "overlay")
        self._mark(stale_sessions(state))

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        for record in recorded:
            match record.event:
                case e.BundleReloadRequested(bundle_id=bundle_id):
                    self._asked(bundle_id, "requested")
                case e.BundleOverlayRequested(bundle_id=bundle_id):
                    self._asked(bundle_id, "overlay")
                case e.BundlePrepared(bundle_id=bundle_id, digest=digest):
                    self._swap(bundle_id, digest)
                case e.BundleReloaded(bundle_id=bundle_id, to=digest):
                    self._swap(bundle_id, digest)
                    self._mark(stale_sessions(state))
                case SessionSpawned(session_id=session_id) if session_id in state.sessions.known:
                    # Decided while its bundle was reloaded.
                    told = stale(state.sessions.known[session_id], state)
                    self._mark(() if told is None else (told,))
                case _:
                    pass

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for kept in self._kept.values():
                    self._go(kept)
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            self._files.close()

    def _find(self, text: str) -> Kept | None:
        """The configured one first, then the one that serves."""
        kept = self._kept.get(text) or self._kept.get(e.bundle_id(self._bundles.absolute(text)))
        if kept is not None:
            return kept
        named = [each for each in self._kept.values() if each.prepared is not None and each.prepared.name == text]
        return min(named, key=lambda each: not each.configured, default=None)

    def _keep(self, uri: str, *, configured: bool) -> Kept:
        kept = self._kept.get(e.bundle_id(uri))
        if kept is None:
            self._make_room()
            kept = self._kept[e.bundle_id(uri)] = Kept(uri, configured=configured)
        return kept

    def _make_room(self) -> None:
        others = [kept for kept in self._kept.values() if not kept.configured and kept.task is None]
        if len(others) >= MAX_KEPT:
            self._drop(others[0])

    def _drop(self, kept: Kept) -> None:
        self._kept.pop(kept.bundle_id, None)
        if self._group is not None:
            self._group.create_task(self._files.watch(kept.bundle_id, (), self._clock.now(), self._changed))

    def _asked(self, bundle_id: str, reason: e.Reason) -> None:
        known = self._state().bundles.known.get(bundle_id)
        kept = self._kept.get(bundle_id) or (None if known is None else self._keep(known.uri, configured=False))
        if kept is not None:
            self._want(kept, reason, 0)

    def _changed(self, bundle_id: str) -> None:
        """A file of it, on disk."""
        kept = self._kept.get(bundle_id)
        if kept is not None:
            self._want(kept, "changed", self._debounce_s)

    def _want(self, kept: Kept, reason: e.Reason, delay_s: float) -> None:
        now = self._clock.monotonic()
        if kept.wanted is None:
            kept.wanted = Wanted(reason=reason, since=now, due=now + delay_s)
        else:
            wanted = kept.wanted
            wanted.due = min(now + delay_s, wanted.since + PATIENCE_S)
            wanted.reason = max(wanted.reason, reason, key=lambda each: WEIGHTS[each])
        self._go(kept)

    def _go(self, kept: Kept) -> None:
        if kept.task is None and kept.wanted is not None and self._group is not None:
            kept.task = self._group.create_task(self._work(kept), name=f"bundle {kept.uri}")

    def _swap(self, bundle_id: str, digest: str) -> None:
        """At the very event, so that whoever reads it and spawns has the new one."""
        kept = self._kept.get(bundle_id)
        if kept is not None and kept.coming is not None and kept.coming.digest == digest:
            kept.prepared = kept.coming

    def _mark(self, outdated: Iterable[SessionRecordStale]) -> None:
        for told in outdated:
            self._follow_ups.send(told.session_id, f"stale:{told.to_digest}", told)

    # --- doing it --------------------------------------------------------------------------------------------------

    async def _work(self, kept: Kept) -> None:
        """All that is wanted of one bundle, one thing at a time."""
        try:
            while kept.wanted is not None:
                while (rest_s := kept.wanted.due - self._clock.monotonic()) > 0:
                    await self._clock.sleep(rest_s)
                wanted, kept.wanted = kept.wanted, None
                for change in self._state().bundles.changes_of(kept.bundle_id):
                    await self._change(kept, change)
                await self._renew(kept, wanted.reason)
        finally:
            kept.task = None

    async def _renew(self, kept: Kept, reason: e.Reason) -> None:
        """Prepare, and serve that if it succeeds."""
        # What is asked for from here on is not answered by this.
        reload_ids = self._state().bundles.reloads_of(kept.bundle_id)
        since, begun = self._clock.now(), self._clock.monotonic()
        try:
            made = await self._prepare(kept, fresh=reason != "changed")
        except BundleProblem as problem:
            await self._failed(kept, problem, reason, reload_ids, self._clock.monotonic() - begun)
            old = watched(kept.prepared) if kept.prepared is not None else ()
            if kept.bundle_id in self._kept:
                await self._files.watch(kept.bundle_id, (*problem.files, *old), since, self._changed)
            return
        self._known_as(kept, made.uri)
        kept.coming = made
        if kept.prepared is None:
            # A decision may wait for it, and nothing is recorded until it is made.
            kept.prepared = made
            self._settle(kept, made)
        await self._record(kept.bundle_id, _found(made, reason, reload_ids), asked=bool(reload_ids))
        kept.prepared, kept.coming, kept.problem = made, None, None
        kept.settled.set()
        await self._files.watch(kept.bundle_id, watched(made), since, self._changed)

    async def _prepare(self, kept: Kept, *, fresh: bool, overlay: Sequence[str] | None = None) -> PreparedBundle:
        try:
            return await self._bundles.prepare(kept.uri, overlay=overlay, fresh=fresh)
        except BundleProblem:
            raise
        except Exception as error:
            # One bad bundle must not end the tower, nor leave open for ever what was asked.
            _log.exception("a bundle cannot be prepared", bundle=kept.uri)
            details = {"file": kept.uri, "line": None, "field": "", "expected": "a bundle"}
            raise BundleProblem("bundle_invalid", f"{kept.uri}: {type(error).__name__}", details) from error

    async def _failed(
        self, kept: Kept, problem: BundleProblem, reason: e.Reason, reload_ids: tuple[str, ...], took_s: float
    ) -> None:
        kept.problem = problem
        self._settle(kept, problem)
        _log.warning("a bundle cannot be prepared", bundle=kept.uri, reason=problem.message)
        known = self._state().bundles.known.get(kept.bundle_id)
        if reason == "used" and known is None and not kept.configured:
            # Only who wanted it is told; nobody configured it.
            self._drop(kept)
        else:
            request = c.BundleRecordFailed(
                uri=kept.uri,
                code=problem.code,
                message=problem.message,
                details=problem.details,
                reason=reason,
                serving=kept.prepared is not None,
                prepare_s=took_s,
                reload_ids=reload_ids,
            )
            await self._record(kept.bundle_id, request, asked=bool(reload_ids))
        kept.settled.set()

    async def _change(self, kept: Kept, change: Change) -> None:
        """Write an overlay, if the bundle can be prepared with it. Once more after a crash, it changes nothing."""
        include = self._bundles.absolute(change.include)
        try:
            before = await self._overlays.includes(change.name)
            after = tuple(each for each in before if each not in (include, change.include))
            if change.action == "add":
                after = before if include in before else (*before, include)
            await self._prepare(kept, fresh=True, overlay=after)
            if after != before:
                await self._overlays.write(change.name, after)
            told = c.BundleRecordOverlay(change_id=change.change_id, includes=after)
        except BundleProblem as problem:
            told = c.BundleRecordOverlay(change_id=change.change_id, code=problem.code, message=problem.message)
        except OSError as error:
            told = c.BundleRecordOverlay(
                change_id=change.change_id, code="temporarily_unavailable", message=f"not written: {error}"
            )
        await self._record(kept.bundle_id, told, asked=True)

    async def _record(self, bundle_id: str, request: c.BundleRequest, *, asked: bool) -> None:
        self._records += 1
        because_of = bundle_id if asked else None
        outcome = await self._follow_ups.ask(self._instance, f"bundle:{self._records}", request, because_of=because_of)
        if outcome["status"] != "accepted":
            _log.error("what became of a bundle is not recorded", bundle_id=bundle_id, code=outcome["error"]["code"])

    def _known_as(self, kept: Kept, uri: str) -> None:
        """A name has led to a bundle, which is known by its URI from now on."""
        if uri != kept.uri:
            self._kept.pop(kept.bundle_id, None)
            kept.uri = uri
            self._kept.setdefault(kept.bundle_id, kept)

    def _settle(self, kept: Kept, outcome: PreparedBundle | BundleProblem) -> None:
        """Tell those who wait."""
        waiting, kept.waiting = kept.waiting, []
        for future in waiting:
            if future.done():
                continue
            if isinstance(outcome, PreparedBundle):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)
                # Whoever waited may be gone.
                future.exception()


def watched(made: PreparedBundle) -> tuple[str, ...]:
    """Files a change of which may change it."""
    return (*made.files, *made.looked_for)


def _found(made: PreparedBundle, reason: e.Reason, reload_ids: tuple[str, ...]) -> c.BundleRecordPrepared:
    return c.BundleRecordPrepared(
        uri=made.uri,
        name=made.name,
        version=made.version,
        description=made.description,
        digest=made.digest,
        reason=reason,
        files=len(made.files),
        warnings=made.warnings,
        load_s=made.load_s,
        prepare_s=made.prepare_s,
        reload_ids=reload_ids,
    )
