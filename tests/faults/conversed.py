"""Stories of sessions: turns of all sizes, context from a parent, what rested in an earlier tower, stops and ends."""

from typing import Any

from domain.messages import Event
from domain.sessions.events import SessionCancelled, SessionCompleted, SessionTimedOut, SessionTurnStarted, TurnEnd
from tests.faults.book import Book, Driver, driving
from tests.faults.child import Child
from tests.faults.stories import Story
from tests.waiting import eventually

SPAWNING = {
    "runtime": {"kind": "python"},
    "permissions": {"spawn": ["echo"]},
    "agents": {"echo": {"runtime": {"kind": "echo"}}},
}
LONG = "x" * 300_000


class Conversed(Story):
    """A session that rested in an earlier tower goes on; one gets its parent's words; one is long in and out; one is
    spawned by code; one is cancelled, one is late."""

    def __init__(self) -> None:
        self._earlier = ""

    async def prepare(self, child: Child, book: Book) -> None:
        await child.start()
        async with driving(child, book) as driver:
            self._earlier = await _spawn(driver, "before")
            await _told(driver, SessionCompleted, self._earlier)
        await child.kill()

    async def tell(self, driver: Driver) -> None:
        await driver.ask("session", "instruct", {"session_id": self._earlier, "instruction": "again"})
        await _told(driver, TurnEnd, self._earlier, 2)
        child = await _spawn(driver, LONG, parent_session_id=self._earlier, context_depth="all")
        await _told(driver, SessionCompleted, child)
        spawning = f"talk{len(driver.book.sent)}"
        data = {"bundle": SPAWNING, "instruction": "tower.spawn(None, 'x', agent='echo')", "session_id": spawning}
        await driver.ask("session", "spawn", data)
        await _told(driver, SessionCompleted, spawning)
        stopped = await _spawn(driver, "a b c d e f", delay_s=0.5)
        await _told(driver, SessionTurnStarted, stopped)
        await driver.ask("session", "cancel", {"session_id": stopped})
        await _told(driver, SessionCancelled, stopped)
        late = await _spawn(driver, "a b c d e f", delay_s=0.5, timeout=1.5)
        await _told(driver, SessionTimedOut, late)


async def _spawn(driver: Driver, instruction: str, *, delay_s: float = 0, **options: Any) -> str:
    session_id = f"talk{len(driver.book.sent)}"
    bundle = {"runtime": {"kind": "echo", "delay_s": delay_s}}
    data = {"bundle": bundle, "instruction": instruction, "session_id": session_id, **options}
    await driver.ask("session", "spawn", data)
    return session_id


async def _told(driver: Driver, kind: type[Event], session_id: str, count: int = 1) -> None:
    """Until the log has so many such events of this session."""

    async def look() -> bool:
        recorded = await driver.recorded()
        found = [each for each in recorded if isinstance(each.event, kind) and each.envelope.subject == session_id]
        return len(found) >= count

    await driver.or_died(eventually(look, f"{kind.__name__} of {session_id}", timeout_s=60))
