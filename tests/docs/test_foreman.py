"""`examples/foreman` runs as it stands: each issue is resolved, tested and closed, each session says why it ran."""

import asyncio
import os
import sys
from pathlib import Path

from tests.needs import need

ROOT = Path(__file__).parents[2]
DEADLINE_S = 90


async def test_issues_are_resolved_tested_and_closed() -> None:
    need("tmux")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples" / "foreman" / "demo.py"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0, out.decode()
    lines = out.decode().splitlines()
    told = [line.split()[:3] for line in lines if line.startswith("  ")]
    pipeline = ("issue:created 1", "work:completed 1", "tests:completed 1", "issue:unblocked 2", "tests:completed 2")
    places = [told.index([name, "issue", number]) for name, number in (each.split() for each in pipeline)]
    assert places == sorted(places)
    why = [line.split()[:2] for line in lines[lines.index("Why each of them ran:") + 1 :]]
    assert [each for each in why if each[0].startswith("coding")] == [
        ["coding-workers-1", "issue:created"],
        ["coding-workers-2", "issue:unblocked"],
    ]
    assert [event for name, event in why if name.startswith("test")] == ["work:completed"] * 2
