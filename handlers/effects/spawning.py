"""Creates panes in tmux, removes them, and gives texts to send their turn.

Listens to `layout.created`, `pane.created` (of a recreation), `pane.removed` and `pane.send_requested`; sends the
`pane.record_*`, `pane.register` and `pane.fail` commands, those of a text by `sending.py`. One worker a container does
its jobs one after another in order of acceptance, containers run beside each other; the settle time of a launch holds
no worker up.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from domain.envelope import Recorded
from domain.layouts import commands as c
from domain.layouts import events as e
from domain.layouts.state import Layouts, Pane, Stage
from domain.messages import Event
from domain.sends import PaneSendRequested, Sends
from domain.tower import Tower
from handlers.effects.follow_ups import FollowUps
from handlers.effects.retrying import with_retries
from handlers.effects.sending import Sending
from handlers.effects.stages import Stages, reason_of, seen_panes
from handlers.ports import Clock, Terminal, TerminalError, Terminals

_log = structlog.get_logger(__name__)


class Create(msgspec.Struct, frozen=True):
    """Make these panes of a layout."""

    container_id: str
    layout_id: str
    pane_ids: tuple[str, ...]


class Finish(msgspec.Struct, frozen=True):
    """Their settle time is over, or was before a restart."""

    container_id: str
    pane_ids: tuple[str, ...]
    elapsed_ms: int


class Clean(msgspec.Struct, frozen=True):
    """Kill what a removed pane left."""

    container_id: str
    pane_id: str


class Type(msgspec.Struct, frozen=True):
    """Send a text to a pane."""

    container_id: str
    send_id: str


NO_SENDS: Final = Sends()

Job = Create | Finish | Clean | Type


def job_for(event: Event, layouts: Layouts) -> Job | None:
    """The job that an event asks for; None for most events."""
    match event:
        case e.LayoutCreated() as created:
            return Create(created.container_id, created.layout_id, tuple(pane.pane_id for pane in created.panes))
        case e.PaneCreated(predecessor_id=str()) as created:
            return Create(created.container_id, created.layout_id, (created.pane_id,))
        case e.PaneRemoved() as removed:
            return Clean(layouts.panes[removed.pane_id].container_id, removed.pane_id)
        case PaneSendRequested() as requested:
            return Type(layouts.panes[requested.pane_id].container_id, requested.send_id)
        case _:
            return None


def open_jobs(layouts: Layouts, sends: Sends = NO_SENDS) -> tuple[Job, ...]:
    """What was open when the tower ended: every pane still being created, from its first stage not done, and every
    text without an end."""
    jobs: list[Job] = []
    for layout_id in sorted(layouts.open_layouts):
        pending = [pane for pane in layouts.panes_of(layout_id) if pane.live and pane.marker is not None]
        container_id = layouts.layouts[layout_id].container_id
        unmade = tuple(pane.pane_id for pane in pending if pane.next_stage is Stage.PANE_CREATE)
        made = tuple(pane.pane_id for pane in pending if pane.next_stage is not Stage.PANE_CREATE)
        if unmade:
            jobs.append(Create(container_id, layout_id, unmade))
        if made:
            jobs.append(Finish(container_id, made, 0))
    texts = (Type(layouts.panes[send.pane_id].container_id, send.send_id) for send in sends.in_order())
    return (*jobs, *texts)


class Spawning:
    """Observer of the writer. `start` with the state after recovery, then `run` owns the workers until cancelled."""

    def __init__(
        self,
        *,
        terminals: Terminals,
        stages: Stages,
        sending: Sending,
        follow_ups: FollowUps,
        clock: Clock,
        launch_settle_s: float,
    ) -> None:
        self._terminals = terminals
        self._stages = stages
        self._sending = sending
        self._follow_ups = follow_ups
        self._clock = clock
        self._launch_settle_s = launch_settle_s
        self._state = Tower()
        self._waiting: dict[str, asyncio.Queue[Job]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._jobs_open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def jobs_open(self) -> int:
        """Jobs waiting or under way, settle times included."""
        return self._jobs_open

    async def idle(self) -> None:
        """Until no job is open."""
        await self._idle.wait()

    def start(self, state: Tower) -> None:
        """Take the jobs that were open; from here on events are followed."""
        self._state = state
        for job in open_jobs(state.layouts, state.sends):
            self._put(job)

    def committed(self, recorded: Sequence[Recorded], state: Tower) -> None:
        self._state = state
        for record in recorded:
            job = job_for(record.event, state.layouts)
            if job is not None:
                self._put(job)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            for container_id in self._waiting:
                group.create_task(self._work(container_id))
            await asyncio.Event().wait()

    def _opened(self) -> None:
        self._jobs_open += 1
        self._idle.clear()

    def _closed(self) -> None:
        self._jobs_open -= 1
        if self._jobs_open == 0:
            self._idle.set()

    def _put(self, job: Job) -> None:
        self._opened()
        queue = self._waiting.get(job.container_id)
        if queue is None:
            queue = self._waiting[job.container_id] = asyncio.Queue()
            if self._group is not None:
                self._group.create_task(self._work(job.container_id))
        queue.put_nowait(job)

    async def _work(self, container_id: str) -> None:
        queue = self._waiting[container_id]
        while True:
            job = await queue.get()
            try:
                await self._perform(job)
            except Exception:  # noqa: BLE001 (one bad job must not end the worker; the sweep fails its panes)
                _log.exception("job failed", job=type(job).__name__, container_id=container_id)
            finally:
                self._closed()

    async def _perform(self, job: Job) -> None:
        gone = job.container_id not in self._state.containers.known
        if isinstance(job, Type):
            send = self._state.sends.open.get(job.send_id)
            if send is not None:
                await self._sending.perform(None if gone else job.container_id, send)
            return
        if gone:
            # For good: its panes failed with it, and nothing is left to clean.
            return
        terminal = self._terminals.of(job.container_id)
        match job:
            case Create():
                await self._create(terminal, job)
            case Finish():
                await self._stages.finish(terminal, self._pending(job.pane_ids), job.elapsed_ms)
            case Clean():
                await self._clean(terminal, job.pane_id)

    async def _create(self, terminal: Terminal, job: Create) -> None:
        state = self._state
        layouts = state.layouts
        panes = [pane for pane in self._pending(job.pane_ids) if pane.next_stage is Stage.PANE_CREATE]
        if not panes:
            return
        await self._stages.create(terminal, layouts.layouts[job.layout_id], panes, state)
        if self._group is not None:
            self._opened()
            self._group.create_task(self._settle(job))

    async def _settle(self, job: Create) -> None:
        started = self._clock.monotonic()
        await self._clock.sleep(self._launch_settle_s)
        elapsed_ms = round((self._clock.monotonic() - started) * 1000)
        self._put(Finish(job.container_id, job.pane_ids, elapsed_ms))
        self._closed()

    def _pending(self, pane_ids: Sequence[str]) -> list[Pane]:
        """Those still in the pipeline, as the state has them now."""
        panes = (self._state.layouts.panes[pane_id] for pane_id in pane_ids)
        return [pane for pane in panes if pane.live and pane.marker is not None]

    async def _clean(self, terminal: Terminal, pane_id: str) -> None:
        """Kill the pane wherever it stands now; gone is success, and a failure does not fail the removal."""

        async def kill() -> None:
            for seen in await seen_panes(terminal):
                if seen.pane_id == pane_id:
                    await terminal.kill_pane(seen.tmux_pane_id, pane_id)

        try:
            await with_retries(kill, self._clock)
        except TerminalError as error:
            failed = c.PaneRecordCleanupFailed(pane_id=pane_id, reason=reason_of(error))
            self._follow_ups.send(pane_id, "cleanup_failed", failed)
