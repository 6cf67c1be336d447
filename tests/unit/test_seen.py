"""Command ids are remembered for a day, at most a million of them, and what is forgotten can never come back."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from handlers import seen
from handlers.seen import RECORD, SeenIds, key_of

NOW = datetime(2026, 1, 2, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def id_issued(at: datetime) -> UUID:
    """A UUIDv7 of that time."""
    milliseconds = int(at.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)


def key(number: int) -> bytes:
    return key_of("host", str(number))


class TestTime:
    @pytest.mark.parametrize(
        ("age", "expired"),
        [
            (timedelta(), False),
            (timedelta(hours=24), False),
            (timedelta(hours=24, milliseconds=1), True),
            (timedelta(minutes=-5), False),
            (timedelta(minutes=-5, milliseconds=-1), True),
        ],
    )
    def test_an_id_is_taken_for_a_day_and_five_minutes_ahead(self, age: timedelta, expired: bool):
        assert (SeenIds().age_if_expired(id_issued(NOW - age), NOW) is not None) is expired

    def test_an_id_is_remembered_as_long_as_it_could_be_taken(self):
        ids = SeenIds()
        issued = NOW
        ids.add(key(1), 7, issued - timedelta(minutes=5))
        for minutes in range(0, 27 * 60, 7):
            now = NOW + timedelta(minutes=minutes)
            ids.forget(now)
            if ids.age_if_expired(id_issued(issued), now) is None:
                assert ids.position(key(1)) == 7, f"{minutes} min on"
        assert ids.position(key(1)) is None


class TestBound:
    def test_beyond_the_limit_the_oldest_hour_goes_and_its_ids_are_expired(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(seen, "LIMIT", 3)
        ids = SeenIds()
        for number, at in enumerate([NOW - 2 * HOUR, NOW - 2 * HOUR, NOW - HOUR, NOW]):
            ids.add(key(number), number + 1, at)
        assert len(ids.forget(NOW)) == 1
        assert [ids.position(key(number)) for number in range(4)] == [None, None, 3, 4]
        assert ids.age_if_expired(id_issued(NOW - 2 * HOUR), NOW) is not None
        assert ids.age_if_expired(id_issued(NOW - HOUR), NOW) is None

    def test_the_newest_hour_is_never_dropped_for_the_limit(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(seen, "LIMIT", 1)
        ids = SeenIds()
        for number in range(5):
            ids.add(key(number), number + 1, NOW)
        assert ids.forget(NOW) == []
        assert len(ids) == 5


class TestSegments:
    def test_what_was_saved_is_known_again(self):
        before, after = SeenIds(), SeenIds()
        before.add(key(1), 5, NOW - HOUR)
        before.add(key(2), 6, NOW)
        for hour, records in before.take_unsaved().items():
            after.load(hour, records, until=6)
        assert (after.position(key(1)), after.position(key(2))) == (5, 6)
        assert before.take_unsaved() == {}

    def test_what_could_not_be_saved_is_saved_the_next_time(self):
        ids = SeenIds()
        ids.add(key(1), 5, NOW)
        segments = ids.take_unsaved()
        ids.restore_unsaved(segments)
        ids.add(key(2), 6, NOW)
        (records,) = ids.take_unsaved().values()
        assert sorted(RECORD.iter_unpack(records)) == sorted([(key(1), 5), (key(2), 6)])

    def test_a_torn_tail_and_positions_beyond_the_snapshot_are_left_out(self):
        ids = SeenIds()
        ids.load(1, RECORD.pack(key(1), 5) + RECORD.pack(key(2), 99) + b"torn", until=10)
        assert (ids.position(key(1)), ids.position(key(2))) == (5, None)


def test_ids_of_two_origins_are_two():
    assert key_of("host", "x") != key_of("tower", "x")
