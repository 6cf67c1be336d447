"""Named events between sessions: who may emit what, and from which source."""

from typing import Any

import pytest

from domain.executions import commands as xc
from domain.executions.events import SessionEmitted
from domain.messages import TOWER
from domain.sessions import commands as c
from domain.sessions.emitting import DATA_BYTES, OPERATOR, problem
from tests.unit.builders import BENCH
from tests.unit.cells import requested
from tests.unit.given import given
from tests.unit.talks import over, waiting

DONE = c.SessionEmit(name="work:completed", data={"issue_id": 7})
FROM_S = c.SessionEmit(name="work:completed", session_id="s")


class TestOfTheOperator:
    def test_it_comes_from_the_operator(self) -> None:
        emitted = SessionEmitted(session_id=OPERATOR, name="work:completed", data={"issue_id": 7})
        given().when(DONE).then(emitted)

    def test_it_comes_from_the_session_that_it_names(self) -> None:
        happened = given(*waiting()).when(FROM_S)
        happened.then(SessionEmitted(session_id="s", name="work:completed"))
        assert happened.result == {"session_id": "s", "name": "work:completed", "recorded": True}

    def test_a_bare_python_session_is_a_session(self) -> None:
        emit = c.SessionEmit(name="a:b", session_id="s")
        given(requested()).when(emit).then(SessionEmitted(session_id="s", name="a:b"))

    def test_each_is_one_event_though_it_says_the_same(self) -> None:
        emitted = SessionEmitted(session_id=OPERATOR, name="work:completed", data={"issue_id": 7})
        given(emitted).when(DONE).then(emitted)

    def test_no_session_that_is_not_there(self) -> None:
        given().when(FROM_S).then_rejected("session_not_found", session_id="s")

    def test_no_session_that_has_ended(self) -> None:
        given(*over()).when(FROM_S).then_rejected("session_ended", session_id="s", state="cancelled")

    def test_a_container_emits_nothing(self) -> None:
        given().when(DONE, origin=BENCH).then_rejected("host_only")


class TestOfTheTower:
    def test_a_part_of_it_has_a_name_for_a_source(self) -> None:
        request = xc.SessionRecordEmitted(session_id="issues:bugs", name="issue:created", data={"issue_id": 7})
        emitted = SessionEmitted(session_id="issues:bugs", name="issue:created", data={"issue_id": 7})
        given().when(request, origin=TOWER).then(emitted)

    def test_what_an_execution_that_is_over_said_comes_too_late(self) -> None:
        request = xc.SessionRecordEmitted(session_id="n", execution_id="gone", name="a:b")
        given().when(request, origin=TOWER).then_nothing()


@pytest.mark.parametrize("name", ["work:completed", "a:b", "issue.v2:un-blocked_1", "0:0", "x" * 63 + ":" + "y" * 64])
def test_a_name_is_two_words(name: str) -> None:
    assert problem(name, None) is None


@pytest.mark.parametrize(
    "name", ["", "work", ":", "work:", ":done", "a:b:c", "Work:done", "work: done", "a:b\n", "x" * 64 + ":" + "y" * 64]
)
def test_nothing_else_is_a_name(name: str) -> None:
    found = problem(name, None)
    assert found is not None and found[0] == "name"


def test_names_of_the_life_of_sessions_are_the_towers_own() -> None:
    request = c.SessionEmit(name="session:completed")
    reason = "names that begin with session: are the tower's own"
    given().when(request).then_rejected("validation_failed", field="name", reason=reason)


@pytest.mark.parametrize(("data", "fits"), [("x" * (DATA_BYTES - 2), True), ("x" * (DATA_BYTES - 1), False)])
def test_data_has_at_most_256_kib_as_json(data: Any, fits: bool) -> None:
    found = problem("a:b", data)
    assert (found is None) is fits
    if found is not None:
        assert found == ("data", f"{DATA_BYTES + 1} bytes as JSON, not at most {DATA_BYTES}")
