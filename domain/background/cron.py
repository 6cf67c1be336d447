"""When a cron expression comes next, in a time zone. Pure: the time it is asked for comes as an argument.

Five fields (minute hour day-of-month month day-of-week), or six with seconds first; `*`, lists, ranges, steps, names of
months and days (any case), 7 for Sunday, `?` for `*` in the two day fields; `@hourly`, `@daily`, `@midnight`,
`@weekly`, `@monthly`, `@yearly`, `@annually`.

A day is meant when both day fields say so; when both are restricted (neither begins with `*`), when one of them does.
Where clocks change, as in Vixie's cron: an expression at fixed times (no field before the days begins with `*`) comes
once a day that has it: what the clock leaps over comes at the leap, what it repeats comes the first time. One with a
`*` there (`*/15 * * * *`) follows the clock: nothing for what is leapt over, and again for what is repeated.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

HORIZON_YEARS: Final = 41
"""What does not come within these never comes: 29 February on one day of the week can be 40 years away."""

_MONTHS: Final[Mapping[str, int]] = dict(
    zip(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), range(1, 13), strict=True)
)
_DAYS: Final[Mapping[str, int]] = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ITEM: Final = re.compile(r"(?:(?P<all>\*|\?)|(?P<from>\w+)(?:-(?P<to>\w+))?)(?:/(?P<step>\d+))?\Z")


class CronError(ValueError):
    """What is wrong with an expression, for its author."""


class Field(NamedTuple):
    name: str
    least: int
    most: int
    names: Mapping[str, int]


_FIELDS: Final = (
    Field("second", 0, 59, {}),
    Field("minute", 0, 59, {}),
    Field("hour", 0, 23, {}),
    Field("day of month", 1, 31, {}),
    Field("month", 1, 12, _MONTHS),
    Field("day of week", 0, 7, _DAYS),
)


class Cron(NamedTuple):
    """Values in order. `fixed`: at times of the day, not as the clock goes. `either_day`: one day field is enough."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    fixed: bool
    either_day: bool


