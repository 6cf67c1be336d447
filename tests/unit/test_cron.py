"""When cron expressions come: a table of hard cases, with the time given, and a slow clock to compare with."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.background import cron
from domain.background.cron import CronError

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"
"""Its clocks change by half an hour."""
BEIRUT = "Asia/Beirut"
"""Its clocks leap at midnight."""
SANTIAGO = "America/Santiago"
"""Its clocks go back at midnight: 23:00 comes twice."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def following(expression: str, after: str, zone: str = "UTC", count: int = 3) -> list[str]:
    """The next times, as the clock on the wall there shows them."""
    tz = cron.zone(zone)
    times = islice(cron.times_after(cron.parse(expression), at(after), tz), count)
    return [each.astimezone(tz).isoformat() for each in times]


# fmt: off
TABLE = [
    ("every minute", "* * * * *", "2026-01-01T00:00:30+00:00", "UTC",
     ["2026-01-01T00:01:00+00:00", "2026-01-01T00:02:00+00:00"]),
    ("later than, not at", "0 12 * * *", "2026-01-01T12:00:00+00:00", "UTC", ["2026-01-02T12:00:00+00:00"]),
    ("a moment before", "0 12 * * *", "2026-01-01T11:59:59.999999+00:00", "UTC", ["2026-01-01T12:00:00+00:00"]),
    ("six fields", "15,45 30 6 * * *", "2026-01-01T06:30:15+00:00", "UTC",
     ["2026-01-01T06:30:45+00:00", "2026-01-02T06:30:15+00:00"]),
    ("every tenth second", "*/10 * * * * *", "2026-01-01T23:59:45+00:00", "UTC",
     ["2026-01-01T23:59:50+00:00", "2026-01-02T00:00:00+00:00"]),
    ("steps in a range", "10-40/15 8 * * *", "2026-01-01T00:00:00+00:00", "UTC",
     ["2026-01-01T08:10:00+00:00", "2026-01-01T08:25:00+00:00", "2026-01-01T08:40:00+00:00"]),
    ("a step from a value", "50/5 8 * * *", "2026-01-01T00:00:00+00:00", "UTC",
     ["2026-01-01T08:50:00+00:00", "2026-01-01T08:55:00+00:00", "2026-01-02T08:50:00+00:00"]),
    ("names of months and days", "0 0 * JAN-mar Mon", "2026-03-29T00:00:00+00:00", "UTC",
     ["2026-03-30T00:00:00+00:00", "2027-01-04T00:00:00+00:00"]),
    ("Sunday is 0 and 7", "0 0 * * 7", "2026-01-01T00:00:00+00:00", "UTC", ["2026-01-04T00:00:00+00:00"]),
    ("Friday to Sunday", "0 0 * * 5-7", "2026-01-01T00:00:00+00:00", "UTC",
     ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00", "2026-01-04T00:00:00+00:00"]),
    ("a question mark for any day", "0 0 0 1 * ?", "2026-01-01T00:00:00+00:00", "UTC", ["2026-02-01T00:00:00+00:00"]),
    ("daily", "@daily", "2026-01-01T00:00:00+00:00", "UTC", ["2026-01-02T00:00:00+00:00"]),
    ("yearly", "@yearly", "2026-01-01T00:00:00+00:00", "UTC", ["2027-01-01T00:00:00+00:00"]),

    ("both days restricted: one is enough", "0 0 13 * fri", "2026-02-01T00:00:00+00:00", "UTC",
     ["2026-02-06T00:00:00+00:00", "2026-02-13T00:00:00+00:00", "2026-02-20T00:00:00+00:00"]),
    ("every second day, and Monday: both", "0 0 */2 * mon", "2026-01-01T00:00:00+00:00", "UTC",
     ["2026-01-05T00:00:00+00:00", "2026-01-19T00:00:00+00:00", "2026-02-09T00:00:00+00:00"]),
    ("the thirteenth, on any weekday", "0 0 13 * *", "2026-02-01T00:00:00+00:00", "UTC", ["2026-02-13T00:00:00+00:00"]),
    ("the 31st leaves months out", "0 0 31 * *", "2026-03-31T00:00:00+00:00", "UTC",
     ["2026-05-31T00:00:00+00:00", "2026-07-31T00:00:00+00:00"]),
    ("leap day", "0 12 29 2 *", "2026-01-01T00:00:00+00:00", "UTC",
     ["2028-02-29T12:00:00+00:00", "2032-02-29T12:00:00+00:00"]),
    ("leap day over a century", "0 0 29 2 *", "2096-03-01T00:00:00+00:00", "UTC", ["2104-02-29T00:00:00+00:00"]),
    ("leap day or Monday in February", "0 0 29 2 1", "2028-02-22T00:00:00+00:00", "UTC",
     ["2028-02-28T00:00:00+00:00", "2028-02-29T00:00:00+00:00", "2029-02-05T00:00:00+00:00"]),
    ("leap day on a Sunday", "0 0 29 2 */7", "2026-01-01T00:00:00+00:00", "UTC", ["2032-02-29T00:00:00+00:00"]),
    ("end of the year", "59 59 23 31 12 *", "2026-12-31T23:59:59+00:00", "UTC", ["2027-12-31T23:59:59+00:00"]),

    ("spring: what is leapt over comes at the leap", "30 2 * * *", "2026-03-28T12:00:00+01:00", BERLIN,
     ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
    ("spring: once, though two are leapt over", "15,45 2 * * *", "2026-03-28T12:00:00+01:00", BERLIN,
     ["2026-03-29T03:00:00+02:00", "2026-03-30T02:15:00+02:00"]),
    ("spring: once with what stands at the leap", "0 2,3 * * *", "2026-03-28T12:00:00+01:00", BERLIN,
     ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
    ("spring: before and behind as ever", "30 1,3 * * *", "2026-03-28T12:00:00+01:00", BERLIN,
     ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]),
    ("spring: with the clock, nothing for what it leaps over", "*/30 * * * *", "2026-03-29T01:00:00+01:00", BERLIN,
     ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]),
    ("spring: with the clock, in an hour that is not there", "* 2 * * *", "2026-03-29T00:00:00+01:00", BERLIN,
     ["2026-03-30T02:00:00+02:00", "2026-03-30T02:01:00+02:00"]),
    ("autumn: what is repeated comes the first time", "30 2 * * *", "2026-10-24T12:00:00+02:00", BERLIN,
     ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
    ("autumn: asked for between both", "30 2 * * *", "2026-10-25T02:45:00+02:00", BERLIN,
     ["2026-10-26T02:30:00+01:00"]),
    ("autumn: with the clock, again", "*/30 * * * *", "2026-10-25T02:00:00+02:00", BERLIN,
     ["2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00"]),
    ("spring in New York", "30 2 * * *", "2026-03-07T12:00:00-05:00", NEW_YORK,
     ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]),
    ("autumn in New York", "30 1 * * *", "2026-10-31T12:00:00-04:00", NEW_YORK,
     ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]),
    ("half an hour in spring", "15 2 * * *", "2026-10-03T12:00:00+10:30", LORD_HOWE,
     ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]),
    ("half an hour in autumn", "45 1 * * *", "2026-04-04T12:00:00+11:00", LORD_HOWE,
     ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]),
    ("half an hour in autumn, with the clock", "*/15 * * * *", "2026-04-05T01:30:00+11:00", LORD_HOWE,
     ["2026-04-05T01:45:00+11:00", "2026-04-05T01:30:00+10:30", "2026-04-05T01:45:00+10:30"]),
    ("a midnight that is not there", "0 0 * * *", "2026-03-28T12:00:00+02:00", BEIRUT,
     ["2026-03-29T01:00:00+03:00", "2026-03-30T00:00:00+03:00"]),
    ("a day that begins at one", "*/30 * 29 3 *", "2026-03-28T12:00:00+02:00", BEIRUT,
     ["2026-03-29T01:00:00+03:00", "2026-03-29T01:30:00+03:00"]),
    ("an hour before midnight that comes twice", "30 23 4 4 *", "2026-04-04T12:00:00-03:00", SANTIAGO,
     ["2026-04-04T23:30:00-03:00", "2027-04-04T23:30:00-04:00"]),
    ("the same, with the clock", "30 * 4 4 *", "2026-04-04T22:45:00-03:00", SANTIAGO,
     ["2026-04-04T23:30:00-03:00", "2026-04-04T23:30:00-04:00", "2027-04-04T00:30:00-04:00"]),
    ("another zone's morning", "0 9 * * mon-fri", "2026-01-02T09:00:00+00:00", "Asia/Tokyo",
     ["2026-01-05T09:00:00+09:00", "2026-01-06T09:00:00+09:00"]),
]
# fmt: on


