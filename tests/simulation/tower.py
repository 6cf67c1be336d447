"""One simulated run of a tower: the product's own parts over the doubles, put together as the composition root does."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from domain.envelope import Recorded
from domain.layouts.commands import PaneSweep
from domain.tower import Tower as State
from handlers.effects import sweeping
from handlers.effects.background import BackgroundRuns
from handlers.effects.capabilities import Capabilities, Policy
from handlers.effects.deadlines import Deadlines
from handlers.effects.dues import Dues
from handlers.effects.executing import Executing
from handlers.effects.follow_ups import FollowUps
from handlers.effects.housekeeping import Housekeeping
from handlers.effects.inputs import Inputs
from handlers.effects.namespaces import Namespaces
from handlers.effects.pane_places import PanePlaces
from handlers.effects.restarting import Restarting
from handlers.effects.scanning import Scanning
from handlers.effects.sending import Sending
from handlers.effects.sessions import Sessions
from handlers.effects.spawning import Spawning
from handlers.effects.spawns import Spawns
from handlers.effects.stages import Stages
from handlers.effects.sweeping import Sweeping
from handlers.effects.watching import Watching
from handlers.facts import FactFinder
from handlers.inbox import Asked, Inbox
from handlers.plans import Plans
from handlers.recovery import Recovery
from handlers.session_facts import SessionFacts
from handlers.writer import Writer
from projections.projector import Projector
from tests.simulation.commands import SimulatedDurableDoor, SimulatedOutcomes
from tests.simulation.containers import SimulatedEngine
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import pause
from tests.simulation.read_models import SimulatedDatabase
from tests.simulation.stores import NoPaneLogs, SimulatedIds, SimulatedSnapshots, SimulatedTexts, SimulatedVault
from tests.simulation.talking import DEPTH, SimulatedBundles, SimulatedRuntimes, SimulatedTranscripts
from tests.simulation.timers import SimulatedTimers
from tests.simulation.tmux import SimulatedTerminals
from tests.simulation.wire import Process, Wire
from tests.simulation.workers import NoMachine, SimulatedBlobs, SimulatedOutput, SimulatedWorkers

if TYPE_CHECKING:
    from tests.simulation.world import World

NODE = "local"
PURGE_INTERVAL_S = 60.0
STAGES_END_S = 10.0


class Kit(msgspec.Struct, frozen=True):
    """The parts that towers are made of: the product's own, or ones with a planted bug. `patches`: (module, name,
    value) in force while a world runs."""

    writer: Callable[..., Writer] = Writer
    stages: Callable[..., Stages] = Stages
    spawning: Callable[..., Spawning] = Spawning
    sending: Callable[..., Sending] = Sending
    watching: Callable[..., Watching] = Watching
    restarting: Callable[..., Restarting] = Restarting
    scanning: Callable[..., Scanning] = Scanning
    sweeping: Callable[..., Sweeping] = Sweeping
    executing: Callable[..., Executing] = Executing
    runs: Callable[..., BackgroundRuns] = BackgroundRuns
    recovery: Callable[..., Recovery] = Recovery
    facts: Callable[..., FactFinder] = FactFinder
    log: Callable[..., SimulatedLog] = SimulatedLog
    door: Callable[..., SimulatedDurableDoor] = SimulatedDurableDoor
    projector: Callable[..., Projector] = Projector
    patches: tuple[tuple[Any, str, Any], ...] = ()


class WatchedInbox(Inbox):
    """Notes what the durable door has brought."""

    def __init__(self, capacity: int, taken: set[int]) -> None:
        super().__init__(capacity)
        self._taken = taken

    async def put(self, asked: Asked) -> None:
        await super().put(asked)
        if asked.durable_sequence is not None:
            self._taken.add(asked.durable_sequence)


class Tower:
    """`run` it as the task of its process. `ready` while it takes commands."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self.process = Process(name, mortal=True)
        self.ready = False
        self.stopping = asyncio.Event()
        kit, wire, clock = world.kit, Wire(self.process, world.faults), world.clock
        ids = SimulatedIds(world.random, clock)
        self._clock = clock
        self._instance = ids.uuid7()
        self._inbox = inbox = WatchedInbox(world.inbox_capacity, world.taken)
        self._follow_ups = follow_ups = FollowUps(inbox)
        self.terminals = terminals = SimulatedTerminals(world.servers, wire)
        self._log = log = kit.log(world.stream, wire, batch=world.read_batch)
        catalogues, vault = world.catalogues, SimulatedVault(world.disk, wire)
        texts = SimulatedTexts(world.disk, wire)
        self._make_panes(world, vault, texts)
        self._make_scanning(world, wire)
        timers = SimulatedTimers(world.board, wire)
        blobs = SimulatedBlobs(world.disk.blobs, wire)
        self._make_executing(world, wire, texts, blobs, timers)
        sessions = self._make_sessions(world, wire, blobs, ids)
        self._effects = (
            *(self.spawning, self._watching, self._restarting, self._scanning),
            *(self.executing, self._deadlines, self.sessions, self._runs),
        )
        waits = self.executing.waits
        self.writer = kit.writer(
            node=NODE,
            instance=self._instance,
            log=log,
            inbox=inbox,
            outcomes=SimulatedOutcomes(wire, world.model.check_outcome, world.people.heard),
            facts=kit.facts(
                ids=ids,
                launching=catalogues,
                terminals=terminals,
                vault=vault,
                texts=texts,
                worker_waits=waits,
                sessions=sessions,
                max_causation_depth=DEPTH,
            ),
            snapshot_store=SimulatedSnapshots(world.disk, wire),
            clock=clock,
            ids=ids,
            observers=(follow_ups, *self._effects, self),
        )
        self._recovery = kit.recovery(
            terminals=terminals,
            follow_ups=follow_ups,
            clock=clock,
            instance=self._instance,
            state=lambda: self.writer.ledger.tower,
        )
        housekeeping = Housekeeping(
            texts=texts, logs=NoPaneLogs(), blobs=blobs, clock=clock, state=lambda: self.writer.ledger.tower
        )
        self._sweeping = kit.sweeping(timers=timers, inbox=inbox, ids=ids, clock=clock, housekeeping=housekeeping)
        takers = {sweeping.NAME: self._sweeping.take, **self._deadlines.takers}
        self._dues = Dues(timers=timers, takers=takers)
        self._door = kit.door(world.queue, wire, inbox)
        self.projector = kit.projector(SimulatedDatabase(world.shelf, wire), self._log) if world.shelf else None

    def _make_panes(self, world: "World", vault: SimulatedVault, texts: SimulatedTexts) -> None:
        kit, terminals, follow_ups, clock = world.kit, self.terminals, self._follow_ups, world.clock
        stages = kit.stages(
            follow_ups=follow_ups,
            clock=clock,
            launching=world.catalogues,
            vault=vault,
            places=PanePlaces(home="home", known=lambda _: None),
        )
        self.spawning = kit.spawning(
            terminals=terminals,
            stages=stages,
            sending=kit.sending(terminals=terminals, follow_ups=follow_ups, clock=clock, texts=texts),
            follow_ups=follow_ups,
            clock=clock,
            launch_settle_s=0.5,
        )
        self._watching = kit.watching(terminals=terminals, follow_ups=follow_ups, clock=clock)
        self._restarting = kit.restarting(follow_ups=follow_ups, clock=clock)

    def _make_scanning(self, world: "World", wire: Wire) -> None:
        self._scanning = world.kit.scanning(
            engine=SimulatedEngine(world.engine, wire),
            terminals=self.terminals,
            follow_ups=self._follow_ups,
            instance=self._instance,
            state=lambda: self.writer.ledger.tower,
        )

    def _make_executing(
        self, world: "World", wire: Wire, texts: SimulatedTexts, blobs: SimulatedBlobs, timers: SimulatedTimers
    ) -> None:
        follow_ups, clock = self._follow_ups, world.clock
        self.executing = world.kit.executing(
            workers=SimulatedWorkers(world.runs, wire),
            output=SimulatedOutput(wire),
            blobs=blobs,
            follow_ups=follow_ups,
            inputs=Inputs(follow_ups=follow_ups, texts=texts, state=lambda: self.writer.ledger.tower),
            capabilities=Capabilities(
                machine=NoMachine(),
                follow_ups=follow_ups,
                policy=lambda _: Policy(),
                sessions=Spawns(follow_ups=follow_ups),
            ),
            namespaces=Namespaces(blobs=blobs),
        )
        self._deadlines = Deadlines(timers=timers, follow_ups=follow_ups, clock=clock)

    def _make_sessions(self, world: "World", wire: Wire, blobs: SimulatedBlobs, ids: SimulatedIds) -> SessionFacts:
        """The facts of their decisions."""
        plans, storage = Plans(blobs), SimulatedTranscripts(world.talk, wire)
        follow_ups, clock = self._follow_ups, world.clock
        self.sessions = Sessions(
            runtimes=SimulatedRuntimes(world.talk, wire),
            storage=storage,
            output=SimulatedOutput(wire),
            blobs=blobs,
            plans=plans,
            follow_ups=follow_ups,
            clock=clock,
        )
        self._runs = world.kit.runs(follow_ups=follow_ups, clock=clock)
        return SessionFacts(
            bundles=SimulatedBundles(world.talk),
            blobs=blobs,
            plans=plans,
            storage=storage,
            ids=ids,
            state=lambda: self.writer.ledger.tower,
        )

    def committed(self, recorded: Sequence[Recorded], state: State) -> None:
        self._world.model.check_memory(self.process.name, self.writer.ledger)

    async def run(self) -> None:
        """Until it stops, is killed (cancelled), or ends with what ended one of its parts."""
        try:
            await self.writer.recover()
            self._world.model.check_memory(self.process.name, self.writer.ledger)
            await self.writer.claim(1, self.process.name)
            async with asyncio.TaskGroup() as group:
                await self._run_parts(group)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self.ready = False
            self._world.request_door.close(self._inbox)

    async def _run_parts(self, group: asyncio.TaskGroup) -> None:
        writing = group.create_task(self.writer.run())
        parts = [writing]
        await self._scanning.look_at_start()
        unreachable = await self._recovery.run()
        for effect in self._effects:
            effect.start(self.writer.ledger.tower)
        parts += [group.create_task(part.run()) for part in (*self._effects, self._dues)]
        parts.append(group.create_task(self._sweeping.schedule()))
        if self.projector is not None:
            parts.append(group.create_task(self.projector.run()))
        if unreachable:
            parts.append(group.create_task(self._recovery.retry(unreachable)))
        self._world.request_door.open(self._inbox)
        reading = group.create_task(self._door.run(self.writer.ledger.commands_at))
        parts += [reading, group.create_task(self._purge())]
        self.ready = True
        await self.stopping.wait()
        self._world.request_door.close(self._inbox)
        reading.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STAGES_END_S):
                await asyncio.gather(self.spawning.idle(), self.executing.idle(), self.sessions.idle())
                await self._follow_ups.ask(self._instance, "last", PaneSweep())
        writing.cancel()
        await asyncio.wait([writing])
        await self.writer.close()
        for part in parts:
            part.cancel()

    async def _purge(self) -> None:
        while True:
            await pause(PURGE_INTERVAL_S)
            await self._door.purge(self.writer.ledger.commands_at)
