"""What background sessions and firings look like in queries."""

from typing import Any

import msgspec
import pytest

from domain.background import events as e
from domain.background.definition import Definition, TriggerDefinition
from domain.errors import Rejection
from projections.tables import instant
from tests.integration.projections.conftest import Running, dump
from tests.integration.projections.recorded import ListLog, random_history
from tests.unit.builders import AT

ID = "bg-workers-0001"
DEFINITION = Definition(name="workers", bundle="b", triggers=(TriggerDefinition(type="manual"),), pool_size=2)


def declared(number: int = 1, name: str = "workers") -> e.BackgroundDeclared:
    return e.BackgroundDeclared(
        background_id=f"bg-{name}-{number:04}",
        name=name,
        definition=msgspec.structs.replace(DEFINITION, name=name),
        definition_digest="d" * 32,
        source="config",
        folder="/srv",
    )


def fired(trigger_id: str, data: Any = None, **more: Any) -> e.TriggerFired:
    this: dict[str, Any] = {"trigger_id": trigger_id, "background_id": ID, "trigger": 0, "type": "manual"}
    return e.TriggerFired(**this, source="host", timestamp=AT, data=data, placed="waiting", **more)


def started(trigger_id: str, count: int, attempt: int = 1) -> e.BackgroundRunStarted:
    return e.BackgroundRunStarted(
        background_id=ID,
        trigger_id=trigger_id,
        session_id=f"run-{count}-{attempt}",
        session_name=f"workers-{count}",
        attempt=attempt,
        trigger_count=count,
    )


def ended(trigger_id: str, count: int, attempt: int = 1, **more: Any) -> e.BackgroundRunEnded:
    this = {"background_id": ID, "trigger_id": trigger_id, "session_id": f"run-{count}-{attempt}", "attempt": attempt}
    return e.BackgroundRunEnded(**this, **({"success": True, "output": "done"} | more))


async def shown(tower: Running, log: ListLog, *events: Any) -> dict[str, Any]:
    await log.record(*events)
    await tower.caught_up()
    found = await tower.models.background_session(ID)
    assert found is not None and found == await tower.models.background_session("workers")
    return found


async def firing(tower: Running, trigger_id: str) -> dict[str, Any]:
    page = await tower.models.triggers()
    return next(item for item in page.items if item["id"] == trigger_id)


RUNNING = (declared(), e.BackgroundStarting(background_id=ID, reason="parent"), e.BackgroundRunning(background_id=ID))


async def test_one_from_its_declaration_to_its_stop(tower: Running, log: ListLog) -> None:
    row = await shown(tower, log, *RUNNING)
    assert row == {
        "id": ID,
        "name": "workers",
        "state": "running",
        "source": "config",
        "bundle": None,
        "parent_session_id": None,
        "folder": "/srv",
        "definition": row["definition"],
        "definition_digest": "d" * 32,
        **dict.fromkeys(("stop_reason", "error", "error_type", "restart_at", "last_trigger", "waiting_since")),
        **dict.fromkeys(("restart_count", "trigger_count", "running", "waiting"), 0),
        **dict.fromkeys(("failed_count", "refused_count", "dropped_count"), 0),
        "declared_at": row["declared_at"],
        "started_at": row["started_at"],
        "updated_at": row["updated_at"],
    }
    assert (row["definition"]["pool_size"], row["definition"]["triggers"]) == (2, [{"type": "manual", "config": {}}])
    failed = e.BackgroundFailed(background_id=ID, error="gone", error_type="OSError", restart_count=1, restart_at=AT)
    row = await shown(tower, log, failed)
    assert (row["state"], row["error"], row["restart_count"], row["restart_at"]) == ("failed", "gone", 1, instant(AT))
    row = await shown(tower, log, e.BackgroundStarting(background_id=ID, reason="restart"))
    assert (row["state"], row["error"], row["restart_count"], row["restart_at"]) == ("starting", None, 1, None)
    row = await shown(tower, log, fired("t1"), e.BackgroundStopped(background_id=ID, reason="asked", dropped=("t1",)))
    assert (row["state"], row["stop_reason"], row["waiting"], row["dropped_count"]) == ("stopped", "asked", 0, 1)
    assert ((await firing(tower, "t1"))["state"], (await firing(tower, "t1"))["reason"]) == ("dropped", "stopped")


