"""A world: everything drawn from one seed, a safety phase with faults, a liveness phase without."""

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
import structlog

from domain.messages import HOST
from handlers.ledger import Ledger
from handlers.ports import LogUnavailable
from handlers.writer import SteppedDown
from tests.simulation import loop
from tests.simulation.commands import Queue, RequestDoor
from tests.simulation.containers import Engine
from tests.simulation.log import Stream
from tests.simulation.loop import pause
from tests.simulation.model import Model, Violation
from tests.simulation.people import BENCH, People
from tests.simulation.read_models import Shelf
from tests.simulation.settled import settle
from tests.simulation.stores import Catalogues, Disk, SimulatedClock
from tests.simulation.talking import Talk
from tests.simulation.timers import Board
from tests.simulation.tmux import Pane, Server
from tests.simulation.tower import Kit, Tower
from tests.simulation.weather import Weather
from tests.simulation.wire import Faults, Trace, drawn_rates
from tests.simulation.workers import Runs


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """How a world went."""

    seed: int
    digest: str
    calls: int
    events: int
    towers: int
    seconds: float


class World:
    """What outlives a tower, and the towers. Build it inside its loop."""

    def __init__(self, seed: int, random: Random, kit: Kit, show: Callable[[str], None] | None) -> None:
        self.random, self.kit = random, kit
        self.trace = Trace(show)
        crash = random.choice((0.0, 0.0, 0.005, 0.02))
        self.faults = Faults(random, self.trace, drawn_rates(random), crash)
        self.clock, self.right_clock = SimulatedClock(), SimulatedClock()
        self.disk, self.catalogues = Disk(), Catalogues()
        self.servers = {container_id: Server() for container_id in (HOST, BENCH)}
        for server in self.servers.values():
            server.started.append(self._started)
            server.typed.append(self._typed)
        self.engine = Engine(self.servers)
        self.stream = Stream()
        self.queue, self.board = Queue(self.right_clock.now), Board(self.right_clock.now)
        self.taken: set[int] = set()
        self.request_door = RequestDoor()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.model = Model(Ledger(), self.report, self.engine.removed)
        self.stream.appended.append(self.model.appended)
        self.crowded = random.random() < 0.05
        self.talkative = random.random() < 0.15
        self.template = "solo" if self.crowded else None
        self.durable_share = random.choice((0.0, 0.3, 0.5, 1.0))
        self.inbox_capacity = random.choice((3, 10_000))
        self.read_batch = random.choice((2, 50, 500))
        self.snapshot_interval = random.choice((3, 10, 10_000))
        # Of a source of its own: worlds without executions are as they are without this.
        apart = Random(-1 - seed)
        self.executes = apart.random() < 0.3
        self.runs = Runs(apart, lambda: self.model.tower, self.model.expect)
        if self.executes:
            self.faults.spoil(apart, ("output", "blobs"))
        # Likewise: worlds without background sessions are as they are without these.
        apart = Random(-1_000_003 - seed)
        self.rouses = apart.random() < 0.2
        self.talk = Talk(apart, lambda: self.model.tower, self.model.expect)
        if self.rouses:
            self.faults.spoil(apart, ("output", "blobs", "transcripts"))
        self.texts: Counter[str] = Counter()
        self.shelf = Shelf() if random.random() < 0.25 else None
        self.people = People(self)
        self.towers: list[Tower] = []
        self._started_towers = 0
        self._seed = seed

    def report(self, what: str) -> None:
        """Something does not hold: the first is what the world ends with."""
        if not self.failure.done():
            self.trace.add("world", f"VIOLATION {what}")
            self.failure.set_exception(Violation(what))
        raise Violation(what)

    # --- towers ----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> list[Tower]:
        return [tower for tower in self.towers if tower.process.alive]

    def start_tower(self) -> Tower:
        self._started_towers += 1
        tower = Tower(self, f"t{self._started_towers}")
        self.trace.add("world", f"starts {tower.process.name}")
        self.towers.append(tower)
        task = asyncio.get_running_loop().create_task(tower.run())
        tower.process.task = task
        task.add_done_callback(lambda done: self._ended(tower, done))
        return tower

    def _ended(self, tower: Tower, task: asyncio.Task[None]) -> None:
        tower.process.alive = False
        error = None if task.cancelled() else task.exception()
        self.trace.add(tower.process.name, f"ended: {type(error).__name__} {error}")
        foreseen = isinstance(error, SteppedDown | LogUnavailable | Violation)
        if error is not None and not foreseen and not self.failure.done():
            self.failure.set_exception(error)

    async def keep_one_running(self) -> None:
        """What a service manager does: starts a tower when there is none."""
        while True:
            if not self.running:
                await pause(self.random.uniform(0.1, 5) if self.faults.on else 0.1)
                self.start_tower()
            await asyncio.wait([tower.process.task for tower in self.running if tower.process.task is not None])
            # The task is done before its process is seen to have ended.
            await asyncio.sleep(0)

    def _started(self, pane: Pane) -> None:
        """What the program of a new pane does. No effect may be seen twice: a pane is made once."""
        same = [each for server in self.servers.values() for _, each in server.panes() if each.pane_id == pane.pane_id]
        self.model.expect(same == [pane], f"tmux has pane {pane.pane_id} {len(same)} times")
        if pane.command in ("quits", "fails"):
            exit_code = 0 if pane.command == "quits" else 3
            asyncio.get_running_loop().call_later(self.random.uniform(0, 2), lambda: self.servers_end(pane, exit_code))

    def _typed(self, pane: Pane, text: str) -> None:
        """Keys that were typed cannot be taken back: each text at most once, and into the pane it is for."""
        self.texts[text] += 1
        self.model.expect(self.texts[text] == 1, f"{text!r} is typed {self.texts[text]} times")
        wanted = {self.model.text_of(send.send_id) for send in self.model.tower.sends.open.values() if send.begun}
        self.model.expect((pane.pane_id, text) in wanted, f"{text!r} is typed into {pane.pane_id}, and nobody asked")

    def servers_end(self, pane: Pane, exit_code: int) -> None:
        for server in self.servers.values():
            if any(pane is each for _, each in server.panes()):
                server.end(pane, exit_code, None)

    # --- phases ----------------------------------------------------------------------------------------------------

    async def run(self) -> Story:
        keeper = asyncio.get_running_loop().create_task(self.keep_one_running())
        story = asyncio.get_running_loop().create_task(self._phases())
        await asyncio.wait([keeper, story, self.failure], return_when=asyncio.FIRST_COMPLETED)
        keeper.cancel()
        story.cancel()
        for tower in self.running:
            tower.process.kill()
        tasks = [tower.process.task for tower in self.towers if tower.process.task is not None]
        await asyncio.wait([keeper, story, *tasks])
        if self.shelf is not None:
            self.shelf.close()
        for done in (self.failure, story, keeper):
            if done.done() and not done.cancelled():
                done.result()
        return Story(
            seed=self._seed,
            digest=self.trace.digest(),
            calls=self.trace.calls,
            events=len(self.stream.entries),
            towers=len(self.towers),
            seconds=asyncio.get_running_loop().time(),
        )

    async def _phases(self) -> None:
        random = self.random
        people = range(1 if self.crowded else random.randint(1, 4))
        commands = 60 if self.crowded else random.randint(2, 14)
        think_s = 0.2 if self.crowded else random.choice((0.2, 1.0, 5.0))
        weather = Weather(self)
        async with asyncio.TaskGroup() as group:
            blowing = group.create_task(weather.blow())
            living = [group.create_task(self.people.live(commands, think_s)) for _ in people]
            await asyncio.wait(living)
            await pause(random.uniform(0, 10))
            blowing.cancel()
        weather.clear()
        self.trace.add("world", "--- faults off ---")
        await settle(self)