@pytest.mark.parametrize(("name", "expression", "after", "zone", "times"), TABLE, ids=[row[0] for row in TABLE])
def test_next_times(name: str, expression: str, after: str, zone: str, times: list[str]) -> None:
    assert following(expression, after, zone, len(times)) == times


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("", "not 0"),
        ("* * * *", "not 4"),
        ("* * * * * * *", "not 7"),
        ("60 * * * *", "minute: '60' is not from 0 to 59"),
        ("* 24 * * *", "hour: '24'"),
        ("* * 0 * *", "day of month: '0'"),
        ("* * * 13 *", "month: '13'"),
        ("* * * * 8", "day of week: '8'"),
        ("* * * * funday", "day of week: 'funday' is not from 0 to 7 or sun"),
        ("*/0 * * * *", "a step of 0"),
        ("5-1 * * * *", "ends before it begins"),
        ("1,,2 * * * *", "not understood"),
        ("? * * * *", "minute: '?'"),
        ("0 0 L * *", "day of month: 'L'"),
        ("0 0 * * mon#2", "not understood"),
        ("0 0 30 2 *", "no day of any year"),
        ("0 0 31 4,6,9,11 *", "no day of any year"),
        ("@every 5m", "not known; known are @annually"),
        ("@reboot", "not known"),
    ],
)
def test_what_is_wrong_is_said(expression: str, fault: str) -> None:
    with pytest.raises(CronError) as refused:
        cron.parse(expression)
    assert fault in str(refused.value)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe/Berlin "])
