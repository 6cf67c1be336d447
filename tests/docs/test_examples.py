"""The examples, run as they stand; the NATS ones against a broker that goes on while no tower runs."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.cli.child_tower import ChildTower
from adapters.nats.broker import EmbeddedBroker
from tests.needs import need

EXAMPLES = Path(__file__).parents[2] / "examples"
DEADLINE_S = 60


@pytest.fixture
async def broker(short_tmp: Path) -> AsyncIterator[EmbeddedBroker]:
    """A broker that does not belong to the tower."""
    async with EmbeddedBroker(short_tmp, "local") as running:
        yield running


@pytest.fixture
async def tower(broker: EmbeddedBroker) -> AsyncIterator[ChildTower]:
    need("tmux")
    variables = {"AGENTTOWER_NATS_URL": broker.tower_url, "AGENTTOWER_NATS_ANSWERS_URL": broker.answers_url}
    with ChildTower(node="local", variables=variables) as made:
        await asyncio.to_thread(made.start)
        yield made


async def start(broker: EmbeddedBroker, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / words[0]),
        *words[1:],
        env={**os.environ, "NATS_URL": broker.operator_url},
        stdout=asyncio.subprocess.PIPE,
    )


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)).decode().strip()


async def line_with(process: asyncio.subprocess.Process, *words: str) -> str:
    """The next line that holds all of these."""
    while line := await line_of(process):
        if all(word in line for word in words):
            return line
    raise AssertionError(f"it ended without a line with {words}")


async def ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def test_a_command_waits_in_the_broker_until_a_tower_runs(broker: EmbeddedBroker, tower: ChildTower) -> None:
    await asyncio.to_thread(tower.stop)
    live = await start(broker, "subscriber.py", "1")
    # What is there already tells that the subscriber reads.
    await line_with(live, "agenttower.node.claimed.v1")
    data = json.dumps({"container_id": "host", "template_name": "1m+2s", "tmux_session_name": "queued"})
    publisher = await start(broker, "publisher.py", "layout", "create", data)
    try:
        queued = await line_of(publisher)
        assert queued.startswith("queued at ")
        command_id = queued.split()[-1]
        await asyncio.to_thread(tower.start)
        outcome = json.loads(await line_of(publisher))
        assert (outcome["command_id"], outcome["status"]) == (command_id, "accepted")
        layout_id = outcome["result"]["layout_id"]
        created = await line_with(live, "agenttower.layout.created.v1")
        assert created.split()[2] == layout_id
        await line_with(live, "agenttower.layout.state_changed.v1", layout_id, '"to": "ready"')
        assert await publisher.wait() == 0
    finally:
        await ended(publisher)
        await ended(live)


async def test_the_subscriber_starts_at_a_position_or_now(broker: EmbeddedBroker, tower: ChildTower) -> None:
    words = ["publisher.py", "layout", "create"]
    data = {"container_id": "host", "template_name": "1m+2s", "tmux_session_name": "first"}
    first = await start(broker, *words, json.dumps(data))
    await line_of(first)
    position = json.loads(await line_of(first))["position"]
    later = await start(broker, "subscriber.py", str(position))
    now = await start(broker, "subscriber.py")
    try:
        assert (await line_of(later)).startswith(f"{position} agenttower.")
        # The second refusal is surely recorded after the subscriber began, whenever that was.
        told: set[str] = set()
        while not told:
            refused = await start(broker, *words, json.dumps(data))
            await line_of(refused)
            outcome = json.loads(await line_of(refused))
            assert outcome["error"]["code"] == "managed_session_name_conflict"
            assert now.stdout is not None
            try:
                line = await asyncio.wait_for(now.stdout.readline(), 1)
                told.add(line.decode())
            except TimeoutError:
                continue
        assert int(told.pop().split()[0]) > position
    finally:
        await ended(later)
        await ended(now)
    assert await first.wait() == 0


async def test_a_person_answers_after_a_restart_of_the_tower(short_tmp: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AGENTTOWER_", "XDG_"))}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / "human_in_the_loop.py"),
        env={**kept, "PATH": programs, "TMPDIR": str(short_tmp), "XDG_CONFIG_HOME": str(short_tmp)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        told = [await line_of(process) for _ in range(5)]
        assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
    finally:
        await ended(process)
    assert told[0] == "asked:      Buy a lamp for 480?"
    assert told[-1] == ('it is completed at attempt 2, with the value {"bought": true, "item": "lamp", "price": 480}')