class _Log:
    """structlog's processor of a world: shows lines, and knows errors that the product has caught but must not meet."""

    def __init__(self, world: World, verbose: bool) -> None:
        self._world = world
        self._verbose = verbose

    def __call__(self, logger: Any, method: str, line: MutableMapping[str, Any]) -> Any:
        error = sys.exc_info()[1]
        if method == "exception" and not isinstance(error, OSError | Violation):
            self._world.trace.note(f"{line}")
            if not self._world.failure.done():
                self._world.failure.set_exception(error or Violation(str(line)))
        if self._verbose:
            self._world.trace.note(" ".join(f"{key}={value}" for key, value in line.items()))
        raise structlog.DropEvent


@contextmanager
def _told(world: World, verbose: bool) -> Iterator[None]:
    before = structlog.get_config()
    level = 10 if verbose else 40
    structlog.configure(
        processors=[_Log(world, verbose)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def _patched(kit: Kit, world_patches: tuple[tuple[Any, str, Any], ...]) -> Iterator[None]:
    kept = [(where, name, getattr(where, name)) for where, name, _ in (*kit.patches, *world_patches)]
    for where, name, value in (*kit.patches, *world_patches):
        setattr(where, name, value)
    try:
        yield
    finally:
        for where, name, value in kept:
            setattr(where, name, value)


def run(seed: int, kit: Kit | None = None, show: Callable[[str], None] | None = None) -> Story:
    """The story of a seed. Raises `Violation`, or what ended a tower that should not have ended."""
    random = Random(seed)
    kit = kit or Kit()
    # Objects in cycles must not be finalized at a moment that the rest of the process decides.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return loop.run(_run(seed, random, kit, show), random if random.random() < 0.8 else None)
    finally:
        if collecting:
            gc.enable()


async def _run(seed: int, random: Random, kit: Kit, show: Callable[[str], None] | None) -> Story:
    from handlers import snapshots

    world = World(seed, random, kit, show)
    with _told(world, show is not None), _patched(kit, ((snapshots, "INTERVAL", world.snapshot_interval),)):
        try:
            return await world.run()
        except Exception as error:
            error.add_note("\n".join([*world.trace.lines, f"make simulate SEED={seed}"]))
            raise
