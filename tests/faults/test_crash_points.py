"""The real tower is killed at every await of a part; the next one finds all that was promised, and nothing twice."""

import signal
from collections.abc import Sequence

import pytest

from tests.faults.book import Book, driving
from tests.faults.check import check, verified
from tests.faults.child import Child
from tests.faults.points import points
from tests.faults.stories import a_life, create
from tests.faults.storybook import STORIES, story_of

pytestmark = pytest.mark.needs("tmux")

POINTS = points()
QUICK = (
    "writer._decide_and_append.append.after#2",
    "stages._start_session.create_session.after",
    "recovery._recover.ask.after",
    "scanning._list.panes.after",
)
"""The points of `make test`; `make faults` takes all."""

OPEN_LAYOUTS = 20
"""More than this are removed between two points."""


async def die_at(point: str, child: Child, book: Book) -> bool:
    """Tell the point's story to a tower that dies there; whether it did."""
    story = story_of(point)
    await story.prepare(child, book)
    try:
        await child.start(crash_at=point)
        async with driving(child, book) as driver:
            await story.tell(driver)
        await child.stop()
    except Exception:
        if not await child.dies():
            raise
    code = await child.kill()
    await child.nothing_left()
    await story.tidy(child)
    return code == -signal.SIGKILL


async def survive(points: Sequence[str], child: Child, book: Book) -> None:
    """Die at each point in turn; each time the next tower must stand as if nothing had been."""
    unreached: list[str] = []
    await a_life(child, book)
    for point in points:
        if not await die_at(point, child, book):
            unreached.append(point)
        await child.start()
        async with driving(child, book) as driver:
            try:
                state = await check(driver)
                assert await create(driver), "a command is taken as before"
                if len(state.layouts.open_layouts) > OPEN_LAYOUTS:
                    for layout_id in state.layouts.open_layouts:
                        await driver.ask("layout", "remove", {"layout_id": layout_id})
                await check(driver)
            except AssertionError as error:
                raise AssertionError(f"after a crash at {point}: {error}") from error
        await child.kill()
        await child.nothing_left()
    await child.start()
    await verified(child)
    assert await child.stop() == 0
    await child.nothing_left()
    assert not unreached, f"no story reached {unreached}"


GROUPS = [POINTS[start : start + 8] for start in range(0, len(POINTS), 8)]
"""One home for each."""


@pytest.mark.timeout(300)
async def test_a_few_points() -> None:
    assert {point.partition("#")[0] for point in QUICK} <= set(POINTS)
    async with Child(clock=True) as child:
        await survive(QUICK, child, Book())


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0])
async def test_every_point(group: Sequence[str]) -> None:
    async with Child(clock=True) as child:
        await survive(group, child, Book())


def test_every_story_has_a_point() -> None:
    assert [start for start in STORIES if not any(point.startswith(start) for point in POINTS)] == []
    assert len(POINTS) > 100
