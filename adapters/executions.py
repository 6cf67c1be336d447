"""The parts that run executions, put together: workers, output, blobs, and the effects over them."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from adapters.crashing import armed
from adapters.executing.children import end_marked
from adapters.executing.machine import LocalMachine
from adapters.executing.process import WorkerSettings
from adapters.executing.workers import SessionWorkers
from adapters.files.blobs import FileBlobs
from adapters.nats.output import MIB, BrokerOutput
from adapters.nats.wire import WireClient
from adapters.runtimes.making import TowerRuntimes
from adapters.runtimes.pane import Panes
from adapters.settings import ENV_PREFIX, Settings
from domain.tower import Tower
from handlers.effects.capabilities import Capabilities, Policy
from handlers.effects.deadlines import Deadlines
from handlers.effects.executing import Executing
from handlers.effects.follow_ups import FollowUps
from handlers.effects.inputs import Inputs
from handlers.effects.namespaces import Namespaces
from handlers.effects.spawns import Spawns
from handlers.ports import Clock, Texts, Timers

_log = structlog.get_logger("executions")

HIDDEN: Final = (ENV_PREFIX,)
"""Beginnings of variables that code in a worker does not see: the tower's own, credentials among them."""


class Executions:
    """`executing` and `deadlines` are observers of the writer. `prepare` before `workers.run`. `runtimes`: of sessions,
    those in Python share the pool of workers."""

    def __init__(
        self,
        settings: Settings,
        connection: WireClient,
        *,
        follow_ups: FollowUps,
        clock: Clock,
        texts: Texts,
        timers: Timers,
        panes: Panes,
        state: Callable[[], Tower],
    ) -> None:
        self._folder = settings.work_dir
        environment, policy = worker_env(os.environ), policy_of(settings)
        self._owner = mark_of(settings.home, settings.node)
        worker = WorkerSettings(
            working_dir=str(settings.work_dir), python=settings.worker_python, env=environment, owner=self._owner
        )
        self.workers = SessionWorkers(worker)
        self.spawns = Spawns(follow_ups=follow_ups)
        inputs = Inputs(follow_ups=follow_ups, texts=texts, state=state)

        def abilities(policy: Policy, folder: str, environment: Mapping[str, str]) -> Capabilities:
            return Capabilities(
                machine=armed(LocalMachine(working_dir=Path(folder), env=environment)),
                follow_ups=follow_ups,
                policy=lambda _session_id: policy,
                sessions=self.spawns,
            )

        self.runtimes = TowerRuntimes(
            workers=self.workers,
            settings=worker,
            environment=environment,
            panes=panes,
            questions=inputs,
            make_abilities=abilities,
        )
        self.output = BrokerOutput(connection, settings.node, max_output_bytes=settings.execution_output_max_mb * MIB)
        self.blobs = blobs_of(settings.home, settings.node)
        workers, output, blobs = armed(self.workers), armed(self.output), armed(self.blobs)
        self.executing = armed(
            Executing(
                workers=workers,
                output=output,
                blobs=blobs,
                follow_ups=follow_ups,
                capabilities=abilities(policy, str(settings.work_dir), environment),
                inputs=inputs,
                namespaces=Namespaces(blobs=blobs),
            )
        )
        self.deadlines = Deadlines(timers=timers, follow_ups=follow_ups, clock=clock)

    def doing(self) -> dict[str, int]:
        """Workers by what they do."""
        counts = self.workers.counts
        pool = {} if counts is None else {"idle": counts.idle, "starting": counts.starting}
        return {"of_sessions": self.workers.sessions, **pool}

    def totals(self) -> dict[str, float]:
        """Since the start, by the names of their figures."""
        counts, written = self.workers.counts, self.output.written_bytes
        waits = {} if counts is None else {"pool_waits": counts.waited, "pool_wait_seconds": counts.waited_s}
        return {"output_bytes": written, **waits}

    async def prepare(self) -> None:
        """A place for code to run in, and the end of what a run that was killed has left. Raises `OSError`."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        if left := await asyncio.to_thread(end_marked, self._owner):
            _log.warning("processes of an earlier run of this tower were ended", processes=left)

    def run(self, own: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        own(self.workers.run(), "workers")
        own(self.output.run(), "output")


def mark_of(home: Path, node: str) -> str:
    """By which this tower's workers and all that they start are known, from one run to the next."""
    return hashlib.blake2b(f"{home.resolve()}\0{node}".encode(), digest_size=12).hexdigest()


def blobs_of(home: Path, node: str) -> FileBlobs:
    return FileBlobs(home / "nodes" / node / "blobs")


def policy_of(settings: Settings) -> Policy:
    """Of sessions that no bundle made; folders by their real paths."""
    given = settings.capabilities
    return Policy(
        input=given.input,
        emit=given.emit,
        read_file=tuple(os.path.realpath(path) for path in given.read_file),
        write_file=tuple(os.path.realpath(path) for path in given.write_file),
        fetch=given.fetch,
        run=given.run,
        spawn=given.spawn,
    )


def worker_env(environment: Mapping[str, str]) -> dict[str, str]:
    """What code in a worker has for an environment."""
    return {name: value for name, value in environment.items() if not name.startswith(HIDDEN)}