def test_a_zone_that_is_none(name: str) -> None:
    with pytest.raises(CronError, match="no time zone"):
        cron.zone(name)


ZONES = st.sampled_from(["UTC", BERLIN, NEW_YORK, LORD_HOWE, BEIRUT, SANTIAGO])
STARTS = st.sampled_from(
    ["2026-03-28T20:10:00+00:00", "2026-10-24T20:40:00+00:00", "2026-03-08T04:00:00+00:00", "2026-04-04T10:00:00+00:00"]
)
MINUTES = st.sampled_from(["*", "*/7", "*/30", "0-10"])
HOURS = st.sampled_from(["*", "*/2", "1-3", "0,23"])


@settings(max_examples=60, deadline=None)
@given(minute=MINUTES, hour=HOURS, zone=ZONES, start=STARTS)
def test_with_the_clock_it_is_what_a_watcher_of_the_clock_would_do(
    minute: str, hour: str, zone: str, start: str
) -> None:
    spec, tz, begin = cron.parse(f"{minute} {hour} * * *"), cron.zone(zone), at(start)
    if spec.fixed:
        spec = spec._replace(fixed=False)
    minutes = (begin + timedelta(minutes=passed) for passed in range(1, 30 * 60))
    seen = [
        each for each in minutes if (wall := each.astimezone(tz)).minute in spec.minutes and wall.hour in spec.hours
    ]
    assert list(islice(cron.times_after(spec, begin, tz), len(seen))) == seen


@settings(max_examples=60, deadline=None)
@given(zone=ZONES, start=STARTS, hours=st.sets(st.integers(0, 23), min_size=1), minute=st.integers(0, 59))
def test_at_fixed_times_it_comes_once_a_day_each_and_in_order(
    zone: str, start: str, hours: set[int], minute: int
) -> None:
    spec, tz = cron.parse(f"{minute} {','.join(map(str, sorted(hours)))} * * *"), cron.zone(zone)
    times = list(islice(cron.times_after(spec, at(start), tz), 4 * len(hours)))
    assert times == sorted(set(times))
    assert all(each.tzinfo is UTC for each in times)
    assert cron.next_after(spec, times[0], tz) == times[1] if len(times) > 1 else True
    walls = [each.astimezone(tz).replace(tzinfo=None) for each in times]
    assert len(set(walls)) == len(walls)
