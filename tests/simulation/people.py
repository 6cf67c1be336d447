"""Operators and peers: they ask through both doors, hear or miss the answer, and ask again with the same id."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from domain.layouts.state import Pane, PaneState
from handlers.inbox import Asked
from handlers.ports import Answer
from tests.simulation.commands import NoTower, NotQueued
from tests.simulation.loop import pause
from tests.simulation.stores import SimulatedClock, SimulatedIds
from tests.simulation.wire import Process, Wire
from tests.simulation.workers import CODES

if TYPE_CHECKING:
    from tests.simulation.world import World

BENCH = "c" * 64
"""A registered container; its peers ask by this origin."""

ORIGINS = (*("host",) * 6, *(BENCH,) * 2, "d" * 64)
CONTAINERS = (*("host",) * 5, *(BENCH,) * 3, "e" * 64)
TEMPLATES = (*("1m+2s",) * 4, "2m+2s", "2m+2s", "solo", "fixed", "guarded", "guarded", "unknown")
SESSIONS = ("a", "b", "c.d", "e", "f", "g")
KEYS = (None, None, None, "k1", "k2", "k3")
GARBAGE = (b"", b"[]", b'{"id":1}', b"\xff\xfe", b'{"id":"%s","data":{"more":1}}', b'{"id":"%s","data":[]}')


class Wanted(msgspec.Struct, frozen=True):
    """One command as somebody wants it decided, with the id that stays the same however often it is sent."""

    origin: str
    command_id: str
    name: str
    payload: bytes


class People:
    """All who ask. `open` holds what was asked and not answered for good, `queued` what the queue said it has taken,
    by sequence."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._random = world.random
        self._wire = Wire(Process("ask"), world.faults)
        # Whoever asks has the right time, whatever the tower's machine believes.
        self._ids = SimulatedIds(world.random, SimulatedClock())
        self._waiting: dict[tuple[str, str], asyncio.Event] = {}
        self._all: list[Wanted] = []
        self._requested: set[tuple[str, str]] = set()
        self.open: dict[tuple[str, str], Wanted] = {}
        self.queued: dict[int, tuple[str, str]] = {}
        self.answers: dict[tuple[str, str], dict[str, Any]] = {}

    def heard(self, answer: Answer) -> None:
        """An outcome reached its asker."""
        key = (answer.origin, answer.command_id)
        outcome = msgspec.json.decode(answer.payload)
        if key not in self._world.model.asked or _asks_again(outcome):
            return
        if key in self._world.model.by_command:
            # What left no event is decided anew when it is asked again, on the state of then.
            before = self.answers.setdefault(key, outcome)
            self._world.model.expect(
                _said(before) == _said(outcome), f"two outcomes of one command: {before} and {outcome}"
            )
        self.open.pop(key, None)
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.set()

    async def live(self, commands: int, think_s: float) -> None:
        """Ask for some commands, some of them long after they were answered; most are waited for, some only sent."""
        for _ in range(commands):
            await pause(self._random.uniform(0, think_s))
            again = self._all and self._random.random() < 0.3
            wanted = self._random.choice(self._all) if again else self._want()
            await self._send(wanted)
            if self._random.random() < 0.8:
                await self._hear(wanted, tries=3)

    async def insist(self) -> None:
        """Ask for all that is open until it is answered."""
        while self.open:
            await self._hear(next(iter(self.open.values())), tries=1)

    async def ask_all_again(self) -> None:
        """Everything that was ever asked, by the same ids: what is recorded answers, and nothing happens twice."""
        for wanted in self._all:
            if self._world.model.asked[wanted.origin, wanted.command_id][1] is not None:
                self.open[wanted.origin, wanted.command_id] = wanted
        self._waiting.clear()
        for wanted in self._all:
            await self._send(wanted)
        await self.insist()

    async def ask_last(self) -> None:
        """One more command that leaves an event, so that a writer that was overtaken notices."""
        wanted = self._register("host", "pane.remove", {"pane_id": "nobody"})
        await self._hear(wanted, tries=1000)

    async def ask_for_a_scan(self) -> None:
        await self._hear(self._register("host", "container.scan", {}), tries=1000)

    # --- one command -----------------------------------------------------------------------------------------------

    def _want(self) -> Wanted:
        random = self._random
        origin = random.choice(ORIGINS)
        if random.random() < 0.05:
            return self._register(origin, random.choice(("layout.create", "pane.frob")), None)
        name, data = self._compose()
        return self._register(origin, name, data)

    def _register(self, origin: str, name: str, data: Mapping[str, Any] | None) -> Wanted:
        command_id = self._ids.uuid7()
        if data is None:
            payload = self._random.choice(GARBAGE).replace(b"%s", command_id.encode())
        else:
            payload = msgspec.json.encode({"id": command_id, "data": data})
        wanted = Wanted(origin, command_id, name, payload)
        self._all.append(wanted)
        self._world.model.asked[origin, command_id] = (name, data)
        if data is not None:
            self.open[origin, command_id] = wanted
        return wanted

    def _compose(self) -> tuple[str, dict[str, Any]]:
        """A command that may or may not fit what stands."""
        random, layouts = self._random, self._world.model.layouts
        if random.random() < 0.05:
            return "container.scan", {}
        if self._world.executes and random.random() < 0.5:
            return self._execution()
        if self._world.rouses and random.random() < 0.7:
            return self._world.talk.asked(random)
        panes, standing = list(layouts.panes.values()), list(layouts.layouts)
        if random.random() < 0.12:
            return self._of_agents(panes)
        able = sorted((each for each in panes if each.state is PaneState.READY), key=_pane_id)
        if self._world.talkative and able and random.random() < 0.5:
            return "pane.send", self._text_for(random.choice(able))
        choice = random.random()
        if choice < 0.25 or not panes:
            return "layout.create", self._creation()
        if choice < 0.32:
            return "layout.remove", {"layout_id": random.choice([*sorted(standing), "nobody"])}
        if choice < 0.4:
            return "layout.restore", {"layout_id": random.choice([*sorted(standing), "nobody"])}
        pane = random.choice(sorted(panes, key=_pane_id))
        if choice < 0.6:
            return "pane.remove", {"pane_id": pane.pane_id}
        if choice < 0.75:
            return "pane.send", self._text_for(random.choice(able) if able and random.random() < 0.9 else pane)
        if choice < 0.98:
            gone = sorted((each for each in panes if not each.live and each.successor_id is None), key=_pane_id)
            source = random.choice(gone) if gone and random.random() < 0.8 else pane
            data: dict[str, Any] = {"predecessor_pane_id": source.pane_id, "idempotency_key": random.choice(KEYS)}
            if random.random() < 0.2:
                data["launch_command_override"] = random.choice(("other", "quits", "missing"))
            return "pane.recreate", data
        return "pane.promote", {}

    def _execution(self) -> tuple[str, dict[str, Any]]:
        random, executions = self._random, self._world.model.tower.executions
        known = sorted((*executions.open, *executions.ended))
        choice = random.random()
        if known and choice < 0.15:
            return "execution.cancel", {"execution_id": random.choice((*known, "nobody"))}
        asking = sorted(each.execution_id for each in executions.open.values() if each.questions)
        if asking and choice < 0.5:
            return "execution.answer", {"execution_id": random.choice(asking), "value": "yes"}
        data: dict[str, Any] = {"code": random.choice(CODES), "timeout": random.choice((0.5, 5.0))}
        if random.random() < 0.7:
            data["session_id"] = random.choice(("one", "two"))
        if random.random() < 0.3:
            data["idempotency_key"] = random.choice(KEYS)
        if random.random() < 0.5:
            data["retry"] = random.choice(({"safe": True, "backoff_s": 0.2}, {"max_attempts": 2, "backoff_s": 3}))
        if random.random() < 0.2:
            data |= {"concurrency_key": "k", "priority": random.randrange(10)}
        return "execution.request", data

    def _of_agents(self, panes: Sequence[Pane]) -> tuple[str, dict[str, Any]]:
        random = self._random
        if panes and random.random() < 0.4:
            pane_id = random.choice(sorted(panes, key=_pane_id)).pane_id
            return "agent.report", {"pane_id": pane_id, "agent_session": f"session-{random.randrange(3)}"}
        container_id = random.choice(CONTAINERS)
        server = self._world.servers.get(container_id)
        if server is not None and random.random() < 0.7:
            server.person_creates(random.choice(("mine", "yours")))
        places = [pane.tmux_pane_id for _, pane in server.panes()] if server is not None else []
        adopting = {"container_id": container_id, "tmux_pane_id": random.choice((*places, "%99"))}
        return "agent.adopt", {**adopting, "label": random.choice(("m1", "s1", "mine", "yours"))}

    def _text_for(self, pane: Pane) -> dict[str, Any]:
        return {"pane_id": pane.pane_id, "text": f"text {self._ids.uuid7()}"}

    def _creation(self) -> dict[str, Any]:
        random = self._random
        template = self._world.template or random.choice(TEMPLATES)
        session = f"s{random.randrange(60)}" if self._world.crowded else random.choice(SESSIONS)
        data: dict[str, Any] = {
            "container_id": random.choice(CONTAINERS),
            "template_name": template,
            "tmux_session_name": session,
        }
        if self._world.crowded:
            data["container_id"] = "host"
        if random.random() < 0.3:
            data["idempotency_key"] = random.choice(KEYS)
        if random.random() < 0.2:
            data["working_dir"] = f"/srv/{random.randrange(3)}"
        if template in ("1m+2s", "2m+2s") and random.random() < 0.3:
            data["launch_command_overrides"] = {"slave:s1": random.choice(("other", "quits", "fails", "missing"))}
        if template == "guarded" and random.random() < 0.6:
            data["launch_command_overrides"] = {random.choice(("master:g1", "slave:guard")): "fails"}
        return data

    async def _send(self, wanted: Wanted) -> None:
        """Through one of the doors, now and then twice, now and then to be received much later."""
        random, key = self._random, (wanted.origin, wanted.command_id)
        model = self._world.model
        noun, _, verb = wanted.name.partition(".")
        asked = Asked(payload=wanted.payload, origin=wanted.origin, noun=noun, verb=verb, reply_to="_INBOX.x")
        queued = random.random() < self._world.durable_share
        if not queued:
            self._requested.add(key)
            model.queued_only.pop(key, None)
        for _ in range(2 if random.random() < 0.1 else 1):
            try:
                if queued:
                    sequence = await self._wire.call(
                        "commands.publish", lambda: self._publish(key, asked), NotQueued, detail=_named(wanted)
                    )
                    if self._world.model.asked[key][1] is not None:
                        self.queued[sequence] = key
                else:
                    await self._wire.call(
                        "commands.ask", lambda: self._world.request_door.ask(asked), NotQueued, detail=_named(wanted)
                    )
            except (NotQueued, NoTower):
                pass

    def _publish(self, key: tuple[str, str], asked: Asked) -> int:
        sequence = self._world.queue.publish(asked)
        if key not in self._requested and key not in self._world.model.by_command:
            self._world.model.queued_only.setdefault(key, sequence)
        return sequence

    async def _hear(self, wanted: Wanted, tries: int) -> None:
        key = (wanted.origin, wanted.command_id)
        for _ in range(tries):
            if key not in self.open:
                return
            heard = self._waiting.setdefault(key, asyncio.Event())
            try:
                async with asyncio.timeout(self._random.uniform(1, 10) if self._world.faults.on else 1):
                    await heard.wait()
            except TimeoutError:
                await self._send(wanted)


def _pane_id(pane: Pane) -> str:
    return pane.pane_id


def _named(wanted: Wanted) -> str:
    return f"{wanted.name} {wanted.command_id[-6:]} of {wanted.origin[:4]}"


def _asks_again(outcome: Mapping[str, Any]) -> bool:
    """Not decided: asking again with the same id may do better."""
    return outcome["status"] == "rejected" and outcome["error"]["code"] in ("tower_busy", "command_expired")


def _said(outcome: Mapping[str, Any]) -> object:
    """What must never change. A rejection that is not recorded has no position of its own."""
    return outcome["error"] if outcome["status"] == "rejected" else (outcome["result"], outcome["position"])
