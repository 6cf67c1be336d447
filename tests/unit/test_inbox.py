"""The queue before the writer: bounded for askers, never for the tower's own follow-ups."""

import asyncio

from domain.layouts.commands import PaneSweep
from handlers.inbox import Asked, FollowUp, Inbox


def asked(name: str) -> Asked:
    return Asked(payload=name.encode(), origin="host", noun="pane", verb="remove")


def follow_up() -> FollowUp:
    return FollowUp(id="f", request=PaneSweep())


async def test_commands_come_out_in_order_of_arrival_and_at_most_as_many_as_asked_for():
    inbox = Inbox()
    first, second, third = asked("a"), asked("b"), follow_up()
    assert inbox.offer(first)
    await inbox.put(second)
    inbox.submit(third)
    assert await inbox.take(2) == [first, second]
    assert await inbox.take(2) == [third]


async def test_a_full_inbox_says_no_to_an_offer_and_takes_follow_ups_all_the_same():
    inbox = Inbox(capacity=1)
    assert inbox.offer(asked("a"))
    assert not inbox.offer(asked("b"))
    inbox.submit(follow_up())
    assert len(inbox) == 2


async def test_putting_waits_for_room():
    inbox = Inbox(capacity=1)
    inbox.offer(asked("a"))
    late = asked("late")
    putting = asyncio.create_task(inbox.put(late))
    await asyncio.sleep(0)
    assert len(inbox) == 1
    await inbox.take(1)
    await asyncio.wait_for(putting, 5)
    assert await inbox.take(1) == [late]


async def test_taking_waits_for_a_command():
    inbox = Inbox()
    taking = asyncio.create_task(inbox.take(10))
    await asyncio.sleep(0)
    assert not taking.done()
    one = asked("one")
    inbox.offer(one)
    assert await asyncio.wait_for(taking, 5) == [one]


async def test_more_are_waited_for_when_they_are_hoped_for():
    inbox = Inbox()
    async with asyncio.TaskGroup() as group:
        taking = group.create_task(inbox.take(10, hoped=3, patience_s=30))
        for name in ("a", "b"):
            assert inbox.offer(asked(name))
            await asyncio.sleep(0)
            assert not taking.done()
        assert inbox.offer(asked("c"))
        assert len(await taking) == 3


async def test_a_hope_ends_with_the_patience():
    inbox = Inbox()
    assert inbox.offer(asked("a"))
    assert len(await inbox.take(10, hoped=3, patience_s=0.01)) == 1
