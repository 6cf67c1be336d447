"""A tower dies while it sends a text: what was begun is never typed again, what was not is typed by the next tower."""

from collections.abc import Mapping

import pytest

from domain.sends import PaneSendFailed, PaneTextSent
from tests.faults.book import Book, Driver, driving
from tests.faults.check import at_rest
from tests.faults.child import Child, Died
from tests.faults.stories import ready
from tests.faults.words import type_into, typed, word_of
from tests.waiting import eventually

pytestmark = pytest.mark.needs("tmux")

ENDS: Mapping[str, tuple[str, int]] = {
    "facts._sending.keep.after": ("sent", 1),
    "sending._begin.ask.before": ("sent", 1),
    "sending._type.send_text.before": ("interrupted", 0),
    "sending._type.send_text.after": ("interrupted", 1),
}
"""Crash point -> how the sending ends, and how often the text is typed."""


async def test_once_or_not_at_all() -> None:
    async with Child() as child:
        book = Book()
        for point, (end, times) in ENDS.items():
            await child.start(crash_at=point)
            with pytest.raises(Died):
                await send_one(child, book)
            await child.start()
            async with driving(child, book) as driver:
                await driver.settle_book()
                await at_rest(driver)
                word = word_of(len(book.sent) - 1)
                assert await last_end(driver) == end, point
                await eventually(lambda word=word, times=times: typed(child.home)[word] == times, f"{point}: {times}")
            await child.kill()


async def send_one(child: Child, book: Book) -> None:
    async with driving(child, book) as driver:
        panes = await ready(driver)
        await type_into(driver, panes[0])


async def last_end(driver: Driver) -> str:
    ends = [each.event for each in await driver.recorded() if isinstance(each.event, PaneTextSent | PaneSendFailed)]
    match ends[-1]:
        case PaneSendFailed(reason=reason):
            return reason
        case _:
            return "sent"
