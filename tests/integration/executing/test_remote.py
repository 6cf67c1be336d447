"""The remote engine where the local one has no equal: a broker that dies, callers that go away and come back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.cli.child_tower import ChildTower
from adapters.executing.outcomes import State
from adapters.executing.output import Chunk
from adapters.executing.protocol import NotAsking, Question
from adapters.remote import RemoteEngine, RemoteTower
from domain.errors import Rejection
from tests.integration.executing.remote import NODE, emptied_folder
from tests.waiting import eventually

WAITS = "import os, time\nopen('started', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\n"


@pytest.fixture
async def remote(tower: ChildTower) -> AsyncIterator[RemoteTower]:
    url = (tower.home / "nats.url").read_text().strip()
    async with RemoteTower(url, node=NODE) as remote:
        yield remote


@pytest.fixture
def folder(tower: ChildTower) -> Path:
    return emptied_folder(tower)


def kill_broker(tower: ChildTower) -> None:
    """It is started again by its tower."""
    (child,) = (
        int(pid)
        for pid in Path(f"/proc/{tower.running.pid}/task/{tower.running.pid}/children").read_text().split()
        if Path(f"/proc/{pid}/comm").read_text().strip() == "nats-server"
    )
    os.kill(child, signal.SIGKILL)


async def test_an_end_and_output_are_not_missed_while_the_broker_is_away(
    tower: ChildTower, remote: RemoteTower, folder: Path
) -> None:
    chunks: list[Chunk] = []

    async def keep(chunk: Chunk) -> None:
        chunks.append(chunk)

    async with RemoteEngine(remote, on_output=keep) as engine:
        running = asyncio.create_task(engine.execute(f"print('before')\n{WAITS}print('after')\n6 * 7"))
        await eventually((folder / "started").exists, "the start")
        kill_broker(tower)
        (folder / "go").touch()
        outcome = await running
        assert (outcome.state, outcome.value) == (State.COMPLETED, 42)
        assert "".join(chunk.text for chunk in chunks) == "before\nafter\n"


async def test_a_question_is_not_missed_while_the_broker_is_away(
    tower: ChildTower, remote: RemoteTower, folder: Path
) -> None:
    asked: asyncio.Queue[Question] = asyncio.Queue()
    async with RemoteEngine(remote, on_question=asked.put) as engine:
        running = asyncio.create_task(engine.execute(f"{WAITS}input('first? ') + input('second? ')"))
        await eventually((folder / "started").exists, "the start")
        kill_broker(tower)
        (folder / "go").touch()
        for n, prompt, answer in ((1, "first? ", "a"), (2, "second? ", "b")):
            question = await asked.get()
            assert (question.n, question.prompt) == (n, prompt)
            await engine.answer(question.execution_id, answer)
        assert (await running).value == "ab"
        with pytest.raises(NotAsking):
            await engine.answer(question.execution_id, "late")


async def test_who_goes_away_cancels_nothing_and_gets_the_same_end_again(remote: RemoteTower, folder: Path) -> None:
    execution_id, code = remote.new_id(), WAITS + "open('ran', 'a').write('x')\n'done'"
    async with RemoteEngine(remote, "comes-back") as engine:
        running = asyncio.create_task(engine.execute(code, execution_id=execution_id))
        await eventually((folder / "started").exists, "the start")
        running.cancel()
        await asyncio.wait([running])
    (folder / "go").touch()
    async with RemoteEngine(remote, "comes-back") as engine:
        for _ in range(2):
            assert (await engine.execute(code, execution_id=execution_id)).value == "done"
        with pytest.raises(Rejection, match="idempotency_conflict"):
            await engine.execute("'other'", execution_id=execution_id)
    assert (folder / "ran").read_text() == "x"


async def test_sessions_share_a_connection_and_no_names(remote: RemoteTower) -> None:
    async with RemoteEngine(remote) as one, RemoteEngine(remote) as other:
        await asyncio.gather(one.execute("mine = 1"), other.execute("mine = 2"))
        ends = await asyncio.gather(*(engine.execute("mine") for engine in (one, other)))
    assert [end.value for end in ends] == [1, 2]
