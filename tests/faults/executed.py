"""Stories of executions: one that asks for everything that the tower can do for code."""

from typing import Any

from domain.executions.events import ExecutionEnd, SessionCheckpointed, SessionRestored
from domain.messages import Event
from domain.promises import PromiseCreated
from tests.faults.book import Driver
from tests.faults.stories import Story, TimersRefused, linger
from tests.waiting import eventually

CODE = """\
import getpass
tower.emit("work:begun")
tower.write_file({path!r}, "text")
tower.read_file({path!r})
tower.run(["true"])
tower.fetch({url!r})
print("printed")
input("? ")
print("and again")
getpass.getpass("! ")
"x" * 300_000
"""


class Executed(Story):
    """Questions, one of them secret; output, a large value; a checkpoint and its restore; a second attempt that waits
    for its time; promises that are settled before theirs."""

    async def tell(self, driver: Driver) -> None:
        number = len(driver.book.sent)
        execution_id, session_id = f"all{number}", f"s{number}"
        code = CODE.format(path=str(driver.child.home / "written"), url=driver.child.http + "/healthz")
        await _ask(driver, "execution", "request", id=execution_id, code=code, session_id=session_id)
        for n in (1, 2):
            await _told(driver, PromiseCreated, f"exec:{execution_id}:input:{n}")
            await _ask(driver, "execution", "answer", execution_id=execution_id, n=n, value="answer")
        await _told(driver, ExecutionEnd, execution_id)
        await _ask(driver, "session", "checkpoint", session_id=session_id)
        await _told(driver, SessionCheckpointed, session_id)
        await _ask(driver, "session", "restore", session_id=session_id)
        await _told(driver, SessionRestored, session_id)
        retry = {"max_attempts": 2, "backoff_s": 0.5}
        await _ask(driver, "execution", "request", id=f"fails{number}", code="1 / 0", retry=retry)
        await _ask(driver, "promise", "create", id=f"p{number}", timeout=600)
        await _told(driver, ExecutionEnd, f"fails{number}")
        await _ask(driver, "promise", "resolve", id=f"p{number}", value=1)
        # What follows an end, and the schedule that goes with a promise.
        await _ask(driver, "execution", "request", id=f"last{number}", code="1")
        await _told(driver, ExecutionEnd, f"last{number}")


class DeadlineRefused(TimersRefused):
    """The broker does not take the schedule of a promise."""

    async def tell(self, driver: Driver) -> None:
        await _ask(driver, "promise", "create", id=f"p{len(driver.book.sent)}", timeout=600)
        await linger(driver)


async def _ask(driver: Driver, noun: str, verb: str, **data: Any) -> None:
    await driver.ask(noun, verb, data)


async def _told(driver: Driver, kind: type[Event], subject: str) -> None:
    """Until the log has such an event of this execution, session or promise."""

    async def look() -> bool:
        return any(
            isinstance(each.event, kind) and each.envelope.subject == subject for each in await driver.recorded()
        )

    await driver.or_died(eventually(look, f"{kind.__name__} of {subject}", timeout_s=60))
