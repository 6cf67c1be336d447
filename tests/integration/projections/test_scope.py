"""What a peer inside a container sees of the read models, on both databases: its own container's rows and events."""

import pytest

from domain.errors import Rejection
from domain.messages import HOST
from domain.node import CommandRejected
from projections.agents import PROJECTION as AGENTS
from projections.events import PROJECTION as EVENTS
from tests.integration.projections.conftest import Running, Start
from tests.integration.projections.recorded import ListLog
from tests.unit import builders as b

MINE, THEIRS = b.BENCH, b.OTHER_BENCH


def refusal(command_id: str) -> CommandRejected:
    return CommandRejected(
        command_id=command_id, noun="layout", verb="remove", code="host_only", message="no", details={}
    )


@pytest.fixture
def log() -> ListLog:
    return ListLog()


@pytest.fixture
async def tower(running: Start, log: ListLog) -> Running:
    """Two layouts of each of two containers and of the machine, by turns; each container was refused something."""
    made = await running(log)
    for number in range(2):
        for name, container in (("M", MINE), ("T", THEIRS), ("H", HOST)):
            await log.record(*b.layout(f"{name}{number}", "m1", "s1", container=container, session=f"s{number}"))
    for actor in (MINE, THEIRS):
        await log.record(refusal(f"refused-{actor}"), command_id=f"refused-{actor}", actor=actor)
    await made.caught_up()
    return made


async def test_lists_hold_its_own_rows_whatever_is_asked_for(tower: Running) -> None:
    models = tower.models.seen_from(MINE)
    assert [row["id"] for row in (await models.layouts()).items] == ["M1", "M0"]
    assert {row["container_id"] for row in (await models.panes()).items} == {MINE}
    assert (await models.layouts(container_id=THEIRS)).items == []
    assert (await models.panes(layout_id="T0")).items == []
    assert len((await models.layouts(container_id=MINE)).items) == 2
    assert len((await tower.models.layouts()).items) == 6


async def test_pages_follow_each_other_and_a_cursor_is_its_owners(tower: Running) -> None:
    models = tower.models.seen_from(MINE)
    first = await models.layouts(limit=1)
    second = await models.layouts(limit=1, cursor=first.next_cursor)
    assert [row["id"] for row in (*first.items, *second.items)] == ["M1", "M0"]
    assert second.next_cursor is None
    for others in (tower.models, tower.models.seen_from(THEIRS)):
        with pytest.raises(Rejection, match="cursor"):
            await others.layouts(limit=1, cursor=first.next_cursor)


async def test_what_is_of_another_container_is_not_found(tower: Running) -> None:
    models = tower.models.seen_from(MINE)
    for layout_id in ("T0", "H0", "unknown"):
        assert await models.layout(layout_id) is None
        assert await models.pane(f"{layout_id}-m1") is None
    assert await models.layout("M0") is not None
    assert await models.pane("M0-m1") is not None
    assert await models.command(f"refused-{THEIRS}") is None
    assert await models.command(f"refused-{MINE}") is not None


async def test_events_are_those_about_its_own(tower: Running) -> None:
    models = tower.models.seen_from(MINE)
    whole = (await tower.models.events(limit=200)).items
    seen = (await models.events(limit=200)).items
    own = {"M0", "M0-m1", "M0-s1", "M1", "M1-m1", "M1-s1", f"refused-{MINE}"}
    assert seen == [event for event in whole if event["subject"] in own]
    assert {event["subject"] for event in seen} == own
    assert (await models.events(kind="layout", id="T0")).items == []
    paged, cursor = [], None
    while True:
        page = await models.events(limit=3, cursor=cursor)
        paged += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert paged == seen


async def test_events_wait_for_the_read_models_that_know_whose_they_are(running: Start, log: ListLog) -> None:
    """The audit index is ahead: a page does not pass over events that cannot be told yet."""
    await (await running(log)).stop()
    made = await running(log, (EVENTS, AGENTS))
    await log.record(*b.layout("M0", "m1", container=MINE))
    await made.caught_up()
    page = await made.models.seen_from(MINE).events()
    assert (page.items, page.position) == ([], 0)
    assert len((await made.models.events()).items) == log.last