async def test_a_firing_from_its_trigger_to_the_end_of_its_run(tower: Running, log: ListLog) -> None:
    row = await shown(tower, log, *RUNNING, fired("t1", {"é": "\0"}), fired("t2"))
    assert (row["waiting"], row["running"], row["waiting_since"], row["last_trigger"]) == (2, 0, instant(AT), None)
    row = await shown(tower, log, started("t1", 1))
    assert (row["waiting"], row["running"], row["trigger_count"], row["last_trigger"]) == (1, 1, 1, instant(AT))
    again = ended("t1", 1, success=False, error="the tower died", error_type="lost", again=True)
    row = await shown(tower, log, again, started("t1", 1, 2))
    assert (row["running"], row["trigger_count"], row["failed_count"]) == (1, 1, 0)
    assert ((await firing(tower, "t1"))["session_id"], (await firing(tower, "t1"))["attempt"]) == ("run-1-2", 2)
    row = await shown(tower, log, ended("t1", 1, 2), started("t2", 2), ended("t2", 2, success=False, error="no"))
    assert (row["waiting"], row["running"], row["trigger_count"], row["failed_count"]) == (0, 0, 2, 1)
    assert row["waiting_since"] is None
    first, second = await firing(tower, "t1"), await firing(tower, "t2")
    assert (first["state"], first["output"], first["data"], first["error"]) == ("completed", "done", {"é": "\0"}, None)
    assert (second["state"], second["error"], second["session_name"]) == ("failed", "no", "workers-2")


async def test_what_was_refused_or_dropped_is_shown_with_its_reason(tower: Running, log: ListLog) -> None:
    fields = msgspec.structs.asdict(fired("t1"))
    del fields["placed"]
    refused = e.TriggerRefused(**{**fields, "depth": 33}, reason="depth")
    dropped = e.TriggerDropped(trigger_id="t2", background_id=ID, reason="coalesced")
    row = await shown(tower, log, *RUNNING, refused, fired("t2", "x" * 5000), dropped)
    assert (row["waiting"], row["refused_count"], row["dropped_count"]) == (0, 1, 1)
    first, second = await firing(tower, "t1"), await firing(tower, "t2")
    assert (first["state"], first["reason"], first["depth"]) == ("refused", "depth", 33)
    assert (second["state"], second["reason"], second["data"], second["data_bytes"]) == (
        "dropped",
        "coalesced",
        None,
        5002,
    )


async def test_lists_are_narrowed_and_sorted(tower: Running, log: ListLog) -> None:
    await log.record(declared(2, "testers"), *RUNNING, fired("t1"), fired("t2"), started("t1", 1))
    await tower.caught_up()
    models = tower.models

    async def names(**asked: Any) -> list[str]:
        return [item["name"] for item in (await models.background_sessions(**asked)).items]

    async def ids(**asked: Any) -> list[str]:
        return [item["id"] for item in (await models.triggers(**asked)).items]

    assert await names() == ["workers", "testers"]
    assert (await names(state="stopped"), await names(name="workers")) == (["testers"], ["workers"])
    assert await ids() == ["t2", "t1"]
    assert (await ids(background=ID), await ids(background="workers"), await ids(background="testers")) == (
        ["t2", "t1"],
        ["t2", "t1"],
        [],
    )
    assert (await ids(state="running"), await ids(session_id="run-1-1")) == (["t1"], ["t1"])
    assert await ids(type="timer") == []
    page = await models.triggers(limit=1)
    assert [item["id"] for item in (await models.triggers(limit=1, cursor=page.next_cursor)).items] == ["t1"]
    assert await models.background_session("nobody") is None
    for wrong in (models.background_sessions(state="asleep"), models.triggers(state="asleep")):
        with pytest.raises(Rejection, match="one of"):
            await wrong


async def test_rows_are_the_state_of_the_domain(tower: Running, log: ListLog) -> None:
    entries, state = random_history(34, 500, executions=0, backgrounds=0.9)
    await log.append(*entries)
    await tower.caught_up()
    assert state.backgrounds.declared >= 3
    for background_id, there in state.backgrounds.known.items():
        row = await tower.models.background_session(background_id)
        assert row is not None
        assert (row["state"], row["error"], row["trigger_count"]) == (there.state, there.error, there.trigger_count)
        assert (row["waiting"], row["running"]) == (len(there.waiting), len(there.running))
        assert row["definition"] == msgspec.json.decode(msgspec.json.encode(there.definition))
        assert row["last_trigger"] == (None if there.last_trigger is None else instant(there.last_trigger))
        assert row["restart_at"] == (None if there.restart_at is None else instant(there.restart_at))
        waiting = (await tower.models.triggers(background=background_id, state="waiting", limit=200)).items
        assert [item["id"] for item in reversed(waiting)] == [each.trigger_id for each in there.waiting]
    states = {item["state"] for item in (await tower.models.triggers(limit=200)).items}
    assert states >= {"failed", "dropped", "refused"}
    live = await dump(tower.database)
    await tower.projector.rebuild("background")
    assert await dump(tower.database) == live
