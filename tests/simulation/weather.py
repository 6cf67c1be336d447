"""What happens to a world by itself: deaths, crashes, outages, clocks that step, a second tower."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from handlers.ports import LaunchProfile
from tests.simulation.loop import pause
from tests.simulation.people import BENCH

if TYPE_CHECKING:
    from tests.simulation.world import World


class Weather:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._random = random = world.random
        kinds: list[Callable[[], None]] = [
            self._process_ends,
            self._process_ends,
            self._pane_vanishes,
            self._session_vanishes,
            self._tmux_dies,
            self._person_creates,
            self._clock_steps,
            self._log_fills,
            self._tower_dies,
            self._tower_dies,
            self._tower_stops,
            self._second_tower,
            self._broker_goes,
            self._tmux_goes,
            self._container_stops,
            self._container_goes,
            self._engine_goes,
            self._profile_changes,
            self._snapshot_breaks,
            self._database_is_backed_up,
            self._database_is_restored,
        ]
        self._kinds = random.sample(kinds, random.randint(0, len(kinds)))
        self._every_s = random.choice((1.0, 5.0, 20.0))

    async def blow(self) -> None:
        while self._kinds:
            await pause(self._random.expovariate(1 / self._every_s))
            kind = self._random.choice(self._kinds)
            self._world.trace.add("world", kind.__name__.strip("_"))
            kind()

    def clear(self) -> None:
        """No fault from now on; what happened stays."""
        world = self._world
        world.faults.on = False
        world.faults.down.clear()
        world.stream.full = False
        world.clock.ahead_s = 0.0
        world.board.restart()
        for container_id in world.engine.containers:
            world.engine.start(container_id)

    # --- kinds -----------------------------------------------------------------------------------------------------

    def _pane(self):
        places = [
            (server, session, pane) for server in self._world.servers.values() for session, pane in server.panes()
        ]
        return self._random.choice(places) if places else None

    def _process_ends(self) -> None:
        if (place := self._pane()) is not None:
            server, _, pane = place
            exit_code, signal = self._random.choice(((0, None), (1, None), (None, 9), (None, None)))
            server.end(pane, exit_code, signal)

    def _pane_vanishes(self) -> None:
        if (place := self._pane()) is not None:
            server, session, pane = place
            server.vanish(session, pane)

    def _session_vanishes(self) -> None:
        if (place := self._pane()) is not None:
            server, session, _ = place
            for pane in list(session.panes):
                server.vanish(session, pane)

    def _tmux_dies(self) -> None:
        self._random.choice(list(self._world.servers.values())).kill()

    def _person_creates(self) -> None:
        server = self._random.choice(list(self._world.servers.values()))
        if server.reachable:
            server.person_creates(self._random.choice(("a", "mine")))

    def _clock_steps(self) -> None:
        self._world.clock.ahead_s = self._random.choice((0.0, 60.0, -60.0, 400.0, -400.0))

    def _log_fills(self) -> None:
        self._world.stream.full = not self._world.stream.full

    def _tower_dies(self) -> None:
        if self._world.running:
            self._random.choice(self._world.running).process.kill()

    def _tower_stops(self) -> None:
        if self._world.running:
            self._random.choice(self._world.running).stopping.set()

    def _second_tower(self) -> None:
        if len(self._world.running) == 1:
            self._world.start_tower()

    def _broker_goes(self) -> None:
        """Or comes back."""
        down, board = self._world.faults.down, self._world.board
        broker = {"log", "commands", "outcomes", "timers"}
        if broker <= down:
            down -= broker
            board.restart()
        else:
            down |= broker
            board.stop()

    def _tmux_goes(self) -> None:
        """Does not answer, or answers again."""
        self._world.faults.down ^= {"tmux"}

    def _container_stops(self) -> None:
        """Or is started again."""
        engine = self._world.engine
        if engine.containers:
            container = self._random.choice(list(engine.containers.values()))
            (engine.stop if container.running else engine.start)(container.container_id)

    def _container_goes(self) -> None:
        """Or is there again."""
        engine = self._world.engine
        if BENCH in engine.containers:
            engine.remove(BENCH)
        else:
            engine.create(BENCH)

    def _engine_goes(self) -> None:
        """Does not answer, or answers again."""
        self._world.faults.down ^= {"containers"}

    def _profile_changes(self) -> None:
        self._world.catalogues.put(LaunchProfile(name="other", command=("other", str(self._random.random()))))

    def _snapshot_breaks(self) -> None:
        disk = self._world.disk
        if disk.snapshot:
            disk.snapshot = disk.snapshot[: self._random.randrange(len(disk.snapshot))]

    def _database_is_backed_up(self) -> None:
        if self._world.shelf is not None:
            self._world.shelf.back_up()

    def _database_is_restored(self) -> None:
        """To what it was at the last backup, empty if there was none."""
        if self._world.shelf is not None:
            self._world.shelf.restore()
