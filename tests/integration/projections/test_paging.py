"""Orders and pages of the lists, the same on both databases."""

import base64
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
import pytest

from domain.errors import Rejection
from domain.messages import HOST
from projections.paging import Page
from tests.integration.projections.conftest import Running
from tests.integration.projections.recorded import ListLog, stored
from tests.unit import builders as b

RANKS = {"creating": 1, "degraded": 2, "ready": 3, "failed": 4, "removed": 5}

Ask = Callable[..., Awaitable[Page]]


async def all_pages(ask: Ask, limit: int, **filters: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await ask(limit=limit, cursor=cursor, **filters)
        assert len(page.items) <= limit
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items
        assert len(page.items) == limit


async def many_layouts(log: ListLog, count: int = 60) -> None:
    """In all states, some created at the same time, in two containers; ids in no order, of letters that collations
    other than by code point would sort differently."""
    random = Random(4)
    ids = [f"{random.choice('aBc_Z-9')}{n:02}" for n in range(count)]
    random.shuffle(ids)
    for number, layout_id in enumerate(ids):
        container = random.choice([HOST, b.BENCH])
        events = b.layout(layout_id, "m1", "s1", container=container)
        # Five layouts share one time of creation.
        await log.append(
            *(
                msgspec.structs.replace(one, position=log.last + 1 + n)
                for n, one in enumerate(stored(event, number // 5) for event in events)
            )
        )
        if number % 2:
            await log.record(*b.ready(f"{layout_id}-m1"))
        state = random.choice(list(RANKS))
        if state != "creating":
            await log.record(
                b.layout_moved(layout_id, "creating", state, "registration" if state == "failed" else None)
            )
            await log.record(b.moved(f"{layout_id}-s1", "creating", state))


@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_layouts_by_state_then_newest_then_id_descending(tower: Running, log: ListLog, limit: int) -> None:
    await many_layouts(log)
    await tower.caught_up()
    found = await all_pages(tower.models.layouts, limit)
    assert len(found) == 60
    by_id = sorted(found, key=lambda row: row["id"].encode(), reverse=True)
    by_age = sorted(by_id, key=lambda row: row["created_at"], reverse=True)
    assert found == sorted(by_age, key=lambda row: RANKS[row["state"]])
    assert len({row["created_at"] for row in found}) < len(found)


@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_panes_by_state_layout_index_and_id(tower: Running, log: ListLog, limit: int) -> None:
    await many_layouts(log)
    await tower.caught_up()
    found = await all_pages(tower.models.panes, limit)
    assert len(found) == 120

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        index = row["tmux_pane_index"]
        return RANKS[row["state"]], row["layout_id"].encode(), index is None, index, row["id"].encode()

    assert found == sorted(found, key=order)
    assert {row["tmux_pane_index"] for row in found} == {None, 0}


async def test_filters_narrow_every_page(tower: Running, log: ListLog) -> None:
    await many_layouts(log)
    await tower.caught_up()
    everything = await all_pages(tower.models.layouts, 200)
    for filters in ({"container_id": b.BENCH}, {"state": "ready"}, {"container_id": HOST, "state": "failed"}):
        found = await all_pages(tower.models.layouts, 3, **filters)
        assert found == [row for row in everything if filters.items() <= row.items()]
        assert found
    layout_id = everything[0]["id"]
    panes = await all_pages(tower.models.panes, 1, layout_id=layout_id)
    assert sorted(pane["id"] for pane in panes) == [f"{layout_id}-m1", f"{layout_id}-s1"]
    assert await all_pages(tower.models.panes, 1, layout_id=layout_id, container_id="elsewhere") == []


async def test_rows_that_did_not_move_are_shown_once(tower: Running, log: ListLog) -> None:
    """Between the pages layouts are created, change their state, and go."""
    for number in range(30):
        await log.record(*b.ready_layout(f"L{number:02}", "m1"))
    await tower.caught_up()
    seen: list[str] = []
    cursor, moved, round_ = None, set[str](), 0
    while True:
        page = await tower.models.layouts(limit=4, cursor=cursor)
        seen += [row["id"] for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        for layout_id, state in ((f"L{29 - round_:02}", "removed"), (f"L{round_:02}", "degraded")):
            moved.add(layout_id)
            await log.record(b.layout_moved(layout_id, "ready", state))
        await log.record(*b.ready_layout(f"new{round_}", "m1"))
        await tower.caught_up()
        round_ += 1
    still = [layout_id for layout_id in seen if layout_id not in moved]
    assert still == [f"L{number:02}" for number in range(29, -1, -1) if f"L{number:02}" not in moved]


async def test_agents_by_state_container_and_label(tower: Running, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "s1", "m1"), *b.ready_layout("K", "m1", container=b.BENCH))
    await log.record(b.moved("L-m1", "ready", "degraded", "process_exited"))
    await tower.caught_up()
    found = await all_pages(tower.models.agents, 1)
    assert [row["id"] for row in found] == ["agent-L-m1", "agent-K-m1", "agent-L-s1"]
    assert [row["id"] for row in (await tower.models.agents(container_id=b.BENCH)).items] == ["agent-K-m1"]


async def test_adopted_agents_stand_beside_managed_ones(tower: Running, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "m1"), b.adopted("A", "a"), b.adopted("B", "b", tmux_pane_id="%8"))
    await log.record(b.agent_gone("B", tmux_pane_id="%8"), b.adopted("C", "z", container=b.BENCH))
    await tower.caught_up()
    found = await all_pages(tower.models.agents, 1)
    assert [row["id"] for row in found] == ["C", "A", "agent-L-m1", "B"]
    by_origin = {"adopted": ["C", "A", "B"], "managed": ["agent-L-m1"]}
    for origin, expected in by_origin.items():
        assert [row["id"] for row in (await tower.models.agents(origin=origin)).items] == expected
    assert [row["id"] for row in (await tower.models.agents(state="gone", container_id="host")).items] == ["B"]
    wrong: list[dict[str, Any]] = [{"origin": "stolen"}, {"state": "lost"}]
    for filters in wrong:
        with pytest.raises(Rejection) as refused:
            await tower.models.agents(**filters)
        assert (refused.value.code, [refused.value.details["field"]]) == ("validation_failed", list(filters))


@pytest.mark.parametrize("limit", [0, -1, 201, True])
async def test_a_limit_out_of_range(tower: Running, limit: int) -> None:
    with pytest.raises(Rejection) as refused:
        await tower.models.layouts(limit=limit)
    assert (refused.value.code, refused.value.details["field"]) == ("validation_failed", "limit")


@pytest.mark.parametrize("ask", ["layouts", "panes", "agents"])
async def test_a_state_that_there_is_not(tower: Running, ask: str) -> None:
    with pytest.raises(Rejection) as refused:
        await getattr(tower.models, ask)(state="blue")
    words = "creating, ready, degraded, failed, removed" + (", running, gone" if ask == "agents" else "")
    assert refused.value.code == "validation_failed"
    assert refused.value.details == {"field": "state", "reason": f"one of {words}"}


def _forged(*place: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor", ["", "x", "not a cursor", "é", _forged(), _forged("mark", 1), _forged({"a": 1}), "e30"]
)
async def test_a_cursor_that_is_none(tower: Running, cursor: str) -> None:
    with pytest.raises(Rejection) as refused:
        await tower.models.panes(cursor=cursor)
    assert (refused.value.code, refused.value.details["field"]) == ("validation_failed", "cursor")


async def test_a_cursor_of_another_query_or_with_another_place(tower: Running, log: ListLog) -> None:
    await log.record(*b.ready_layout("L", "m1", "s1"))
    await tower.caught_up()
    cursor = (await tower.models.panes(limit=1)).next_cursor
    assert cursor is not None
    mark = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[0]
    asked: list[Callable[[], Awaitable[Page]]] = [
        lambda: tower.models.agents(cursor=cursor),
        lambda: tower.models.panes(cursor=cursor, state="ready"),
        lambda: tower.models.panes(cursor=_forged(mark, "3", "L", 0, "L-m1")),
        lambda: tower.models.panes(cursor=_forged(mark, 3)),
        lambda: tower.models.panes(cursor=_forged(mark, 2**63, "L", 0, "L-m1")),
    ]
    for ask in asked:
        with pytest.raises(Rejection) as refused:
            await ask()
        assert (refused.value.code, refused.value.details["field"]) == ("validation_failed", "cursor")


@pytest.mark.parametrize("text", ["", "nul\0", "half a pair \ud800", "'; DROP TABLE panes; --", "%", "ü" * 5000])
async def test_texts_that_name_nothing(tower: Running, log: ListLog, text: str) -> None:
    await log.record(*b.ready_layout("L", "m1"))
    await tower.caught_up()
    pages: list[Awaitable[Page]] = [
        tower.models.layouts(container_id=text),
        tower.models.panes(container_id=text),
        tower.models.panes(layout_id=text),
        tower.models.agents(container_id=text),
        tower.models.events(id=text),
        tower.models.events(actor=text),
        tower.models.events(correlation_id=text),
    ]
    for page in pages:
        assert (await page).items == []
    assert await tower.models.layout(text) is None
    assert await tower.models.pane(text) is None
    assert await tower.models.command(text) is None
    assert await tower.models.command("command", actor=text) is None
