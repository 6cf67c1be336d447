"""What subscribers are told by which event, and to which names they are subscribed."""

from typing import Any

import pytest

from domain.executions.events import SessionEmitted
from domain.messages import Event
from domain.sessions.telling import Told, Wanted, matches, told_by, wrong_pattern, wrong_patterns
from tests.unit import talks

OF_S: dict[str, Any] = {"session_id": "s", "session_name": "reviewer", "bundle_name": "reviewer"}


def told(event: Event) -> Told:
    said = told_by(event)
    assert said is not None
    return said


class TestWhatIsTold:
    def test_what_a_session_emits_under_its_own_name(self) -> None:
        event = SessionEmitted(session_id="s", name="work:completed", data={"issue_id": 7})
        assert told(event) == Told("work:completed", "s", {"issue_id": 7})

    def test_that_all_it_was_given_is_done(self) -> None:
        data = {**OF_S, "output": "done", "turn_count": 2, "success": True}
        assert told(talks.completed(2)) == Told("session:completed", "s", data)

    def test_that_a_turn_failed(self) -> None:
        data = {**OF_S, "output": "", "turn_count": 0, "success": False}
        data |= {"error": "exit status 3", "error_type": "exit_status"}
        assert told(talks.failed()) == Told("session:error", "s", data)

    def test_that_its_time_was_over_is_an_error(self) -> None:
        said = told(talks.timed_out())
        assert (said.name, said.data["success"], said.data["error_type"]) == ("session:error", False, "timed_out")

    @pytest.mark.parametrize(("reason", "status"), [("asked", "ended"), ("cancelled", "cancelled")])
    def test_that_it_takes_nothing_more(self, reason: str, status: str) -> None:
        assert told(talks.ended(reason=reason)) == Told("session:end", "s", {"session_id": "s", "status": status})

    def test_what_it_was_run_for(self) -> None:
        event = talks.e.SessionCompleted(**OF_S, turn_count=1, trigger={"type": "manual"})
        assert told(event).data["trigger"] == {"type": "manual"}

    @pytest.mark.parametrize("event", [talks.spawned(), talks.instructed(), talks.turn_started(), talks.cancelled()])
    def test_nothing_by_other_events(self, event: Event) -> None:
        assert told_by(event) is None


class TestWhatIsWanted:
    @pytest.mark.parametrize(
        ("pattern", "name", "meant"),
        [
            ("work:completed", "work:completed", True),
            ("work:completed", "work:completed.twice", False),
            ("work:*", "work:failed", True),
            ("work:*", "works:failed", False),
            ("*", "session:end", True),
        ],
    )
    def test_names_are_exact_or_begin_or_all(self, pattern: str, name: str, meant: bool) -> None:
        assert matches(pattern, name) is meant

    def test_only_of_the_sources_that_are_named(self) -> None:
        wanted = Wanted(("work:*",), ("s", "t"))
        assert [wanted.has(Told("work:done", source, None)) for source in ("s", "t", "u")] == [True, True, False]

    def test_of_all_sources_when_none_is_named(self) -> None:
        assert Wanted(("work:*", "work:done")).has(Told("work:done", "anybody", None))

    @pytest.mark.parametrize("pattern", ["*", "work:*", "work:completed", "session:end", "a.b-c_1:*"])
    def test_these_can_be_subscribed_to(self, pattern: str) -> None:
        assert wrong_pattern(pattern) is None

    @pytest.mark.parametrize("pattern", ["", "work", "work*", "*:done", "**", "work:**", "work:*x", "Work:*", "a:b:*"])
    def test_these_can_never_be_heard(self, pattern: str) -> None:
        assert wrong_patterns(["work:*", pattern]) == (1, wrong_pattern(pattern))
