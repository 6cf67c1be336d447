"""What a process keeps of its own appends for those who follow the log."""

import asyncio

from adapters.nats.tail import TAKEN, Tail
from handlers.ports import Entry


def entries(*payloads: bytes) -> list[Entry]:
    return [Entry("tower.evt.local.pane.p1.created", payload, {"Tower-Chain": "00"}) for payload in payloads]


def positions(tail: Tail, after: int) -> list[int] | None:
    found = tail.after(after)
    return None if found is None else [stored.position for stored in found]


def test_gives_what_was_appended():
    tail = Tail()
    tail.appended(entries(b"a", b"b", b"c"), 12)
    assert positions(tail, 9) == [10, 11, 12]
    assert positions(tail, 11) == [12]
    assert positions(tail, 12) == []
    stored = (tail.after(11) or [])[0]
    assert (stored.subject, stored.payload, stored.headers) == (
        "tower.evt.local.pane.p1.created",
        b"c",
        {"Tower-Chain": "00"},
    )


def test_says_none_for_what_it_does_not_hold():
    tail = Tail()
    assert tail.after(0) is None
    tail.appended(entries(b"a"), 12)
    assert tail.after(10) is None
    assert tail.after(13) is None


def test_goes_on_where_it_ended():
    tail = Tail()
    tail.appended(entries(b"a", b"b"), 2)
    tail.appended(entries(b"c"), 3)
    assert positions(tail, 0) == [1, 2, 3]


def test_begins_anew_after_a_gap():
    tail = Tail()
    tail.appended(entries(b"a", b"b"), 2)
    tail.appended(entries(b"d"), 4)
    assert tail.after(2) is None
    assert positions(tail, 3) == [4]


def test_holds_nothing_while_the_end_is_unknown():
    tail = Tail()
    tail.appended(entries(b"a"), 1)
    tail.lost()
    assert tail.after(0) is None
    assert tail.after(1) is None
    tail.appended(entries(b"b"), 2)
    assert positions(tail, 1) == [2]


def test_is_bounded_in_entries_and_bytes():
    few = Tail(entries=4)
    for position in range(1, 6):
        few.appended(entries(b"x"), position)
    assert positions(few, 3) == [4, 5]
    assert few.after(2) is None
    small = Tail(size_bytes=10)
    for position in range(1, 4):
        small.appended(entries(b"xxxxx"), position)
    assert positions(small, 2) == [3]
    assert small.after(1) is None


def test_gives_bounded_batches():
    tail = Tail()
    tail.appended(entries(*[b"x"] * (TAKEN + 1)), TAKEN + 1)
    assert len(tail.after(0) or []) == TAKEN


async def test_wakes_who_waits():
    tail = Tail()
    assert not await tail.changed(0.01)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(tail.changed(30))
        await asyncio.sleep(0)
        tail.appended(entries(b"a"), 1)
        assert await waiting
