"""Stories of background sessions: events that trigger runs, and runs whose ends trigger others."""

import socket
from pathlib import Path
from typing import Any

from tests.faults.book import Driver
from tests.faults.child import Child
from tests.faults.firings import open_runs
from tests.faults.stories import Story, linger
from tests.waiting import eventually

WORKER = "bundle: {name: worker}\nruntime: {kind: echo, delay_s: 0.02}\n"

SHORT = {"instruction": "run {n} of it"}


def listening(name: str, bundle: Path, event: str, **options: Any) -> dict[str, Any]:
    triggers = [{"type": "session_event", "config": {"event_names": [event]}}]
    return {"name": name, "bundle": str(bundle), "triggers": triggers, "queue_size": 1000, **SHORT, **options}


def worker_of(child: Child) -> Path:
    """The bundle of runs."""
    path = child.home / "worker.yaml"
    path.write_text(WORKER)
    return path


async def lead(driver: Driver, *sessions: dict[str, Any]) -> str:
    """A session whose bundle declares these."""
    session_id = f"lead{len(driver.book.sent)}"
    bundle = {"bundle": {"name": "lead"}, "runtime": {"kind": "echo"}, "background_sessions": list(sessions)}
    data = {"bundle": bundle, "instruction": "Lead.", "session_id": session_id, "background": True}
    await driver.ask("session", "spawn", data)
    return session_id


async def emit(driver: Driver, name: str, **options: Any) -> None:
    data = {"name": name, "data": {"n": len(driver.book.sent)}}
    await driver.ask("session", "emit", data, **options)


async def all_consumed(driver: Driver) -> None:
    async def look() -> bool:
        return not open_runs(await driver.state())

    await driver.or_died(eventually(look, "all firings are consumed", timeout_s=90))


class Roused(Story):
    """A run that completes triggers another one; then the parent is cancelled."""

    async def tell(self, driver: Driver) -> None:
        worker = worker_of(driver.child)
        first = listening("first", worker, "work:ready", on_complete_emit="first:done", pool_size=2)
        parent = await lead(driver, first, listening("second", worker, "first:done"))
        for _ in range(3):
            await emit(driver, "work:ready")
        await all_consumed(driver)
        await driver.ask("session", "cancel", {"session_id": parent})


class SlowToPrepare(Story):
    """The bundle of a run cannot be read yet: the server that has it does not answer."""

    def __init__(self) -> None:
        self._server: socket.socket | None = None

    async def tell(self, driver: Driver) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        port = self._server.getsockname()[1]
        slow = listening("slow", worker_of(driver.child), "slow:ready")
        parent = await lead(driver, slow | {"bundle": f"git+https://127.0.0.1:{port}/o/r@main"})
        await emit(driver, "slow:ready")
        await linger(driver)
        await driver.ask("session", "cancel", {"session_id": parent})

    async def tidy(self, child: Child) -> None:
        if self._server is not None:
            self._server.close()


class Unwatched(Story):
    """A trigger of a type that nobody knows: it is started again after a while, and again."""

    async def tell(self, driver: Driver) -> None:
        worker = worker_of(driver.child)
        tide = listening("tide", worker, "never:told") | {"triggers": [{"type": "tide", "config": {}}]}
        parent = await lead(driver, tide)
        await linger(driver)
        await driver.ask("session", "cancel", {"session_id": parent})
