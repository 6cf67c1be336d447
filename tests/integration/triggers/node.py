"""Triggers as in a tower, on real files and a real broker's schedules, with the node's own rules; the log is memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from adapters.system import SystemClock, SystemIds
from adapters.triggers.kinds import StateFolders, TriggerKinds
from domain.background.commands import BackgroundDeclare, BackgroundRecordRunEnded
from domain.background.events import BackgroundRunning, BackgroundState, TriggerFired
from domain.background.state import Background
from domain.errors import Rejection
from domain.messages import TOWER
from domain.tower import Tower
from handlers.effects.dues import Dues
from handlers.effects.ticking import Ticking
from handlers.effects.triggering import Triggering
from handlers.inbox import FollowUp
from handlers.ports import Timers
from handlers.trigger_ports import TriggerSource
from tests.integration.bare_node import BareNode
from tests.waiting import eventually


class Kinds(TriggerKinds):
    """With types of the test's own."""

    def __init__(self, folder: Path, own: Mapping[str, Any]) -> None:
        super().__init__(folder=folder, clock=SystemClock(), ids=SystemIds(), count=lambda _fate: None)
        self._own = own

    def make(self, type_: str, *, background: str) -> TriggerSource:
        return self._own[type_]() if type_ in self._own else super().make(type_, background=background)


class Node(BareNode):
    """`events` in order; `state` as they make it. `commands`: ids that were decided, which are decided once."""

    def __init__(self, home: Path, timers: Timers | None, state: Tower, own: Mapping[str, Any]) -> None:
        super().__init__(state)
        follow_ups = self.follow_ups
        self.commands: dict[str, bytes] = {}
        self.kinds = Kinds(home, own)
        self.folders = StateFolders(home / "of")
        self.triggering = Triggering(
            sources=self.kinds,
            folders=self.folders,
            follow_ups=follow_ups,
            instance=self.ids.uuid7(),
            folder=str(home / "cwd"),
        )
        self.effects.append(self.triggering)
        self.dues: Dues | None = None
        if timers is not None:
            self.ticking = Ticking(timers=timers, follow_ups=follow_ups, clock=self.clock)
            self.effects.append(self.ticking)
            self.dues = Dues(timers=timers, takers=self.ticking.takers)

    async def decide(self) -> None:
        while True:
            for each in await self.inbox.take(100):
                assert isinstance(each, FollowUp)
                outcome = self.commands.get(each.id) or self._decided(each)
                if each.on_outcome is not None:
                    each.on_outcome(outcome)

    def _decided(self, asked: FollowUp) -> bytes:
        try:
            self.ask(asked.request, TOWER)
        except Rejection as refused:
            error = {"code": refused.code, "message": refused.message, "details": refused.details}
            return msgspec.json.encode({"status": "rejected", "error": error})
        self.commands[asked.id] = msgspec.json.encode({"status": "accepted", "result": {}})
        return self.commands[asked.id]

    # --- what tests ask --------------------------------------------------------------------------------------------

    def declare(self, *definitions: dict[str, Any], folder: str = "") -> None:
        """Exactly these, whose runs take no time to speak of."""
        whole = tuple({"bundle": "echo", **each} for each in definitions)
        self.ask(BackgroundDeclare(source="config", definitions=whole, folder=folder), TOWER)

    def one(self, name: str = "one") -> Background:
        (found,) = self.state.backgrounds.named(name)
        return found

    async def running(self, name: str = "one") -> Background:
        await eventually(lambda: self.one(name).state is BackgroundState.RUNNING, f"{name} runs")
        return self.one(name)

    async def fired(self, count: int = 1) -> TriggerFired:
        return await self.told(TriggerFired, count)

    def end_run(self, name: str = "one") -> None:
        """Of the one that has been running longest."""
        there = self.one(name)
        run = min(there.running.values(), key=lambda each: each.trigger_count)
        failure = {"error": "over", "error_type": "test"}
        request = msgspec.convert(
            {
                "background_id": there.background_id,
                "trigger_id": run.fired.trigger_id,
                "attempt": run.attempt,
                "failure": failure,
            },
            BackgroundRecordRunEnded,
        )
        self.ask(request, TOWER)


@asynccontextmanager
async def node(
    home: Path, *, timers: Timers | None = None, state: Tower | None = None, own: Mapping[str, Any] | None = None
) -> AsyncIterator[Node]:
    made = Node(home, timers, state or Tower(), own or {})
    tasks = [asyncio.create_task(made.decide())]
    for effect in made.effects:
        effect.start(made.state)
    parts = (*made.effects, *(() if made.dues is None else (made.dues,)))
    tasks += [asyncio.create_task(part.run()) for part in parts]
    try:
        yield made
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in reversed(tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        made.kinds.close()


__all__ = ["BackgroundRunning", "Node", "node"]
