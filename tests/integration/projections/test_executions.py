"""Executions and promises in queries: rows, order, filters, and waiting for an end."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from domain.errors import Rejection
from domain.executions import events as e
from domain.executions.state import ENDS
from domain.messages import HOST
from domain.promises import PromiseCreated, PromiseResolved
from tests.integration.projections.conftest import Running, Start, dump
from tests.integration.projections.recorded import ListLog, random_history
from tests.unit import builders as b
from tests.unit.cells import DIED, RAISED, asked, cancelled, completed, paused, requested, running, started

WAIT_S = 30.0


async def execution(tower: Running, execution_id: str = "x1", **query: Any) -> dict[str, Any]:
    found = await tower.models.execution(execution_id, **query)
    assert found is not None
    return found


async def promise(tower: Running, promise_id: str, **query: Any) -> dict[str, Any]:
    found = await tower.models.promise(promise_id, **query)
    assert found is not None
    return found


def _second(position: int) -> str:
    return f"2026-01-02T03:04:{5 + position:02}.678901Z"


async def test_an_execution_from_its_request_to_its_end(tower: Running, log: ListLog) -> None:
    await log.record(requested(code="a\0b", idempotency_key="k", retry=e.RetryPolicy(safe=True), timeout_s=1.5))
    await tower.caught_up()
    asked_for: dict[str, Any] = {
        "id": "x1",
        "session_id": "s",
        "owner": HOST,
        "state": "requested",
        "attempt": 0,
        "cancel_requested": None,
        "due_at": None,
        "code": "a\ufffdb",
        "promise_id": "exec:x1",
        "timeout_s": 1.5,
        "idempotency_key": "k",
        "when_busy": "queue",
        "retry": {"safe": True, "max_attempts": None, "backoff_s": 1.0, "then": "fail"},
        "priority": 4,
        "concurrency_key": None,
        "throwaway": False,
        "transaction": "commit_always",
        "value": None,
        "has_value": False,
        "value_digest": None,
        "value_bytes": None,
        "repr": None,
        "truncated": False,
        "error": None,
        "interrupted": None,
        "mode": None,
        "execution_time": None,
        "output_position": None,
        "truncated_bytes": 0,
        "children": 0,
        "blocking": [],
        "worker_restarted": False,
        "input_requests": [],
        "requested_at": _second(1),
        "started_at": None,
        "ended_at": None,
        "updated_at": _second(1),
    }
    assert await execution(tower) == asked_for
    await log.record(started())
    await tower.caught_up()
    ran = {"state": "running", "attempt": 1, "started_at": _second(2), "updated_at": _second(2)}
    assert await execution(tower) == asked_for | ran
    end = e.ExecutionCompleted(
        execution_id="x1",
        session_id="s",
        attempt=1,
        repr="None",
        value=None,
        execution_time=0.25,
        output_position=3,
        mode="simple_sync",
        children=2,
        blocking=("time.sleep",),
    )
    await log.record(end)
    await tower.caught_up()
    over = {"state": "completed", "repr": "None", "has_value": True, "execution_time": 0.25, "output_position": 3}
    over |= {"mode": "simple_sync", "children": 2, "blocking": ["time.sleep"]}
    over |= {"ended_at": _second(3), "updated_at": _second(3)}
    assert await execution(tower) == asked_for | ran | over
    assert await tower.models.execution("nobody") is None


async def test_an_end_that_comes_again_changes_nothing(tower: Running, log: ListLog) -> None:
    await log.record(*running(), completed(), cancelled(), started(attempt=2))
    await tower.caught_up()
    found = await execution(tower)
    assert (found["state"], found["attempt"], found["value"], found["has_value"]) == ("completed", 1, 2, True)
    assert (await promise(tower, "exec:x1"))["state"] == "resolved"


async def test_attempts_and_pauses(tower: Running, log: ListLog) -> None:
    due = b.AT + timedelta(minutes=5)
    retry = e.ExecutionRetryScheduled(
        execution_id="x1", session_id="s", attempt=1, reason="failed", due=due, error=DIED
    )
    await log.record(*running(), retry)
    await tower.caught_up()
    found = await execution(tower)
    assert (found["state"], found["due_at"]) == ("retrying", "2026-01-02T03:09:05.678901Z")
    assert (found["interrupted"], found["error"]["code"]) == ("failed", "worker_died")
    await log.record(
        e.ExecutionResumed(execution_id="x1", session_id="s", attempt=2, due=True),
        started(attempt=2),
        paused(attempt=2),
    )
    await tower.caught_up()
    found = await execution(tower)
    assert (found["state"], found["due_at"], found["attempt"]) == ("paused", None, 2)
    assert (found["interrupted"], found["error"], found["ended_at"]) == ("lost", None, None)
    await log.record(
        e.ExecutionCancelRequested(execution_id="x1", session_id="s", scope="session"), cancelled(attempt=2)
    )
    await tower.caught_up()
    found = await execution(tower)
    assert (found["state"], found["cancel_requested"], found["interrupted"]) == ("cancelled", "session", None)


@pytest.mark.parametrize("event", sorted(ENDS, key=str))
async def test_the_promise_of_an_execution_settles_with_its_end(tower: Running, log: ListLog, event: Any) -> None:
    await log.record(*running())
    await tower.caught_up()
    pending = {"id": "exec:x1", "owner": HOST, "state": "pending", "deadline": None, "data": None, "value": None}
    pending |= {"execution_id": "x1", "purpose": "execution", "n": None}
    pending |= {"created_at": _second(1), "settled_at": None}
    assert await promise(tower, "exec:x1") == pending
    more: dict[str, Any] = {"error": RAISED} if event is e.ExecutionFailed else {}
    more |= {"value": [1], "repr": "[1]"} if event is e.ExecutionCompleted else {}
    await log.record(event(execution_id="x1", session_id="s", attempt=1, **more))
    await tower.caught_up()
    state = {e.ExecutionCompleted: "resolved", e.ExecutionCancelled: "cancelled"}.get(event, "rejected")
    found = await promise(tower, "exec:x1")
    assert (found["state"], found["settled_at"]) == (state, _second(3))
    if event is e.ExecutionCompleted:
        assert found["value"] == [1]
    elif event is e.ExecutionFailed:
        assert found["value"]["exception_type"] == "ValueError"
    else:
        assert found["value"] is None


async def test_an_execution_shows_what_it_asks_now(tower: Running, log: ListLog) -> None:
    await log.record(*running(), asked(1, prompt="name? "), asked(2, prompt="key? ", secret=True, choices=["a"]))
    await log.record(PromiseResolved(promise_id="exec:x1:input:1", value="Ada"))
    await tower.caught_up()
    assert (await execution(tower))["input_requests"] == [
        {
            "promise_id": "exec:x1:input:2",
            "n": 2,
            "prompt": "key? ",
            "secret": True,
            "choices": ["a"],
            "deadline": None,
            "asked_at": _second(4),
        }
    ]
    answered = await promise(tower, "exec:x1:input:1")
    assert (answered["value"], answered["purpose"], answered["n"]) == ("Ada", "input", 1)
    page = await tower.models.promises(execution_id="x1", state="pending")
    assert [each["id"] for each in page.items] == ["exec:x1:input:2", "exec:x1"]


async def test_lists_show_open_ones_first_then_the_newest(tower: Running, log: ListLog) -> None:
    error = e.ExecutionError(exception_type="E", message="m", traceback="t")
    broken = e.ExecutionFailed(execution_id="x2", session_id="s", attempt=1, error=error)
    await log.record(*running("x1", "s"), completed("x1"), *running("x2", "s"), broken)
    await log.record(requested("x3", "t"), *running("x4", "s", code="1" * 300), requested("x5", "t"))
    await tower.caught_up()

    async def ids(**query: Any) -> list[str]:
        return [row["id"] for row in (await tower.models.executions(**query)).items]

    assert await ids() == ["x4", "x5", "x3", "x2", "x1"]
    assert await ids(session_id="s") == ["x4", "x2", "x1"]
    assert await ids(state="requested") == ["x5", "x3"]
    first = await tower.models.executions(limit=2)
    assert await ids(limit=3, cursor=first.next_cursor) == ["x3", "x2", "x1"]
    rows = {row["id"]: row for row in (await tower.models.executions()).items}
    assert "value" not in rows["x4"]
    assert rows["x4"]["code"] == "1" * 200
    assert (rows["x2"]["error"]["message"], rows["x2"]["error"]["traceback"]) == ("m", "")
    with pytest.raises(Rejection) as refused:
        await tower.models.executions(state="dead")
    assert refused.value.details["field"] == "state"


async def test_a_peer_sees_its_own_promises(tower: Running, log: ListLog) -> None:
    await log.record(PromiseCreated(promise_id="mine", owner=b.BENCH), PromiseCreated(promise_id="hosts", owner=HOST))
    await tower.caught_up()
    models = tower.models.seen_from(b.BENCH)
    assert [each["id"] for each in (await models.promises()).items] == ["mine"]
    assert await models.promise("hosts") is None
    assert (await models.promise("mine") or {})["owner"] == b.BENCH


class TestWaiting:
    async def test_for_an_end(self, tower: Running, log: ListLog) -> None:
        await log.record(*running(), *running("x2", "t"))
        await tower.caught_up()
        waiting = [
            asyncio.create_task(execution(tower, wait_s=WAIT_S)),
            asyncio.create_task(promise(tower, "exec:x1", wait_s=WAIT_S)),
        ]
        # Others of the same kind end first: nobody is answered for those.
        await log.record(completed("x2", session="t"))
        await execution(tower, "x2", wait_s=WAIT_S)
        assert not any(task.done() for task in waiting)
        await log.record(completed())
        assert [(await task)["state"] for task in waiting] == ["completed", "resolved"]

    async def test_for_a_promise(self, tower: Running, log: ListLog) -> None:
        await log.record(PromiseCreated(promise_id="p", owner=HOST))
        await tower.caught_up()
        waiting = asyncio.create_task(promise(tower, "p", wait_s=WAIT_S))
        await log.record(PromiseResolved(promise_id="p", value=7))
        assert (await waiting)["value"] == 7

    async def test_what_is_over_or_unknown_is_answered_at_once(self, tower: Running, log: ListLog) -> None:
        await log.record(*running(), completed())
        await tower.caught_up()
        async with asyncio.timeout(WAIT_S):
            assert (await execution(tower, wait_s=300))["state"] == "completed"
            assert await tower.models.execution("nobody", wait_s=300) is None

    async def test_past_its_time_it_is_answered_as_it_is(self, tower: Running, log: ListLog) -> None:
        await log.record(*running())
        await tower.caught_up()
        assert (await execution(tower, wait_s=0.05))["state"] == "running"


async def test_rows_are_the_state_of_the_domain(running: Start, tower: Running, log: ListLog) -> None:
    entries, state = random_history(33, 600, executions=0.9)
    await log.append(*entries)
    await tower.caught_up()
    known = {**state.executions.open, **state.executions.ended}
    assert len(known) >= 20
    assert {each.state for each in known.values()} >= {"completed", "failed"}
    for execution_id, expected in known.items():
        found = await execution(tower, execution_id)
        assert (found["state"], found["session_id"]) == (str(expected.state), expected.session_id)
    for promise_id, made in state.promises.known.items():
        assert (await promise(tower, promise_id))["state"] == str(made.state)
    live = await dump(tower.database)
    await tower.projector.rebuild("executions")
    assert await dump(tower.database) == live
