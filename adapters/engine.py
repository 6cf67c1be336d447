"""The active half of a tower: writer, effects, recovery and doors, built over one pair of broker connections."""

import asyncio
import contextlib
import os
import socket
from datetime import timedelta
from typing import Final

from adapters.background import TowerBackground
from adapters.background_figures import BackgroundFigures
from adapters.bundles.keeping import keeping_of
from adapters.containers.pane_logs import make_log_folder
from adapters.crashing import armed
from adapters.execution_figures import ExecutionFigures
from adapters.executions import Executions
from adapters.files.launching import FIRST_READ_S, LaunchFiles
from adapters.files.pane_logs import FilePaneLogs
from adapters.files.snapshots import FileSnapshots
from adapters.files.texts import FileTexts
from adapters.files.vault import FileVault
from adapters.http.services import ExecutionStanding, SessionStanding, session_standing
from adapters.http.subscribers import Subscribers
from adapters.machines import bench_of, containers_of, log_folders, terminals_of
from adapters.nats.doors import DurableDoor, PingDoor, Pong, RequestDoor
from adapters.nats.log import JetStreamLog
from adapters.nats.outcomes import InboxOutcomes
from adapters.nats.timers import BrokerTimers
from adapters.parts import Connections, Parts
from adapters.reading import PaneLogReader
from adapters.runtimes.panes import TowerPanes
from adapters.sessions import TowerSessions
from adapters.settings import Settings
from adapters.system import SystemClock, SystemIds
from adapters.telemetry import Metrics, Traces
from adapters.tmux.terminals import TmuxTerminals
from adapters.triggering import TowerTriggers
from domain.containers import ContainerFacts
from domain.executions.state import state_of
from domain.layouts.commands import PaneSweep
from domain.layouts.state import PaneState
from domain.tower import Tower
from handlers.asking import Asker
from handlers.effects import sweeping
from handlers.effects.dues import Dues
from handlers.effects.follow_ups import FollowUps
from handlers.effects.housekeeping import Housekeeping
from handlers.effects.pane_places import PanePlaces
from handlers.effects.restarting import Restarting
from handlers.effects.scanning import Scanning
from handlers.effects.sending import Sending
from handlers.effects.spawning import Spawning
from handlers.effects.stages import Stages
from handlers.effects.sweeping import Sweeping
from handlers.effects.watching import Watching
from handlers.facts import FactFinder
from handlers.inbox import Inbox
from handlers.ports import LogError, Outcomes
from handlers.recovery import Recovery
from handlers.writer import Observer, Writer

STAGES_END_S: Final = 10.0
"""How long a clean stop waits for the stages under way."""

PURGE_INTERVAL_S: Final = 60.0

MEASURE_INTERVAL_S: Final = 5.0
"""Between two measurements of the broker's round trip."""


