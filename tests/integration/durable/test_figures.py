"""What /metrics tells of executions."""

import httpx

from tests.integration.durable.conftest import Runs
from tests.waiting import eventually


def figures(runs: Runs) -> dict[str, float]:
    """Every figure by its name with its labels."""
    text = httpx.get(f"{runs.desk.tower.running.http}/metrics").text
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_ends_by_mode_what_blocks_restarts_and_output_are_counted(runs: Runs) -> None:
    before = figures(runs)

    def more(name: str) -> float:
        return figures(runs).get(f"agenttower_{name}", 0.0) - before.get(f"agenttower_{name}", 0.0)

    await runs.run("1 + 1", session_id="figures")
    await runs.run("import asyncio\nawait asyncio.sleep(0)", session_id="figures")
    await runs.run("import time\ntime.sleep(0)\nprint('x' * 10_000)", session_id="figures")
    await runs.run("1 / 0", session_id="figures")
    await runs.run("import os\nos._exit(3)", session_id="figures")
    assert more('executions_total{end="completed",mode="simple_sync"}') == 1
    assert more('executions_total{end="completed",mode="top_level_await"}') == 1
    assert more('executions_total{end="completed",mode="blocking_sync"}') == 1
    assert more('executions_total{end="failed",mode="simple_sync"}') >= 1
    assert more('blocking_calls_total{call="time.sleep"}') == 1
    assert more("worker_restarts_total") == 1
    assert more("output_bytes_total") >= 10_001


async def test_what_is_open_is_told_as_it_is(runs: Runs) -> None:
    waits = runs.request("input()", session_id="open")
    await runs.asks(waits)
    behind = runs.request("2", session_id="open")
    found = figures(runs)
    assert found['agenttower_executions_open{state="running"}'] >= 1
    assert found['agenttower_executions_open{state="requested"}'] >= 1
    assert found["agenttower_promises_pending"] >= 3, "two executions and a question"
    runs.desk.accepted("execution", "answer", {"execution_id": waits, "value": "go on"})
    for each in (waits, behind):
        assert (await runs.end(each))["event"] == "completed"

    def at_rest() -> bool:
        return figures(runs)['agenttower_executions_open{state="requested"}'] == 0

    await eventually(at_rest, "nothing waits")
