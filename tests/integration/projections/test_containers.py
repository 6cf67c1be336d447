"""What containers and their unmanaged panes look like in queries, row by row."""

from typing import Any

import pytest

from domain.containers import ContainerScanned, UnmanagedPane
from domain.errors import Rejection
from domain.messages import HOST
from domain.node import NodeClaimed
from tests.integration.projections.conftest import Running
from tests.integration.projections.recorded import ListLog
from tests.unit import builders as b

CLAIM = NodeClaimed(node="local", instance="i", pid=1, host="here")


def _second(position: int) -> str:
    return f"2026-01-02T03:04:{5 + position:02}.678901Z"


def scanned(scan_id: str, *panes: UnmanagedPane, listed: tuple[str, ...] = (HOST,)) -> ContainerScanned:
    return ContainerScanned(scan_id=scan_id, container_ids=(HOST,), listed=listed, unmanaged=panes)


def row(container_id: str, name: str, position: int, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": container_id,
        "name": name,
        "image": "",
        "state": "running",
        "running": True,
        "uid": None,
        "user": "",
        "tmux_socket": "",
        "bench_dir": None,
        "unmanaged_pane_count": None,
        "scan_id": None,
        "scanned_at": None,
        "registered_at": _second(position),
        "updated_at": _second(position),
    }
    return fields | changes


async def ids(tower: Running, container_id: str = HOST, **query: Any) -> list[str]:
    return [pane["id"] for pane in (await tower.models.unmanaged_panes(container_id, **query)).items]


async def test_the_machine_itself_is_there_from_the_first_claim_on(tower: Running, log: ListLog) -> None:
    await log.record(CLAIM, CLAIM)
    await tower.caught_up()
    page = await tower.models.containers()
    assert (page.items, page.next_cursor, page.position) == ([row(HOST, HOST, 1)], None, 2)
    assert await tower.models.container(HOST) == row(HOST, HOST, 1)
    assert await tower.models.container("nobody") is None


async def test_a_container_registered_stopped_gone_and_back(tower: Running, log: ListLog) -> None:
    known = b.bench(uid=1000, user="dev", tmux_socket="/tmp/tmux-1000/default", bench_dir="/run/bench")
    stopped, facts = b.bench(running=False), {"image": "bench:local"}
    await log.record(b.registered_container(known))
    await tower.caught_up()
    details = {"uid": 1000, "user": "dev", "tmux_socket": known.tmux_socket, "bench_dir": "/run/bench"}
    assert await tower.models.container(b.BENCH) == row(b.BENCH, "bench", 1, **facts, **details)
    await log.record(b.registered_container(stopped))
    await tower.caught_up()
    expected = row(b.BENCH, "bench", 1, **facts, state="stopped", running=False, updated_at=_second(2))
    assert await tower.models.container(b.BENCH) == expected
    await log.record(b.gone_container())
    await tower.caught_up()
    gone = await tower.models.container(b.BENCH)
    assert gone == expected | {"state": "gone", "updated_at": _second(3)}
    await log.record(b.registered_container(b.bench()))
    await tower.caught_up()
    assert await tower.models.container(b.BENCH) == row(b.BENCH, "bench", 1, **facts, updated_at=_second(4))


