"""A node as full as it may be: 40 layouts of 4 panes, killed, reattached, removed; nothing of it stays behind."""

import asyncio
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tests.integration.tower.conftest import Desk
from tests.waiting import eventually

LAYOUTS, PANES = 40, 160
REATTACHED_S, VISIBLE_S = 5.0, 1.0
"""The design's bounds, from the start of the process and from there on."""
SLOW = 2
"""So many times slower a busy machine may be."""

CLAIMED = "agenttower.node.claimed.v1"
REATTACHED = "agenttower.layout.recovery_reattached.v1"


class Level(NamedTuple):
    """What a process holds."""

    fds: int
    threads: int
    children: int
    rss_mib: float


def level(pid: int) -> Level:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    children = [each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    return Level(
        fds=len(os.listdir(f"/proc/{pid}/fd")),
        threads=int(status["Threads"]),
        children=sum(len(each) for each in children),
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
    )


def above(now: Level, before: Level) -> list[str]:
    """What has not come back to its level. Threads of a pool stay, memory is given back late: they have a margin."""
    margin = Level(fds=4, threads=16, children=1, rss_mib=60)
    return [
        f"{name}: {is_now:g}, before {was:g}"
        for name, is_now, was, more in zip(Level._fields, now, before, margin, strict=True)
        if is_now > was + more
    ]


def make_all(desk: Desk) -> list[str]:
    return [desk.create(f"fleet{number}", "2m+2s")["layout_id"] for number in range(LAYOUTS)]


async def reattached(desk: Desk) -> str:
    """SIGKILL, a new process, and how long it took; raises past twice the bounds."""
    desk.close()
    desk.tower.kill()
    started = time.time()
    await asyncio.to_thread(desk.tower.start)
    await eventually(lambda: len(desk.events(type=REATTACHED)) == LAYOUTS, "every layout is reattached")
    visible = time.time()
    events = desk.events(type=REATTACHED)
    assert sum(len(event["data"]["pane_ids"]) for event in events) == PANES
    recovered = max(datetime.fromisoformat(event["time"]).timestamp() for event in events)
    claimed = datetime.fromisoformat(desk.events(type=CLAIMED)[-1]["time"]).timestamp()
    figures = (
        f"reattached {recovered - started:.2f} s after the start ({recovered - claimed:.2f} s after the claim),"
        f" visible {visible - recovered:.2f} s after that"
    )
    assert recovered - started < SLOW * REATTACHED_S, figures
    # The queries are served once all has started: that is part of the way.
    assert visible - recovered < SLOW * VISIBLE_S or visible - started < REATTACHED_S + VISIBLE_S, figures
    return figures


async def test_160_panes_are_made_reattached_and_removed_without_a_trace(desk: Desk):
    first = await desk.ready("first", "2m+2s")
    desk.accepted("layout", "remove", {"layout_id": first["id"]})
    await eventually(lambda: not desk.tmux_panes(), "the first layout is gone")
    before = level(desk.tower.running.pid)

    layouts = await asyncio.to_thread(make_all, desk)
    await eventually(lambda: not desk.get("/layouts", state="creating")["items"], "all have settled", timeout_s=90)
    assert len(desk.get("/panes", state="ready", limit=200)["items"]) == PANES
    full = level(desk.tower.running.pid)
    assert full.fds > before.fds + PANES / 2, "a watched process is a file descriptor: this test would see one left"

    figures = await reattached(desk)
    assert len(desk.get("/panes", state="ready", limit=200)["items"]) == PANES
    assert len(desk.tmux_panes()) == PANES
    sys.stdout.write(f"{figures}\n")

    for layout_id in layouts:
        desk.accepted("layout", "remove", {"layout_id": layout_id})
    await eventually(lambda: not desk.tmux_panes(), "every pane is killed", timeout_s=60)
    left = await eventually(
        lambda: not (above(level(desk.tower.running.pid), before)) or None,
        f"the tower holds what it held before, {before} ({figures})",
    )
    assert left
    assert desk.get("/layouts", state="ready")["items"] == []
