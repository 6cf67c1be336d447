"""What layouts, panes and agents look like in queries, row by row, and that it is the state of the domain."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.sql import SqlDatabase
from domain.layouts.state import aggregate
from projections.tables import instant
from tests.integration.projections.conftest import Running, Start
from tests.integration.projections.recorded import ListLog, random_history
from tests.unit import builders as b


def _second(position: int) -> str:
    return f"2026-01-02T03:04:{5 + position:02}.678901Z"


async def test_a_layout_just_created(tower: Running, log: ListLog) -> None:
    await log.record(*b.layout("L", "m1", "s1", key="key-1"))
    await tower.caught_up()
    pane: dict[str, Any] = {
        "id": "L-s1",
        "layout_id": "L",
        "container_id": "host",
        "slot": 1,
        "role": "slave",
        "capability": "worker",
        "label": "s1",
        "launch_profile": "shell",
        "restart": "never",
        "restart_count": 0,
        "restart_due_at": None,
        "restart_given_up": None,
        "state": "creating",
        "failed_stage": None,
        "reason": None,
        "exit_code": None,
        "signal": None,
        "tmux_pane_id": None,
        "tmux_pane_index": None,
        "pid": None,
        "log_path": None,
        "agent_id": None,
        "predecessor_id": None,
        "successor_id": None,
        "chain_depth": 0,
        "origin": "managed",
        "created_at": _second(4),
        "updated_at": _second(4),
    }
    assert await tower.models.pane("L-s1") == pane
    layout = await tower.models.layout("L")
    assert layout is not None
    assert layout.pop("panes") == [await tower.models.pane("L-m1"), pane]
    assert layout == {
        "id": "L",
        "container_id": "host",
        "template_name": "solo",
        "tmux_session_name": "session-L",
        "state": "creating",
        "failed_stage": None,
        "idempotency_key": "key-1",
        "origin": "managed",
        "created_at": _second(1),
        "updated_at": _second(1),
        "pane_count": 2,
        "ready_pane_count": 0,
    }
    assert (await tower.models.agents()).items == []


async def test_a_layout_that_is_ready(tower: Running, log: ListLog) -> None:
    last = await log.record(*b.ready_layout("L", "m1", "s1"))
    await tower.caught_up()
    page = await tower.models.layouts()
    assert page.position == last
    (layout,) = page.items
    assert (layout["state"], layout["pane_count"], layout["ready_pane_count"]) == ("ready", 2, 2)
    assert layout["updated_at"] == _second(last)
    pane = await tower.models.pane("L-m1")
    assert pane is not None
    shown = {key: pane[key] for key in ("state", "tmux_pane_id", "tmux_pane_index", "pid", "log_path", "agent_id")}
    assert shown == {
        "state": "ready",
        "tmux_pane_id": "%1",
        "tmux_pane_index": 0,
        "pid": 100,
        "log_path": "L-m1.log",
        "agent_id": "agent-L-m1",
    }
    agents = (await tower.models.agents()).items
    assert [agent["id"] for agent in agents] == ["agent-L-m1", "agent-L-s1"]
    assert agents[0] == {
        "pane_id": "L-m1",
        "id": "agent-L-m1",
        "layout_id": "L",
        "container_id": "host",
        "role": "master",
        "capability": "orchestrator",
        "label": "m1",
        "state": "ready",
        "tmux_pane_id": "%1",
        "tmux_session_name": None,
        "pid": 100,
        "origin": "managed",
        "agent_session": None,
        "registered_at": _second(8),
        "gone_at": None,
        "gone_reason": None,
        "updated_at": _second(11),
    }


async def test_an_adopted_agent(tower: Running, log: ListLog) -> None:
    await log.record(b.adopted(role="slave", capability="review"))
    await tower.caught_up()
    (running,) = (await tower.models.agents()).items
    assert running == {
        "pane_id": None,
        "id": "A",
        "layout_id": None,
        "container_id": "host",
        "role": "slave",
        "capability": "review",
        "label": "reviewer",
        "state": "running",
        "tmux_pane_id": "%7",
        "tmux_session_name": "theirs",
        "pid": 77,
        "origin": "adopted",
        "agent_session": None,
        "registered_at": _second(1),
        "gone_at": None,
        "gone_reason": None,
        "updated_at": _second(1),
    }
    await log.record(b.agent_gone(reason="exited"))
    await tower.caught_up()
    changed = {"state": "gone", "gone_at": _second(2), "gone_reason": "exited", "updated_at": _second(2)}
    assert await tower.models.agent("A") == running | changed
    assert await tower.models.agent("nobody") is None


async def test_what_an_agent_reported_stands_with_it(tower: Running, log: ListLog) -> None:
    await log.record(*b.ready_layout(), b.reported("L-m1", "first"), b.reported("L-m1", "later"))
    await tower.caught_up()
    agent = await tower.models.agent("agent-L-m1")
    assert agent is not None
    assert (agent["agent_session"], agent["state"]) == ("later", "ready")


async def test_a_pane_that_died_and_one_that_failed(tower: Running, log: ListLog) -> None:
    await log.record(
        *b.ready_layout("L", "m1", "s1"),
        b.exited("L-m1"),
        b.moved("L-m1", "ready", "degraded", "process_exited"),
        b.layout_moved("L", "ready", "degraded"),
        b.moved("L-s1", "ready", "failed", "pane_vanished", "gone\0from tmux"),
        b.layout_moved("L", "degraded", "failed", "pane_vanished"),
    )
    await tower.caught_up()
    died, failed = await tower.models.pane("L-m1"), await tower.models.pane("L-s1")
    layout = await tower.models.layout("L")
    assert died is not None
    assert failed is not None
    assert layout is not None
    assert (died["state"], died["failed_stage"], died["exit_code"], died["signal"]) == (
        "degraded",
        "process_exited",
        1,
        None,
    )
    # Postgres takes no NUL: replaced on both, so that they answer the same.
    assert (failed["failed_stage"], failed["reason"]) == ("pane_vanished", "gone\ufffdfrom tmux")
    assert (layout["state"], layout["failed_stage"]) == ("failed", "pane_vanished")
    assert (layout["pane_count"], layout["ready_pane_count"]) == (2, 0)


async def test_a_recreated_pane_stands_for_its_predecessors(tower: Running, log: ListLog) -> None:
    await log.record(
        *b.failed_layout("L"),
        *b.recreated("L-m1", "L-b"),
        b.moved("L-b", "creating", "failed", "registration"),
        *b.recreated("L-b", "L-c", depth=2),
        *b.ready("L-c"),
        b.layout_moved("L", "failed", "ready"),
    )
    await tower.caught_up()
    layout = await tower.models.layout("L")
    assert layout is not None
    assert [pane["id"] for pane in layout["panes"]] == ["L-c"]
    assert (layout["state"], layout["failed_stage"], layout["pane_count"], layout["ready_pane_count"]) == (
        "ready",
        None,
        1,
        1,
    )
    whole = await tower.models.layout("L", include_terminal_panes=True)
    assert whole is not None
    assert [(pane["id"], pane["successor_id"]) for pane in whole["panes"]] == [
        ("L-m1", "L-b"),
        ("L-b", "L-c"),
        ("L-c", None),
    ]
    pane = await tower.models.pane("L-c", include_predecessor_chain=True)
    assert pane is not None
    assert (pane["predecessor_id"], pane["chain_depth"]) == ("L-b", 2)
    assert pane["predecessor_chain"] == [await tower.models.pane("L-b"), await tower.models.pane("L-m1")]


async def test_a_removed_layout_keeps_its_history(tower: Running, log: ListLog) -> None:
    await log.record(*b.removed_layout("L"))
    await tower.caught_up()
    layout = await tower.models.layout("L")
    assert layout is not None
    assert (layout["state"], layout["panes"], layout["pane_count"]) == ("removed", [], 0)
    whole = await tower.models.layout("L", include_terminal_panes=True)
    assert whole is not None
    assert [pane["state"] for pane in whole["panes"]] == ["removed"]


async def test_what_is_not_there(tower: Running) -> None:
    assert await tower.models.layout("L") is None
    assert await tower.models.pane("L-m1", include_predecessor_chain=True) is None
    page = await tower.models.panes()
    assert (page.items, page.next_cursor, page.position) == ([], None, 0)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_rows_are_the_state_of_the_domain(database: SqlDatabase, running: Start, seed: int) -> None:
    """The same random history, folded by the tower and by the projections in batches of any size."""
    entries, state = random_history(seed, 400, executions=0, backgrounds=0)
    log = ListLog()
    tower = await running(log)
    start = 0
    while start < len(entries):
        end = start + 1 + (start * 7 + seed) % 90
        await log.append(*entries[start:end])
        await tower.caught_up()
        start = end
    assert len(state.layouts.layouts) > 5
    for layout_id, layout in state.layouts.layouts.items():
        row = await tower.models.layout(layout_id, include_terminal_panes=True)
        assert row is not None
        assert (row["state"], row["failed_stage"]) == (layout.state, layout.failed_stage)
        present = state.layouts.present_panes(layout_id)
        assert (row["state"], row["failed_stage"]) == aggregate(present)
        assert row["pane_count"] == sum(pane.state != "removed" for pane in present)
        assert row["ready_pane_count"] == sum(pane.state == "ready" for pane in present)
        assert sorted(pane["id"] for pane in row["panes"]) == sorted(layout.pane_ids)
        for shown in row["panes"]:
            pane = state.layouts.panes[shown["id"]]
            due_at = None if pane.restart_due_at is None else instant(pane.restart_due_at)
            assert shown["restart_due_at"] == due_at
            for name in set(shown) - {"id", "reason", "origin", "created_at", "updated_at", "restart_due_at"}:
                assert shown[name] == getattr(pane, name), (shown["id"], name)
    panes = state.layouts.panes.values()
    assert any(pane.restart_count or pane.restart_open for pane in panes)
    agents = [agent async for agent in _all_agents(tower)]
    assert sorted(agent["id"] for agent in agents) == sorted(state.agents.known)
    for agent in agents:
        known = state.agents.known[agent["id"]]
        for name in ("pane_id", "origin", "agent_session"):
            assert agent[name] == getattr(known, name), (agent["id"], name)
        if known.pane_id is not None:
            assert agent["state"] == state.layouts.panes[known.pane_id].state
        else:
            assert agent["state"] == ("gone" if known.gone else "running")
            for name in ("container_id", "tmux_pane_id", "pid", "label"):
                assert agent[name] == getattr(known, name), (agent["id"], name)
    assert any(agent["state"] == "gone" for agent in agents)
    assert any(agent["agent_session"] for agent in agents)


async def _all_agents(tower: Running) -> AsyncIterator[dict[str, Any]]:
    cursor = None
    while True:
        page = await tower.models.agents(limit=200, cursor=cursor)
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return
