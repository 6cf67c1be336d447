"""Random commands on a tower, by a seed: what an operator in a hurry would do, through both doors."""

import asyncio
import random
from collections import Counter
from typing import Any

from adapters.nats.client import Door
from domain.layouts.state import PaneState
from handlers.ports import LogError
from tests.faults.book import Driver, Sent
from tests.faults.child import Died
from tests.waiting import eventually

TEMPLATES = ("1m+2s", "2m+2s")
OPEN_LAYOUTS = 6
HANDS = 3


class Bustle:
    """Random commands until `over`; `done` counts them by name and outcome."""

    def __init__(self, driver: Driver, rng: random.Random) -> None:
        self.driver = driver
        self.over = asyncio.Event()
        self.done: Counter[str] = Counter()
        self._rng = rng
        self._layouts: list[str] = []
        self._panes: list[str] = []
        self._removed: list[str] = []
        self._sessions: list[str] = []

    async def know(self) -> None:
        """Take over what stands from before."""
        state = await self.driver.or_died(self.driver.state())
        self._layouts = sorted(state.layouts.open_layouts)
        panes = sorted(state.layouts.panes.values(), key=lambda pane: pane.pane_id)
        self._panes = [pane.pane_id for pane in panes if pane.live]
        gone = [pane.pane_id for pane in panes if pane.state in (PaneState.REMOVED, PaneState.FAILED)]
        self._removed = gone[-20:]
        self._sessions = sorted(state.sessions.known)

    async def run(self, commands: int) -> None:
        """So many commands, a few at a time; ends early with the tower."""
        left = iter(range(commands))

        async def hand() -> None:
            for _ in left:
                if self.over.is_set():
                    return
                await self._one()

        try:
            await self.know()
            await asyncio.gather(*(hand() for _ in range(HANDS)))
        except Died:
            pass
        finally:
            self.over.set()

    async def _one(self) -> None:
        rng, door = self._rng, self._rng.choice(("request", "durable"))
        kinds = ("create", "remove", "recreate", "remove layout", "again", "talk")
        kind = rng.choices(kinds, (4, 4, 4, 2, 1, 3))[0]
        if len(self._layouts) >= OPEN_LAYOUTS:
            kind = "remove layout"
        match kind:
            case "remove" if self._panes:
                pane = self._panes.pop(rng.randrange(len(self._panes)))
                self._removed.append(pane)
                sent = await self._ask("pane", "remove", {"pane_id": pane}, door)
            case "recreate" if self._removed:
                pane = self._removed.pop(rng.randrange(len(self._removed)))
                sent = await self._ask("pane", "recreate", {"predecessor_pane_id": pane}, door)
                if sent.result:
                    self._panes.append(sent.result["pane_id"])
            case "remove layout" if self._layouts:
                layout = self._layouts.pop(rng.randrange(len(self._layouts)))
                sent = await self._ask("layout", "remove", {"layout_id": layout}, door)
            case "talk":
                await self._talk(door)
            case "again" if self.driver.book.sent:
                await self.driver.or_died(self.driver.again(rng.choice(self.driver.book.sent)))
            case _:
                await self._create(door)

    async def _create(self, door: Door) -> None:
        name = f"b{len(self.driver.book.sent)}"
        template = self._rng.choice(TEMPLATES)
        data = {"container_id": "host", "template_name": template, "tmux_session_name": name}
        sent = await self._ask("layout", "create", data, door)
        if sent.result:
            self._layouts.append(sent.result["layout_id"])
            self._panes += [pane["pane_id"] for pane in sent.result["panes"]]

    async def _talk(self, door: Door) -> None:
        """Sessions of an echo that takes its time: spawned below others, instructed, cancelled, ended."""
        rng, known = self._rng, self._sessions[-5:]
        verb = rng.choice(("spawn", "spawn", "instruct", "instruct", "resume", "cancel", "end")) if known else "spawn"
        if verb != "spawn":
            told = {} if verb in ("cancel", "end") else {"instruction": "d e"}
            await self._ask("session", verb, {"session_id": rng.choice(known), **told}, door)
            return
        data: dict[str, Any] = {
            "bundle": {"runtime": {"kind": "echo", "delay_s": rng.choice((0, 0.1))}},
            "instruction": "a b c",
            "session_id": f"bustle{len(self.driver.book.sent)}",
            "parent_session_id": rng.choice([None, *known]),
            "background": rng.random() < 0.5,
        }
        if (await self._ask("session", "spawn", data, door)).result:
            self._sessions.append(data["session_id"])

    async def _ask(self, noun: str, verb: str, data: dict[str, Any], door: Door) -> Sent:
        sent = await self.driver.ask(noun, verb, data, door=door)
        self.done[f"{noun}.{verb} {'unanswered' if sent.outcome is None else sent.outcome['status']}"] += 1
        return sent

    async def until(self, events: int) -> None:
        """Until the log has so many more events, or the bustle is over."""
        start = await self._position()

        async def there() -> bool:
            return self.over.is_set() or await self._position() >= start + events

        await eventually(there, f"{events} events", timeout_s=120)

    async def _position(self) -> int:
        try:
            return await self.driver.log.last_position()
        except LogError:
            return 0
