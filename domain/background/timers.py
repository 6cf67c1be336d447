"""When the timers of background sessions tick: by the time that stands in the events, not by who is awake.

A tick is known by the time at which it is due. The first one comes an interval after the start (or at the start itself,
`immediate`), the next ones follow at even distances, or as the cron expression says. One that is late by more than
`LATE_S` is missed: skipped, or made up for once, as the config says.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Final, NamedTuple

from domain.background import cron
from domain.background.definition import TIMER
from domain.background.state import Background

DEFAULT_INTERVAL_S: Final = 60

LATE_S: Final = 30.0
"""A tick that is taken later than this was missed: the tower, or its broker, was away."""


BACK: Final = tuple(timedelta(hours=hours) for hours in (1, 24, 32 * 24, 367 * 24))
"""How far the latest tick is looked for, the next one only when there was none."""


class Schedule(NamedTuple):
    """`expression`: None for an interval."""

    interval_s: int
    expression: str | None
    zone: str
    immediate: bool
    run_once: bool


def schedule_of(config: Mapping[str, Any]) -> Schedule:
    """Of a config that was checked."""
    return Schedule(
        interval_s=config.get("interval_seconds", DEFAULT_INTERVAL_S),
        expression=config.get("cron"),
        zone=config.get("timezone", "UTC"),
        immediate=config.get("immediate", False),
        run_once=config.get("missed") == "run_once",
    )


def timers_of(there: Background) -> Iterator[tuple[int, Schedule]]:
    """By their places among the triggers, while it listens."""
    if there.listens:
        for at, trigger in enumerate(there.definition.triggers):
            if trigger.type == TIMER:
                yield at, schedule_of(trigger.config)


def due_of(there: Background, trigger: int, schedule: Schedule, now: datetime) -> datetime | None:
    """When its next tick is due, which may be in the past: to be taken at once. None: never any more."""
    since, last = there.since or now, there.ticked.get(trigger)
    if schedule.immediate and last is None:
        return since
    anchor = last or since
    due = _next(schedule, anchor, anchor)
    if due is None or not is_missed(due, now):
        return due
    if schedule.run_once:
        return _last(schedule, anchor, due, now)
    return _next(schedule, anchor, now - timedelta(seconds=LATE_S))


def is_missed(due: datetime, now: datetime) -> bool:
    return (now - due).total_seconds() > LATE_S


def told(schedule: Schedule, due: datetime) -> dict[str, Any]:
    """The data of a tick, its number left out."""
    kind = {"interval": schedule.interval_s} if schedule.expression is None else {"cron": schedule.expression}
    return {**kind, "due": due.isoformat()}


def _last(schedule: Schedule, anchor: datetime, due: datetime, now: datetime) -> datetime:
    """The latest tick that is due by now, which `due` is the first of."""
    if schedule.expression is None:
        passed = (now - anchor) // timedelta(seconds=schedule.interval_s)
        return anchor + timedelta(seconds=passed * schedule.interval_s)
    expression, zone = cron.parse(schedule.expression), cron.zone(schedule.zone)
    for back in BACK:
        times = cron.times_after(expression, max(due - timedelta(seconds=1), now - back), zone)
        found = deque(takewhile(lambda each: each <= now, times), maxlen=1)
        if found:
            return found[0]
    return due


def _next(schedule: Schedule, anchor: datetime, after: datetime) -> datetime | None:
    """The first tick later than `after`; intervals are counted from `anchor`."""
    if schedule.expression is not None:
        try:
            return cron.next_after(cron.parse(schedule.expression), after, cron.zone(schedule.zone))
        except cron.CronError:
            # Its time zone is not known on this machine, for one.
            return None
    passed = (after - anchor) // timedelta(seconds=schedule.interval_s)
    return (anchor + timedelta(seconds=(max(0, passed) + 1) * schedule.interval_s)).astimezone(UTC)
