"""Bundles, runtimes and transcripts as a world has them, and what is asked of sessions in it.

An instruction is one word or more: one that holds `fails` fails, any other is said back.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import msgspec

from domain.bundles.plan import Plan
from domain.sessions.events import SessionState
from domain.sessions.messages import Message
from domain.tower import Tower
from handlers.bundle_ports import BundleProblem, PreparedBundle
from handlers.session_ports import Output, RuntimeFailed, RuntimeSpec, Turn, TurnError, TurnResult, TurnState
from tests.simulation.loop import pause
from tests.simulation.wire import Wire

LONGEST_S = 2.0
DEPTH = 3
"""Runs that may lead to each other: what two of them trigger in a circle ends soon."""

NAMES = ("work:ready", "work:fails", "one:done", "nobody:cares")


def _heard(name: str, *events: str, **fields: Any) -> dict[str, Any]:
    triggers = [{"type": "session_event", "config": {"event_names": list(events)}}, {"type": "manual"}]
    return {"name": name, "bundle": "worker", "triggers": triggers, "instruction": "{type} {event.name}", **fields}


DECLARED = (
    _heard("many", "work:*", pool_size=2, queue_size=3, overflow="drop_oldest", on_complete_emit="many:done"),
    _heard("one", "many:done", coalesce="latest", on_complete_emit="one:done", on_error_emit="one:failed"),
    _heard("again", "one:*", queue_size=1, on_complete_emit="work:ready", stop_on_parent_stop=False),
)


class Talk:
    """What was said, in all towers of a world. `expect(holds, what)` reports what must not be."""

    def __init__(self, random: Random, tower: Callable[[], Tower], expect: Callable[[bool, str], None]) -> None:
        self.random = random
        self.transcripts: dict[str, tuple[Message, ...]] = {}
        self._tower = tower
        self._expect = expect
        self._begun: Counter[tuple[str, int]] = Counter()

    def begins(self, session_id: str, turn: int) -> None:
        """By the log's leave, and once."""
        session = self._tower().sessions.known.get(session_id)
        allowed = session is not None and session.state is SessionState.RUNNING and session.running is not None
        self._expect(allowed, f"turn {turn} of session {session_id} begins, and the log says {session}")
        self._begun[session_id, turn] += 1
        self._expect(self._begun[session_id, turn] == 1, f"turn {turn} of session {session_id} begins twice")

    def asked(self, random: Random) -> tuple[str, dict[str, Any]]:
        """A command about sessions, as somebody may send it."""
        backgrounds, sessions = self._tower().backgrounds, self._tower().sessions
        choice = random.random()
        if choice < 0.2:
            options = {"session_id": random.choice(("lead1", "lead2")), "background": True}
            return "session.spawn", {"bundle": "lead", "instruction": "lead", **options}
        if choice < 0.25:
            return "session.spawn", {"bundle": random.choice(("worker", "missing")), "instruction": "fails or not"}
        if choice < 0.65:
            return "session.emit", {"name": random.choice(NAMES), "data": random.randrange(9)}
        if choice < 0.72:
            every = sorted((*sessions.known, *sessions.ended, "nobody"))
            return random.choice(("session.cancel", "session.end")), {"session_id": random.choice(every)}
        named = {"background_id": random.choice(sorted((*backgrounds.known, "bg-nobody-0000")))}
        if choice < 0.86:
            return random.choice(("background.start", "background.stop", "background.start")), named
        return "trigger.fire", {"name": named["background_id"], "data": {"by": "hand"}}


class SimulatedBundles:
    """The bundles that serve; now and then one is not prepared yet."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    async def find(self, reference: str) -> PreparedBundle | None:
        await pause(self._talk.random.uniform(0, 0.01))
        if reference not in ("lead", "worker"):
            details: Mapping[str, Any] = {"bundle": reference, "searched": []}
            raise BundleProblem("bundle_not_found", f"no bundle {reference}", details)
        if self._talk.random.random() < 0.1:
            return None
        sessions = DECLARED if reference == "lead" else ()
        plan = Plan(name=reference, runtime={"kind": "echo"}, background_sessions=sessions)
        return PreparedBundle(
            uri=f"/bundles/{reference}", name=reference, version="1", description="", digest="d" * 64, plan=plan
        )


class SimulatedRuntimes:
    """The `Runtimes` port of one tower's process."""

    def __init__(self, talk: Talk, wire: Wire) -> None:
        self._talk = talk
        self._wire = wire

    def make(self, kind: str) -> "SimulatedRuntime":
        return SimulatedRuntime(self._talk, self._wire)


class SimulatedRuntime:
    """The `Runtime` port."""

    def __init__(self, talk: Talk, wire: Wire) -> None:
        self._talk = talk
        self._wire = wire
        self._session_id = ""
        self._stopped = asyncio.Event()

    async def start(self, spec: RuntimeSpec) -> None:
        self._session_id = spec.session_id
        await pause(self._talk.random.uniform(0, 0.1))
        if self._talk.random.random() < 0.05:
            raise RuntimeFailed("program_not_found", "as it happens")

    async def execute(self, turn: Turn, output: Output) -> TurnResult:
        # A killed process starts nothing.
        if not self._wire.process.alive:
            raise asyncio.CancelledError
        self._stopped.clear()
        self._talk.begins(self._session_id, turn.turn)
        self._wire.faults.trace.add(self._wire.process.name, f"session {self._session_id} is told {turn.instruction}")
        try:
            async with asyncio.timeout(self._talk.random.uniform(0, LONGEST_S)):
                await self._stopped.wait()
        except TimeoutError:
            pass
        else:
            return TurnResult(state=TurnState.CANCELLED)
        await output(turn.instruction)
        if "fails" in turn.instruction:
            return TurnResult(state=TurnState.FAILED, error=TurnError(type="exit_status", message="as asked"))
        return TurnResult(state=TurnState.COMPLETED, output=turn.instruction)

    async def cancel(self) -> None:
        self._stopped.set()

    async def close(self) -> None:
        await pause(self._talk.random.uniform(0, 0.05))


class SimulatedTranscripts:
    """The `SessionStorage` port on the tower's disk."""

    def __init__(self, talk: Talk, wire: Wire) -> None:
        self._kept = talk.transcripts
        self._wire = wire

    async def save(self, session_id: str, previous: str | None, messages: Sequence[Message]) -> str:
        said = (*self._kept.get(previous or "", ()), *messages)
        digest = hashlib.blake2b(session_id.encode() + msgspec.json.encode(said), digest_size=32).hexdigest()

        def keep() -> str:
            self._kept[digest] = said
            return digest

        return await self._wire.call("transcripts.save", keep, OSError)

    async def load(self, session_id: str, digest: str) -> tuple[Message, ...]:
        return await self._wire.call("transcripts.load", lambda: self._kept[digest], OSError)

    async def exists(self, session_id: str, digest: str) -> bool:
        return digest in self._kept