class Engine:
    """The active half of a tower: writer, effects, doors."""

    def __init__(self, settings: Settings, connections: Connections, metrics: Metrics) -> None:
        clock, ids = armed(SystemClock()), SystemIds()
        self._settings = settings
        node, home = settings.node, settings.home
        self.instance = ids.uuid7()
        self.inbox = Inbox()
        self.log = JetStreamLog(connections.tower, node, store=connections.store)
        self.terminals = terminals_of(settings, self.container)
        log, terminals = armed(self.log), armed(self.terminals)
        self.asker = Asker(self.inbox, ids)
        self._follow_ups = follow_ups = armed(FollowUps(self.inbox))
        self.launching = LaunchFiles(settings.config_dir, clock)
        launching, vault = armed(self.launching), armed(FileVault(home / "private"))
        texts = armed(FileTexts(home / "nodes" / node / "texts"))
        self._clock, self._metrics = clock, metrics
        self._make_layouts(settings, terminals, launching, vault, texts)
        self._make_executions(settings, connections, texts)
        self._make_sessions(settings, ids)
        self.background = TowerBackground(
            settings, follow_ups=follow_ups, clock=clock, instance=self.instance, bundles=self.bundles
        )
        self._make_triggers(settings, ids)
        self._figures = ExecutionFigures(metrics.registry, workers=self.executions.doing, totals=self.executions.totals)
        self.subscribers = Subscribers()
        self._background_figures = BackgroundFigures(metrics.registry, self.subscribers.lags)
        self._effects = (
            self.spawning,
            self._watching,
            self._restarting,
            self._scanning,
            self.executions.executing,
            self.executions.deadlines,
            self.sessions.effect,
            self.bundles,
            *self.background.effects,
            *self.triggers.effects,
        )
        outcomes = armed(InboxOutcomes(connections.answers, node))
        self.writer = armed(
            Writer(
                node=node,
                instance=self.instance,
                log=log,
                inbox=self.inbox,
                outcomes=outcomes,
                facts=FactFinder(
                    ids=ids,
                    launching=launching,
                    terminals=terminals,
                    vault=vault,
                    texts=texts,
                    worker_waits=self.executions.executing.waits,
                    restart_backoff_s=settings.restart_backoff,
                    sessions=self.sessions.facts,
                    max_causation_depth=settings.max_causation_depth,
                ),
                snapshot_store=armed(FileSnapshots(home / "nodes" / node)),
                clock=clock,
                ids=ids,
                observers=(follow_ups, self.terminals, *self._heard, metrics, *self._counting, Traces()),
                meters=(metrics,),
            )
        )
        self._make_recovery(terminals)
        self._make_doors(connections, node, outcomes)
        self._make_sweeping(settings, texts, ids)

    @property
    def _heard(self) -> tuple[Observer, ...]:
        """What follows the log for sessions, and the effects."""
        return (self._panes, self.executions.spawns, *self._effects)

    @property
    def _counting(self) -> tuple[Observer, ...]:
        return (self._figures, self._background_figures)

    def _make_layouts(
        self, settings: Settings, terminals: TmuxTerminals, launching: LaunchFiles, vault: FileVault, texts: FileTexts
    ) -> None:
        """With the containers that they are in."""
        follow_ups, clock = self._follow_ups, self._clock
        places = PanePlaces(home=str(settings.home), known=self.container)
        stages = Stages(follow_ups=follow_ups, clock=clock, launching=launching, vault=vault, places=places)
        self.spawning = armed(
            Spawning(
                terminals=terminals,
                stages=stages,
                sending=Sending(terminals=terminals, follow_ups=follow_ups, clock=clock, texts=texts),
                follow_ups=follow_ups,
                clock=clock,
                launch_settle_s=settings.launch_settle,
            )
        )
        self._watching = Watching(terminals=terminals, follow_ups=follow_ups, clock=clock)
        self._restarting = Restarting(follow_ups=follow_ups, clock=clock)
        self._scanning = armed(
            Scanning(
                engine=armed(containers_of(settings, self.container)),
                terminals=terminals,
                follow_ups=follow_ups,
                instance=self.instance,
                state=self._state,
            )
        )

    def _make_executions(self, settings: Settings, connections: Connections, texts: FileTexts) -> None:
        self._timers = armed(BrokerTimers(connections.tower, settings.node))
        self.logs = PaneLogReader(
            folders=log_folders(settings),
            bench=bench_of(settings),
            container_cli=settings.container_cli,
            known=self.container,
            removed=self.is_removed,
        )
        self._panes = TowerPanes(
            follow_ups=self._follow_ups,
            follow=lambda pane: self.logs.read(pane, 0, follow=True),
            state=self._state,
        )
        self.executions = Executions(
            settings,
            connections.tower,
            follow_ups=self._follow_ups,
            clock=self._clock,
            texts=texts,
            timers=self._timers,
            panes=self._panes,
            state=self._state,
        )

    def _make_sessions(self, settings: Settings, ids: SystemIds) -> None:
        """With the bundles that they are spawned from."""
        self.bundles = keeping_of(
            settings,
            follow_ups=self._follow_ups,
            clock=self._clock,
            instance=self.instance,
            state=self._state,
        )
        self.sessions = TowerSessions(
            folder=settings.home / "nodes" / settings.node / "transcripts",
            runtimes=armed(self.executions.runtimes),
            output=armed(self.executions.output),
            blobs=armed(self.executions.blobs),
            follow_ups=self._follow_ups,
            clock=self._clock,
            ids=ids,
            state=self._state,
            bundles=self.bundles,
        )

    def _make_triggers(self, settings: Settings, ids: SystemIds) -> None:
        self.triggers = TowerTriggers(
            settings,
            follow_ups=self._follow_ups,
            clock=self._clock,
            ids=ids,
            timers=self._timers,
            instance=self.instance,
            metrics=self._metrics.registry,
        )

    def _make_recovery(self, terminals: TmuxTerminals) -> None:
        self._recovery = armed(
            Recovery(
                terminals=terminals,
                follow_ups=self._follow_ups,
                clock=self._clock,
                instance=self.instance,
                state=self._state,
            )
        )

    def _make_sweeping(self, settings: Settings, texts: FileTexts, ids: SystemIds) -> None:
        logs = armed(FilePaneLogs(log_folders(settings), kept=timedelta(days=settings.pane_log_days)))
        blobs = armed(self.executions.blobs)
        housekeeping = Housekeeping(texts=texts, logs=logs, blobs=blobs, clock=self._clock, state=self._state)
        self._sweeping = Sweeping(
            timers=self._timers, inbox=self.inbox, ids=ids, clock=self._clock, housekeeping=housekeeping
        )
        deadlines, ticking = self.executions.deadlines, self.triggers.ticking
        takers = {sweeping.NAME: self._sweeping.take, **deadlines.takers, **ticking.takers}
        self._dues = Dues(timers=self._timers, takers=takers)

    def _make_doors(self, connections: Connections, node: str, outcomes: Outcomes) -> None:
        """What connects the parts to the broker and to the metrics."""
        self._metrics.follow_effect("executing", lambda: self.executions.executing.under_way)
        self._metrics.follow_effect("bundles", lambda: self.bundles.working)
        self._metrics.follow_effect("sessions", lambda: self.sessions.effect.under_way)
        self._metrics.follow_effect("background", lambda: self.background.runs.under_way)
        self._metrics.follow_effect("deadlines", lambda: self.executions.deadlines.waiting)
        self._metrics.follow_effect("triggering", lambda: self.triggers.triggering.watching)
        self._metrics.follow_effect("ticking", lambda: self.triggers.ticking.waiting)
        self._metrics.follow_effect("spawning", lambda: self.spawning.jobs_open)
        self._metrics.follow_effect("scanning", lambda: self._scanning.scans_open)
        self._metrics.follow_effect("restarting", lambda: self._restarting.waiting)
        self._request_door = armed(RequestDoor(connections.tower, node, self.inbox, outcomes))
        self._durable_door = armed(DurableDoor(connections.tower, node, self.inbox))
        pong = Pong(pid=os.getpid(), host=socket.gethostname(), node=node, started_at=self._clock.now())
        self._ping_door = armed(PingDoor(connections.tower, connections.answers, pong))

    def _state(self) -> Tower:
        return self.writer.ledger.tower

    def is_removed(self, pane_id: str) -> bool:
        pane = self.writer.ledger.tower.layouts.panes.get(pane_id)
        return pane is not None and pane.state is PaneState.REMOVED

    def execution(self, execution_id: str) -> ExecutionStanding | None:
        ledger = self.writer.ledger
        state = state_of(execution_id, ledger.tower.executions)
        return None if state is None else ExecutionStanding(state, ledger.position)

    def session(self, session_id: str) -> SessionStanding | None:
        return session_standing(session_id, self.writer.ledger.tower.sessions, self.writer.ledger.position)

    def container(self, container_id: str) -> ContainerFacts | None:
        return self.writer.ledger.tower.containers.known.get(container_id)

    async def start(self, parts: Parts) -> None:
        """Files, state in memory, claim, containers, recovery, effects, bundles."""
        await self.launching.look(FIRST_READ_S)
        await self.executions.prepare()
        await asyncio.to_thread(make_log_folder, bench_of(self._settings))
        await self.writer.recover()
        await self.writer.claim(os.getpid(), socket.gethostname())
        await self._ping_door.open()
        self._writing = parts.own(self.writer.run(), "writer")
        await self._scanning.look_at_start()
        unreachable = await self._recovery.run()
        self._metrics.holds(self.writer.ledger.tower, self.writer.ledger.position)
        self._figures.holds(self.writer.ledger.tower)
        self._background_figures.holds(self.writer.ledger.tower, self.writer.ledger.position)
        for effect in self._effects:
            effect.start(self.writer.ledger.tower)
        self.executions.run(parts.own)
        parts.own(self._sweeping.schedule(), "sweeping")
        for part in (*self._effects, self._dues):
            parts.own(part.run(), type(part).__name__.lower())
        if unreachable:
            parts.own(self._recovery.retry(unreachable), "recovery")
        await self.bundles.prewarmed()

    async def open_doors(self, parts: Parts) -> None:
        """Take commands."""
        await self._request_door.open()
        self._durable_door.open(self.writer.ledger.commands_at)
        parts.own(self._purge_commands(), "purge")
        parts.own(self._measure_broker(), "measure")

    async def stop(self) -> None:
        """Stop taking commands, decide what was taken, let stages and executions end, write the last snapshot."""
        await self._request_door.close()
        await self._durable_door.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STAGES_END_S):
                ending = (self.spawning, self.executions.executing, self.sessions.effect)
                await asyncio.gather(*(each.idle() for each in ending))
                # Answered after everything that was taken before it.
                await self._follow_ups.ask(self.instance, "last", PaneSweep())
        await self._ping_door.close()
        self._writing.cancel()
        await asyncio.wait([self._writing])
        await self.writer.close()

    async def _measure_broker(self) -> None:
        while True:
            started = self._clock.monotonic()
            with contextlib.suppress(LogError):
                await self.log.last_position()
                self._metrics.broker_round_trip(self._clock.monotonic() - started)
            await self._clock.sleep(MEASURE_INTERVAL_S)

    async def _purge_commands(self) -> None:
        """The log says how far commands were read; what lies behind is not needed any more."""
        while True:
            await self._clock.sleep(PURGE_INTERVAL_S)
            await self._durable_door.purge(self.writer.ledger.commands_at)
