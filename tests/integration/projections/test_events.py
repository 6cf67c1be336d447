"""The audit query and the outcomes of commands."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from domain import tower as node
from domain.envelope import decode
from domain.errors import Rejection
from domain.messages import HOST
from domain.node import CommandRejected
from tests.integration.projections.conftest import Running
from tests.integration.projections.recorded import ListLog, random_history, stored
from tests.unit import builders as b

REFUSED = CommandRejected(
    command_id="refused",
    noun="pane",
    verb="remove",
    code="managed_pane_not_found",
    message="no managed pane x",
    details={"pane_id": "x"},
)


async def test_events_are_the_cloud_events_as_recorded(tower: Running, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "m1"))
    await tower.caught_up()
    page = await tower.models.events()
    assert page.items == [msgspec.json.decode(one.payload) | {"position": one.position} for one in log.entries]
    assert page.position == log.last


async def test_pages_go_up(tower: Running, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "m1", "s1"))
    await tower.caught_up()
    positions: list[int] = []
    cursor = None
    while True:
        page = await tower.models.events(limit=4, cursor=cursor, after_position=2)
        positions += [item["position"] for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert positions == list(range(3, log.last + 1))


async def test_filters(tower: Running, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "m1", "s1"), command_id="first")
    await log.record(REFUSED, command_id="refused", actor=b.BENCH)
    await log.record(*b.ready_layout("K", "m1"), command_id="second")
    await tower.caught_up()
    everything = (await tower.models.events(limit=200)).items

    async def found(**filters: Any) -> list[dict[str, Any]]:
        items = (await tower.models.events(limit=200, **filters)).items
        assert items
        assert len(items) < len(everything)
        return items

    def having(**fields: Any) -> list[dict[str, Any]]:
        return [item for item in everything if fields.items() <= item.items()]

    assert await found(kind="layout") == having(kind="layout")
    assert await found(kind="pane", id="L-s1") == having(kind="pane", subject="L-s1")
    assert await found(actor=b.BENCH) == having(actor=b.BENCH)
    assert await found(correlation_id="correlation-of-second") == having(correlationid="correlation-of-second")
    spawned = having(type="agenttower.pane.spawned.v1")
    for name in ("agenttower.pane.spawned.v1", "agenttower.pane.spawned", "pane.spawned"):
        assert await found(type=name) == spawned
    assert (await tower.models.events(actor="nobody")).items == []


async def test_times(tower: Running, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "m1"))
    await tower.caught_up()

    async def positions(**filters: Any) -> list[int]:
        return [item["position"] for item in (await tower.models.events(**filters)).items]

    third, fifth = (b.AT + timedelta(seconds=n) for n in (3, 5))
    assert await positions(since=third, until=fifth) == [3, 4]
    assert await positions(since=third.isoformat(), until="2026-01-02T03:04:10.678901Z") == [3, 4]
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    assert await positions(since=third.astimezone(elsewhere), until=fifth.astimezone(elsewhere)) == [3, 4]
    assert await positions(until=datetime(2026, 1, 2, tzinfo=UTC)) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "blue"),
        ("type", "pane.painted"),
        ("type", "agenttower.pane.spawned.v99"),
        ("since", "yesterday"),
        ("until", "2026-13-01T00:00:00Z"),
        ("after_position", -1),
        ("after_position", 2**63),
    ],
)
async def test_values_that_are_none(tower: Running, field: str, value: Any) -> None:
    with pytest.raises(Rejection) as refused:
        await tower.models.events(**{field: value})
    assert (refused.value.code, refused.value.details["field"]) == ("validation_failed", field)


async def test_an_accepted_command(tower: Running, log: ListLog) -> None:
    created = b.layout("L", "m1", "s1")
    last = await log.record(*created, command_id="create")
    await log.record(*b.ready("L-m1"), command_id="other")
    await tower.caught_up()
    assert await tower.models.command("create") == {
        "id": "create",
        "command_id": "create",
        "status": "accepted",
        "result": node.result(created),
        "position": last,
        "replay": False,
        "actor": HOST,
        "event_types": [
            "agenttower.layout.created.v1",
            *["agenttower.pane.created.v1", "agenttower.pane.pending_marker_set.v1"] * 2,
        ],
    }


async def test_a_rejected_command(tower: Running, log: ListLog) -> None:
    position = await log.record(REFUSED, command_id="refused")
    await tower.caught_up()
    assert await tower.models.command("refused") == {
        "id": "refused",
        "command_id": "refused",
        "status": "rejected",
        "error": {"code": "managed_pane_not_found", "message": "no managed pane x", "details": {"pane_id": "x"}},
        "position": position,
        "actor": HOST,
        "event_types": ["agenttower.command.rejected.v1"],
    }


async def test_a_command_that_left_no_trace(tower: Running) -> None:
    assert await tower.models.command("unheard-of") is None


async def test_an_id_counts_for_its_origin(tower: Running, log: ListLog) -> None:
    await log.record(*b.layout("L"), command_id="same")
    await log.record(REFUSED, command_id="same", actor=b.BENCH)
    await tower.caught_up()
    for actor, status in ((None, "accepted"), (HOST, "accepted"), (b.BENCH, "rejected")):
        outcome = await tower.models.command("same", actor=actor)
        assert outcome is not None
        assert outcome["status"] == status
    assert await tower.models.command("same", actor="nobody") is None


async def test_every_command_of_a_history_can_be_asked_for(tower: Running, log: ListLog) -> None:
    entries, _ = random_history(5, 200)
    await log.append(*entries)
    await tower.caught_up()
    by_command: dict[str, list[Any]] = {}
    for one in entries:
        recorded = decode(one)
        by_command.setdefault(recorded.envelope.commandid, []).append(recorded.event)
    assert len(by_command) > 50
    for command_id, events in by_command.items():
        outcome = await tower.models.command(command_id)
        assert outcome is not None
        if isinstance(events[0], CommandRejected):
            assert outcome["error"]["code"] == events[0].code
        else:
            assert outcome["result"] == node.result(events)


async def test_texts_of_a_callers_choice(tower: Running, log: ListLog) -> None:
    """A correlation id with a NUL, and one longer than an index takes: neither stops the audit."""
    for command_id in ("nul\0", "l" * 20_000, "ünïcödé \U0001f5fc"):
        await log.append(stored(b.spawned("L-m1"), log.last + 1, command_id=command_id))
        await tower.caught_up()
        (item,) = (await tower.models.events(correlation_id=f"correlation-of-{command_id}")).items
        assert item["correlationid"] == f"correlation-of-{command_id}"
        assert await tower.models.command(command_id) is not None
