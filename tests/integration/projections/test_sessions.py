"""Sessions in queries, after random histories: rows, turns and promises are what the domain says."""

from typing import Any

import pytest

from domain.sessions.state import Session, promise_id
from tests.integration.projections.conftest import Running, dump
from tests.integration.projections.recorded import ListLog, random_history

SETTLED = {"completed": "resolved", "cancelled": "cancelled", "error": "rejected", "timed_out": "rejected"}


async def session(tower: Running, session_id: str) -> dict[str, Any]:
    found = await tower.models.session(session_id)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", [51, 52])
async def test_rows_are_the_state_of_the_domain(tower: Running, log: ListLog, seed: int) -> None:
    entries, state = random_history(seed, 700, executions=0, backgrounds=0, sessions=0.95)
    for start in range(0, len(entries), 97):
        await log.append(*entries[start : start + 97])
        await tower.caught_up()
    known = {**state.sessions.known, **state.sessions.ended}
    assert len(known) >= 30
    assert len({str(each.state) for each in known.values()}) >= 5
    for session_id, expected in known.items():
        row = await session(tower, session_id)
        assert row["state"] == str(expected.state)
        assert (row["ended_at"] is not None) == (session_id in state.sessions.ended or _ending(expected))
        turns = row["turns"]
        assert [each["turn"] for each in turns] == list(range(1, len(turns) + 1)), "in order, each once"
        assert sum(each["state"] == "running" for each in turns) == (row["state"] == "running")
        if isinstance(expected, Session):
            assert len(turns) == expected.turns
            assert [each["turn"] for each in turns if each["state"] == "waiting"] == [
                each.turn for each in expected.waiting
            ]
            assert row["stale"] == expected.stale
    live = await dump(tower.database)
    await tower.projector.rebuild("sessions")
    await tower.projector.rebuild("executions")
    assert await dump(tower.database) == live


async def test_the_promise_of_each_settles_with_its_first_outcome(tower: Running, log: ListLog) -> None:
    entries, _ = random_history(53, 500, executions=0, backgrounds=0, sessions=0.95)
    await log.append(*entries)
    await tower.caught_up()
    first: dict[str, str] = {}
    spawned: set[str] = set()
    for entry in entries:
        *_, kind, session_id, event = entry.subject.split(".")
        if kind == "session" and event == "spawned":
            spawned.add(session_id)
        if kind == "session" and event in SETTLED:
            first.setdefault(session_id, SETTLED[event])
    assert len(set(first.values())) == 3
    for session_id in spawned:
        made = await tower.models.promise(promise_id(session_id))
        assert made is not None
        assert made["state"] == first.get(session_id, "pending"), session_id


def _ending(expected: object) -> bool:
    return isinstance(expected, Session) and expected.ending
