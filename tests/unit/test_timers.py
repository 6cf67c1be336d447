"""When timers tick: what stands in the state says it, whatever the clock was doing meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from immutables import Map
from msgspec.structs import replace

from domain.background import timers
from domain.background.definition import Definition, TriggerDefinition
from domain.background.events import BackgroundState
from domain.background.state import Background

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def background(last: datetime | None = None, since: datetime | None = NOON, **config: Any) -> Background:
    definition = Definition(name="b", bundle="x", triggers=(TriggerDefinition(type="timer", config=config),))
    return Background(
        background_id="bg-b-0001",
        name="b",
        number=1,
        definition=definition,
        definition_digest="",
        source="config",
        state=BackgroundState.RUNNING,
        since=since,
        ticked=Map() if last is None else Map({0: last}),
    )


def due(there: Background, now: datetime) -> datetime | None:
    ((place, schedule),) = timers.timers_of(there)
    return timers.due_of(there, place, schedule, now)


def after(**units: float) -> datetime:
    return NOON + timedelta(**units)


class TestIntervals:
    def test_the_first_tick_is_an_interval_after_the_start(self) -> None:
        assert due(background(interval_seconds=10), after(seconds=3)) == after(seconds=10)

    def test_a_minute_unless_it_is_said(self) -> None:
        assert due(background(), NOON) == after(seconds=60)

    def test_or_at_the_start_itself(self) -> None:
        assert due(background(interval_seconds=10, immediate=True), after(seconds=3)) == NOON

    def test_once_however_often_the_tower_starts(self) -> None:
        there = background(last=NOON, interval_seconds=10, immediate=True)
        assert due(there, after(seconds=3)) == after(seconds=10)

    def test_they_do_not_drift(self) -> None:
        assert due(background(last=after(seconds=10), interval_seconds=10), after(seconds=14)) == after(seconds=20)

    def test_one_that_is_a_little_late_is_taken(self) -> None:
        there = background(last=after(seconds=10), interval_seconds=10)
        assert due(there, after(seconds=50)) == after(seconds=20)

    def test_missed_ones_are_skipped_and_the_distances_kept(self) -> None:
        there = background(last=after(seconds=10), interval_seconds=100)
        assert due(there, after(seconds=345)) == after(seconds=410)

    def test_or_made_up_for_by_one(self) -> None:
        there = background(last=after(seconds=10), interval_seconds=100, missed="run_once")
        assert due(there, after(seconds=345)) == after(seconds=310)
        there = background(last=after(seconds=310), interval_seconds=100, missed="run_once")
        assert due(there, after(seconds=346)) == after(seconds=410)


class TestCron:
    def test_the_next_time_in_its_zone(self) -> None:
        there = background(cron="30 9 * * *", timezone="Asia/Tokyo")
        assert due(there, NOON) == datetime(2026, 1, 2, 0, 30, tzinfo=UTC)

    def test_a_missed_one_is_skipped(self) -> None:
        assert due(background(cron="0 13 * * *"), after(hours=2)) == after(hours=25)

    def test_or_made_up_for_by_the_latest(self) -> None:
        there = background(cron="0 * * * *", missed="run_once")
        assert due(there, after(hours=3, minutes=30)) == after(hours=3)
        assert due(there, after(days=40, minutes=30)) == after(days=40)

    @pytest.mark.parametrize("expression", ["0 0 1 1 *", "0 0 1 * *", "*/5 * * * * *"])
    def test_however_long_ago_that_was(self, expression: str) -> None:
        there, now = background(cron=expression, missed="run_once"), after(days=900, seconds=42)
        found = due(there, now)
        assert found is not None
        assert found <= now
        following = background(last=found, cron=expression)
        assert (due(following, found) or now) > now

    def test_one_in_time_is_taken(self) -> None:
        assert due(background(cron="0 13 * * *"), after(hours=1, seconds=29)) == after(hours=1)

    def test_a_zone_that_is_not_known_here_never_ticks(self) -> None:
        assert due(background(cron="0 13 * * *", timezone="Mars/Olympus"), NOON) is None


def test_no_timer_ticks_while_nobody_listens() -> None:
    assert list(timers.timers_of(replace(background(), state=BackgroundState.STOPPED))) == []


def test_the_data_of_a_tick() -> None:
    schedule = timers.schedule_of({"interval_seconds": 10})
    assert timers.told(schedule, NOON) == {"interval": 10, "due": "2026-01-01T12:00:00+00:00"}
    schedule = timers.schedule_of({"cron": "* * * * *"})
    assert timers.told(schedule, NOON) == {"cron": "* * * * *", "due": "2026-01-01T12:00:00+00:00"}