async def test_running_ones_come_first_then_by_name_and_pages_follow_each_other(tower: Running, log: ListLog) -> None:
    names = ["d", "b", "c", "a"]
    benches = [b.bench(letter * 64, name=letter) for letter in names]
    await log.record(CLAIM, *(b.registered_container(each) for each in benches))
    await log.record(b.registered_container(b.bench("b" * 64, name="b", running=False)))
    await log.record(b.gone_container("a" * 64, "a"))
    await tower.caught_up()
    seen, cursor = list[str](), None
    while True:
        page = await tower.models.containers(limit=2, cursor=cursor)
        seen += [each["name"] for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["c", "d", "host", "b", "a"]
    assert [each["name"] for each in (await tower.models.containers(state="gone")).items] == ["a"]
    with pytest.raises(Rejection) as refused:
        await tower.models.containers(state="ready")
    assert (refused.value.code, refused.value.details["field"]) == ("validation_failed", "state")


async def test_unmanaged_panes_are_those_of_the_last_scan_of_their_container(tower: Running, log: ListLog) -> None:
    panes = [b.unmanaged_pane(tmux_pane_id=f"%{number}", pane_index=number) for number in range(3)]
    await log.record(CLAIM, b.registered_container(b.bench()))
    await log.record(scanned("one", *panes, b.unmanaged_pane(b.BENCH), listed=(HOST, b.BENCH)))
    await tower.caught_up()
    assert (await tower.models.unmanaged_panes(HOST)).items[0] == {
        "id": "host:%0",
        "container_id": HOST,
        "scan_id": "one",
        "tmux_pane_id": "%0",
        "session_name": "mine",
        "window_index": 0,
        "pane_index": 0,
        "pid": 7,
        "command": "vim",
        "title": "notes",
        "scanned_at": _second(3),
    }
    assert await ids(tower) == ["host:%0", "host:%1", "host:%2"]
    await log.record(scanned("two", panes[2]))
    await tower.caught_up()
    assert await ids(tower) == ["host:%2"]
    assert await ids(tower, b.BENCH) == [f"{b.BENCH}:%1"], "the second scan could not look there"
    counts = {each["id"]: (each["unmanaged_pane_count"], each["scan_id"]) for each in await _all(tower)}
    assert counts == {HOST: (1, "two"), b.BENCH: (1, "one")}


@pytest.mark.parametrize("end", [b.registered_container(b.bench(running=False)), b.gone_container()])
async def test_a_container_that_ended_has_none(tower: Running, log: ListLog, end: Any) -> None:
    await log.record(b.registered_container(b.bench()), scanned("one", b.unmanaged_pane(b.BENCH), listed=(b.BENCH,)))
    await log.record(end)
    await tower.caught_up()
    assert await ids(tower, b.BENCH) == []
    ended = await tower.models.container(b.BENCH)
    assert ended is not None
    assert (ended["unmanaged_pane_count"], ended["scanned_at"]) == (None, None)


async def test_a_change_of_a_running_container_keeps_what_was_listed(tower: Running, log: ListLog) -> None:
    await log.record(b.registered_container(b.bench()), scanned("one", b.unmanaged_pane(b.BENCH), listed=(b.BENCH,)))
    await log.record(b.registered_container(b.bench(name="renamed")))
    await tower.caught_up()
    assert await ids(tower, b.BENCH) == [f"{b.BENCH}:%1"]


async def test_they_are_paged_in_order_of_their_places(tower: Running, log: ListLog) -> None:
    places = [("a", 0, 1), ("a", 2, 0), ("a", 10, 0), ("b", 0, 0)]
    panes = [
        b.unmanaged_pane(tmux_pane_id=f"%{number}", session_name=name, window_index=window, pane_index=index)
        for number, (name, window, index) in enumerate(places)
    ]
    await log.record(CLAIM, scanned("one", *reversed(panes)))
    await tower.caught_up()
    first = await tower.models.unmanaged_panes(HOST, limit=3)
    assert [each["tmux_pane_id"] for each in first.items] == ["%0", "%1", "%2"]
    assert await ids(tower, limit=3, cursor=first.next_cursor) == ["host:%3"]


async def test_texts_that_a_database_cannot_hold_are_mended(tower: Running, log: ListLog) -> None:
    await log.record(CLAIM, scanned("one", b.unmanaged_pane(title="a\0b", command="\0")))
    await log.record(b.registered_container(b.bench(image="x\0y")))
    await tower.caught_up()
    (pane,) = (await tower.models.unmanaged_panes(HOST)).items
    assert (pane["title"], pane["command"]) == ("a\ufffdb", "\ufffd")


async def test_odd_history_is_passed_over(tower: Running, log: ListLog) -> None:
    await log.record(b.gone_container(), scanned("one", b.unmanaged_pane("d" * 64), listed=("d" * 64,)))
    await tower.caught_up()
    assert await _all(tower) == []
    assert await ids(tower, "d" * 64) == []


async def _all(tower: Running) -> list[dict[str, Any]]:
    return (await tower.models.containers()).items


async def test_a_peer_inside_a_container_sees_its_own_alone(tower: Running, log: ListLog) -> None:
    both = [b.registered_container(b.bench()), b.registered_container(b.bench(b.OTHER_BENCH))]
    panes = [b.unmanaged_pane(each) for each in (HOST, b.BENCH, b.OTHER_BENCH)]
    await log.record(CLAIM, *both, scanned("one", *panes, listed=(HOST, b.BENCH, b.OTHER_BENCH)))
    await tower.caught_up()
    inside = tower.models.seen_from(b.BENCH)
    assert [each["id"] for each in (await inside.containers()).items] == [b.BENCH]
    assert [each["id"] for each in (await inside.unmanaged_panes(b.BENCH)).items] == [f"{b.BENCH}:%1"]
    for other in (HOST, b.OTHER_BENCH):
        assert await inside.container(other) is None
        assert (await inside.unmanaged_panes(other)).items == []
