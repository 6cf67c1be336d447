"""The container engine: which containers there are, what people do to them, and the port of one process on it."""

from collections.abc import Mapping, Sequence

import msgspec

from domain.containers import ContainerFacts
from domain.messages import HOST
from handlers.ports import ContainersUnreachable
from tests.simulation.tmux import Server
from tests.simulation.wire import Wire


class Engine:
    """`servers`: the tmux server of each container, which ends with it. `removed`: ids that were ever removed."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers
        self.containers: dict[str, ContainerFacts] = {}
        self.removed: set[str] = set()
        for container_id in servers:
            self.create(container_id)

    def create(self, container_id: str) -> None:
        if container_id != HOST and container_id not in self.containers:
            self.containers[container_id] = ContainerFacts(container_id=container_id, name=container_id[:4])
            self._servers[container_id].reachable = True

    def remove(self, container_id: str) -> None:
        if self.containers.pop(container_id, None) is not None:
            self.removed.add(container_id)
            self._end(container_id)

    def stop(self, container_id: str) -> None:
        self._run(container_id, running=False)
        self._end(container_id)

    def start(self, container_id: str) -> None:
        self._run(container_id, running=True)
        self._servers[container_id].reachable = True

    def _run(self, container_id: str, *, running: bool) -> None:
        self.containers[container_id] = msgspec.structs.replace(self.containers[container_id], running=running)

    def _end(self, container_id: str) -> None:
        self._servers[container_id].reachable = False
        self._servers[container_id].kill()


class SimulatedEngine:
    """The `ContainerEngine` port."""

    def __init__(self, engine: Engine, wire: Wire) -> None:
        self._engine = engine
        self._wire = wire

    async def scan(self) -> Sequence[ContainerFacts]:
        return await self._wire.call(
            "containers.scan", lambda: tuple(self._engine.containers.values()), ContainersUnreachable
        )
