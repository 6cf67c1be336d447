"""Checkpoints, restores and forks of sessions."""

import pytest

from domain.executions import commands as c
from domain.executions import events as e
from domain.executions.state import Checkpoint, Work, next_of
from tests.unit.builders import facts
from tests.unit.cells import ask, completed, requested, running, start, started, told
from tests.unit.given import History, given

WORK = facts("w1")
WANTED = e.SessionCheckpointRequested(session_id="s", work_id="w1")


def saved(digest: str = "d1", work_id: str = "w1", after: str | None = None) -> e.SessionCheckpointed:
    return e.SessionCheckpointed(session_id="s", work_id=work_id, digest=digest, bytes_=9, names=("a",), after=after)


def save(digest: str = "d1", work_id: str = "w1") -> c.SessionRecordCheckpointed:
    return c.SessionRecordCheckpointed(session_id="s", work_id=work_id, digest=digest, size_bytes=9, names=("a",))


def having_saved(count: int = 1) -> History:
    history = given(*running(), completed())
    for n in range(1, count + 1):
        history = history.and_given(
            e.SessionCheckpointRequested(session_id="s", work_id=f"w{n}"), saved(f"d{n}", f"w{n}", after="x1")
        )
    return history


class TestCheckpoints:
    def test_one_is_made_when_its_turn_comes(self) -> None:
        happened = given(*running()).when(c.SessionCheckpoint(session_id="s"), facts=WORK)
        history = happened.then(WANTED)
        assert happened.result == {"session_id": "s", "work_id": "w1", "recorded": True}
        assert next_of("s", history.state.executions) is None
        history = history.and_given(completed())
        assert isinstance(next_of("s", history.state.executions), Work)
        history = told(history, save()).then(saved(after="x1"))
        assert history.state.executions.sessions["s"].checkpoints == (Checkpoint(digest="d1", after="x1"),)
        assert not history.state.executions.works
        told(history, save()).then_nothing()

    def test_what_is_asked_after_it_waits_for_it(self) -> None:
        history = given(*running(), WANTED, requested("x2"), completed())
        told(history, start("x2")).then_nothing()
        told(history.and_given(saved(after="x1")), start("x2")).then(started("x2"))

    def test_one_that_fails_holds_nobody_up(self) -> None:
        history = given(*running(), completed(), WANTED, requested("x2"))
        failed = c.SessionRecordWorkFailed(session_id="s", work_id="w1", code="worker_died", reason="signal 9")
        told(history, failed).then(
            e.SessionWorkFailed(session_id="s", work_id="w1", work="checkpoint", code="worker_died", reason="signal 9")
        )
        told(told(history, failed).accepted(), start("x2")).then(started("x2"))

    def test_the_last_five_are_kept(self) -> None:
        executions = having_saved(7).state.executions
        assert [each.digest for each in executions.sessions["s"].checkpoints] == ["d3", "d4", "d5", "d6", "d7"]
        assert executions.digests == {"d3", "d4", "d5", "d6", "d7"}

    def test_of_a_session_that_there_is(self) -> None:
        for request in (c.SessionCheckpoint(session_id="t"), c.SessionRestore(session_id="t")):
            given().when(request, facts=WORK).then_rejected("session_not_found", session_id="t")


class TestRestores:
    @pytest.mark.parametrize(("asked", "digest"), [(None, "d2"), ("d1", "d1")])
    def test_the_last_one_or_the_one_that_is_named(self, asked: str | None, digest: str) -> None:
        request = c.SessionRestore(session_id="s", checkpoint=asked, strategy="smart", clear_existing=True)
        wanted = e.SessionRestoreRequested(
            session_id="s", work_id="w9", digest=digest, strategy="smart", clear_existing=True
        )
        history = having_saved(2).when(request, facts=facts("w9")).then(wanted)
        done = c.SessionRecordRestored(session_id="s", work_id="w9", names=("a",))
        history = told(history, done).then(e.SessionRestored(session_id="s", work_id="w9", digest=digest, names=("a",)))
        told(history, done).then_nothing()

    def test_only_what_is_kept(self) -> None:
        having_saved(6).when(c.SessionRestore(session_id="s", checkpoint="d1"), facts=WORK).then_rejected(
            "checkpoint_not_found", checkpoint="d1"
        )


class TestForks:
    @pytest.mark.parametrize(("source", "digest"), [("s", "d2"), ("d1", "d1"), ("x1", "d2")])
    def test_from_a_session_a_checkpoint_or_an_execution(self, source: str, digest: str) -> None:
        happened = having_saved(2).when(c.SessionFork(from_=source, session_id="t"))
        history = happened.then(e.SessionForked(session_id="t", from_session_id="s", digest=digest))
        assert happened.result == {"session_id": "t", "checkpoint": digest, "recorded": True}
        assert history.state.executions.sessions["t"].checkpoints[-1].digest == digest
        history.when(ask(execution_id="x2", session="t")).then(requested("x2", "t"))

    def test_what_a_fork_needs_is_kept_when_its_source_has_newer_ones(self) -> None:
        history = having_saved(1).and_given(e.SessionForked(session_id="t", from_session_id="s", digest="d1"))
        for n in range(2, 8):
            history = history.and_given(
                e.SessionCheckpointRequested(session_id="s", work_id=f"w{n}"), saved(f"d{n}", f"w{n}")
            )
        assert "d1" in history.state.executions.digests

    def test_into_a_session_that_is_new(self) -> None:
        having_saved().when(c.SessionFork(from_="s", session_id="s")).then_rejected("session_exists", session_id="s")
        having_saved().when(c.SessionFork(from_="s"), facts=facts("made")).then(
            e.SessionForked(session_id="made", from_session_id="s", digest="d1")
        )

    def test_from_nothing_that_is_kept(self) -> None:
        given(*running(), completed()).when(c.SessionFork(from_="s", session_id="t")).then_rejected(
            "checkpoint_not_found", checkpoint="s"
        )
        having_saved().when(c.SessionFork(from_="unknown", session_id="t")).then_rejected(
            "checkpoint_not_found", checkpoint="unknown"
        )