@lru_cache(maxsize=1024)
def parse(expression: str) -> Cron:
    """Raises `CronError`, also for what never comes (30 February)."""
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in _MACROS:
            raise CronError(f"{text} is not known; known are {', '.join(sorted(_MACROS))}")
        text = _MACROS[text.lower()]
    fields = text.split()
    if len(fields) not in (5, 6):
        raise CronError(f"5 fields, or 6 with seconds first, are expected, not {len(fields)}")
    if len(fields) == 5:
        fields = ["0", *fields]
    values = [_values(text, field) for text, field in zip(fields, _FIELDS, strict=True)]
    stars = [field.startswith(("*", "?")) for field in fields]
    cron = Cron(
        seconds=tuple(sorted(values[0])),
        minutes=tuple(sorted(values[1])),
        hours=tuple(sorted(values[2])),
        days=frozenset(values[3]),
        months=frozenset(values[4]),
        weekdays=frozenset(value % 7 for value in values[5]),
        fixed=not any(stars[:3]),
        either_day=not stars[3] and not stars[5],
    )
    if next(_dates(cron, date(2000, 1, 1)), None) is None:
        raise CronError("no day of any year is meant by this")
    return cron


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """An IANA time zone. Raises `CronError`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise CronError(f"{name!r} is no time zone of this machine, such as Europe/Berlin") from error


def next_after(cron: Cron, after: datetime, tz: tzinfo) -> datetime:
    """The first time later than `after` (aware), in UTC. Raises `CronError` beyond the year 9990."""
    found = next(times_after(cron, after, tz), None)
    if found is None:
        raise CronError("it does not come any more")
    return found


def times_after(cron: Cron, after: datetime, tz: tzinfo) -> Iterator[datetime]:
    """All later than `after`, in UTC, in order."""
    return _fixed_after(cron, after, tz) if cron.fixed else _running_after(cron, after, tz)


# --- reading -------------------------------------------------------------------------------------------------------


def _values(text: str, field: Field) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.match(item)
        if match is None or (match["all"] == "?" and field.name not in ("day of month", "day of week")):
            raise CronError(f"{field.name}: {item!r} is not understood")
        step = int(match["step"] or 1)
        if step < 1:
            raise CronError(f"{field.name}: a step of 0 in {item!r}")
        least, most = field.least, field.most
        if match["all"] is None:
            least = _number(match["from"], field)
            if match["to"] is not None:
                most = _number(match["to"], field)
            elif match["step"] is None:
                most = least
        if least > most:
            raise CronError(f"{field.name}: {item!r} ends before it begins")
        found.update(range(least, most + 1, step))
    return found


def _number(text: str, field: Field) -> int:
    if text.lower() in field.names:
        return field.names[text.lower()]
    if not (text.isascii() and text.isdigit()) or not field.least <= int(text) <= field.most:
        names = f" or {', '.join(field.names)}" if field.names else ""
        raise CronError(f"{field.name}: {text!r} is not from {field.least} to {field.most}{names}")
    return int(text)


# --- days ----------------------------------------------------------------------------------------------------------


def _is_meant(cron: Cron, day: date) -> bool:
    if day.month not in cron.months:
        return False
    by_month, by_week = day.day in cron.days, day.isoweekday() % 7 in cron.weekdays
    return (by_month or by_week) if cron.either_day else (by_month and by_week)


def _dates(cron: Cron, first: date) -> Iterator[date]:
    day, last = first, first.year + HORIZON_YEARS
    while day.year <= last and day.year <= 9990:
        if day.month not in cron.months:
            day = date(day.year + day.month // 12, day.month % 12 + 1, 1)
            continue
        if _is_meant(cron, day):
            yield day
            last = day.year + HORIZON_YEARS
        day += timedelta(days=1)


# --- at fixed times ------------------------------------------------------------------------------------------------


def _fixed_after(cron: Cron, after: datetime, tz: tzinfo) -> Iterator[datetime]:
    """Each time of each day that is meant, once."""
    last = after.astimezone(UTC)
    # What the clock leaps over at a change of date line or of standard time belongs to the day before.
    first = after.astimezone(tz).replace(tzinfo=None) - timedelta(days=1)
    for day in _dates(cron, first.date()):
        for wall in _walls(cron, day, first):
            at = _instant(wall, tz)
            if at > last:
                last = at
                yield at


def _walls(cron: Cron, day: date, first: datetime) -> Iterator[datetime]:
    for hour in cron.hours:
        if datetime.combine(day, time(hour)) + timedelta(hours=1) <= first:
            continue
        for minute in cron.minutes:
            for second in cron.seconds:
                yield datetime.combine(day, time(hour, minute, second))


def _instant(wall: datetime, tz: tzinfo) -> datetime:
    """The first time that a clock on the wall shows this; where it leaps over it, the time of the leap."""
    at = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if at.astimezone(tz).replace(tzinfo=None) == wall:
        return at
    return _leap(wall, tz)


def _leap(wall: datetime, tz: tzinfo) -> datetime:
    """The clock shows less than `wall` before it and more after it: halve the time between, down to a second."""
    before = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    behind = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    while behind - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(behind - before).total_seconds() // 2)
        if middle.astimezone(tz).replace(tzinfo=None) > wall:
            behind = middle
        else:
            before = middle
    return behind


# --- as the clock goes ---------------------------------------------------------------------------------------------


def _running_after(cron: Cron, after: datetime, tz: tzinfo) -> Iterator[datetime]:
    """By leaps to the next day, hour, minute that can be meant, each read off the clock anew."""
    at = after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    days = _Days(cron)
    while True:
        wall = at.astimezone(tz)
        day = days.next_from(wall.date())
        if day is None:
            return
        if day > wall.date():
            at = max(_instant(datetime.combine(day, time()), tz), at + timedelta(seconds=1))
            continue
        if (rest := _until(wall.hour, cron.hours)) != 0:
            # The hours between may be longer or shorter than they look: one at a time.
            at += timedelta(seconds=3600 - wall.minute * 60 - wall.second)
        elif (rest := _until(wall.minute, cron.minutes)) != 0:
            at += timedelta(minutes=60 - wall.minute if rest is None else rest, seconds=-wall.second)
        elif (rest := _until(wall.second, cron.seconds)) != 0:
            at += timedelta(seconds=60 - wall.second if rest is None else rest)
        else:
            yield at
            at += timedelta(seconds=1)


def _until(value: int, values: Sequence[int]) -> int | None:
    """0 if it is one of them; None if all of them are behind."""
    return next((each - value for each in values if each >= value), None)


class _Days:
    """Days that are meant, asked for in order."""

    def __init__(self, cron: Cron) -> None:
        self._cron = cron
        self._known: date | None = None

    def next_from(self, day: date) -> date | None:
        if self._known is None or self._known < day:
            self._known = next(_dates(self._cron, day), None)
        return self._known
