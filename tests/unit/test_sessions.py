"""Sessions: spawning, turns, ends, cancellation trees, time-outs, resuming; the table of `domain/sessions/state.py`."""

from datetime import timedelta
from typing import Any

import pytest

from domain import promises as p
from domain.executions import commands as xc
from domain.executions import events as xe
from domain.messages import Event
from domain.sessions import commands as c
from domain.sessions import events as e
from domain.sessions.decide import digest_of
from domain.sessions.reports import LOST
from tests.unit.builders import AT, BENCH, facts
from tests.unit.given import given
from tests.unit.talks import (
    FRESH,
    REVIEWER,
    ROOT,
    cancel,
    cancelled,
    completed,
    ended,
    failed,
    in_error,
    instruct,
    instructed,
    lost,
    over,
    prepared,
    rested,
    resumed,
    running,
    spawn,
    spawned,
    started,
    stopping,
    timed_out,
    told,
    turn_completed,
    turn_ended,
    turn_started,
    waiting,
)


class TestSpawning:
    def test_it_is_recorded_with_its_first_instruction(self) -> None:
        happened = given().when(spawn(), facts=prepared())
        happened.then(*waiting())
        assert happened.result == {
            "session_id": "s",
            "session_name": "reviewer",
            "promise_id": "spawn:s",
            "state": "waiting",
            "turn": 1,
            "replay": False,
        }

    def test_options_stand_in_the_event(self) -> None:
        request = spawn(session_name="Eye", timeout=60.0, background=True, idempotency_key="k")
        given().when(request, facts=prepared(warnings=("w",), context_digest="e" * 64, context_messages=3)).then(
            spawned(
                request=request,
                session_name="Eye",
                timeout_s=60.0,
                deadline=AT + timedelta(seconds=60),
                background=True,
                warnings=("w",),
                context_digest="e" * 64,
                context_messages=3,
            ),
            instructed(),
        )

    def test_at_the_root_the_id_is_random(self) -> None:
        happened = given().when(spawn(None), facts=prepared())
        assert happened.result["session_id"] == FRESH

    def test_below_a_parent_the_id_has_the_spans_and_the_name(self) -> None:
        history = given(*running(ROOT))
        child = history.when(spawn(None, parent_session_id=ROOT, session_name="Code  Review!"), facts=prepared())
        assert child.result["session_id"] == "6bd14a0d9c6c5f0f-7d5f3c1a0e2b4f60_code-review"

    def test_depth_is_counted_and_limited(self) -> None:
        history = given(*running("s0"))
        for depth in range(1, 9):
            request = spawn(f"s{depth}", parent_session_id=f"s{depth - 1}")
            happened = history.when(request, facts=prepared())
            assert isinstance(happened.events[0], e.SessionSpawned)
            assert happened.events[0].depth == depth
            history = happened.accepted()
        deeper = history.when(spawn("s9", parent_session_id="s8"), facts=prepared())
        deeper.then_rejected("spawn_depth_exceeded", depth=9, limit=8)

    def test_delegating_to_itself_is_limited(self) -> None:
        history = given(*running("s0"))
        for depth in range(1, 4):
            request = spawn(f"s{depth}", agent="self", parent_session_id=f"s{depth - 1}")
            history = history.when(request, facts=prepared()).accepted()
        again = spawn("s4", agent="self", parent_session_id="s3")
        history.when(again, facts=prepared()).then_rejected("spawn_depth_exceeded", depth=4, limit=3)
        other = history.when(spawn("s4", agent="critic", parent_session_id="s3"), facts=prepared())
        assert isinstance(other.events[0], e.SessionSpawned)
        assert other.events[0].self_depth == 0

    @pytest.mark.parametrize("history", [waiting(), running(), rested(), in_error(), over()])
    def test_an_id_that_is_there_is_taken(self, history: tuple[Event, ...]) -> None:
        given(*history).when(spawn(instruction="Other."), facts=prepared()).then_rejected(
            "session_exists", session_id="s"
        )

    def test_so_is_that_of_a_bare_python_session(self) -> None:
        history = given(xe.SessionForked(session_id="s", from_session_id="t", digest="d"))
        history.when(spawn(), facts=prepared()).then_rejected("session_exists", session_id="s")

    def test_which_cannot_be_made_of_a_session_either(self) -> None:
        history = given(*running())
        history.when(xc.ExecutionRequest(code="1", session_id="s"), facts=facts("x")).then_rejected(
            "session_exists", session_id="s"
        )

    @pytest.mark.parametrize("end", [(), (turn_started(),), (cancelled(None), ended())])
    def test_the_same_key_again_gives_what_is_there(self, end: tuple[Event, ...]) -> None:
        request = spawn(None, idempotency_key="k")
        history = given(spawned(FRESH, request=request), instructed(session_id=FRESH))
        for event in end:
            history = history.and_given(type(event)(**{**_fields(event), "session_id": FRESH}))
        again = history.when(request, facts=facts())
        again.then_nothing()
        assert (again.result["session_id"], again.result["replay"]) == (FRESH, True)

    def test_the_same_id_and_key_again_give_what_is_there(self) -> None:
        request = spawn("s", idempotency_key="k")
        given(spawned(request=request), instructed()).when(request, facts=prepared()).then_nothing()

    def test_the_same_key_for_another_instruction_is_a_conflict(self) -> None:
        request = spawn("s", idempotency_key="k")
        other = spawn("s", "Other.", idempotency_key="k")
        given(spawned(request=request), instructed()).when(other, facts=prepared()).then_rejected(
            "idempotency_conflict", idempotency_key="k"
        )

    def test_a_bundle_that_is_not_prepared_gives_its_reason(self) -> None:
        refusal = ("session_not_found", "no session x", {"session_id": "x"})
        given().when(spawn(), facts=prepared(refusal=refusal)).then_rejected("session_not_found", session_id="x")

    def test_while_it_is_being_prepared_one_asks_again(self) -> None:
        given().when(spawn(), facts=facts(FRESH)).then_rejected("tower_busy", queued=1)

    @pytest.mark.parametrize(
        ("field", "reason", "options"),
        [
            ("bundle", "either a bundle or an agent of the parent's", {"bundle": None}),
            ("agent", "an agent of the parent's bundle: parent_session_id is missing", {"agent": "critic"}),
            ("session_id", "1 to 100 characters of A-Z a-z 0-9 _ -", {"session_id": "a:b"}),
            ("instruction", "empty", {"instruction": " "}),
            ("instruction", "not text that UTF-8 can hold", {"instruction": "\ud800"}),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, field: str, reason: str, options: dict[str, Any]) -> None:
        request = spawn(**{"session_id": "s", **options})
        given().when(request, facts=prepared()).then_rejected("validation_failed", field=field, reason=reason)

    def test_a_parent_must_be_there_and_open(self) -> None:
        request = spawn("t", parent_session_id="s")
        given().when(request, facts=prepared()).then_rejected("session_not_found", session_id="s")
        given(*over()).when(request, facts=prepared()).then_rejected("session_ended", session_id="s", state="cancelled")
        given(*running(), stopping()).when(request, facts=prepared()).then_rejected(
            "session_ended", session_id="s", state="running"
        )
        given(*in_error()).when(request, facts=prepared()).accepted()

    def test_it_is_for_the_operator_only(self) -> None:
        given(containers=[BENCH]).when(spawn(), facts=prepared(), origin=BENCH).then_rejected("host_only")

    def test_a_long_instruction_has_a_file(self) -> None:
        text = "é" * 131_073
        request = spawn(instruction=text)
        given().when(request, facts=prepared()).then_rejected("tower_busy", queued=1)
        given().when(request, facts=prepared(text_digest=digest_of(text))).then(
            spawned(request=request), e.SessionInstructed(session_id="s", turn=1, instruction_digest=digest_of(text))
        )


class TestTurns:
    def test_one_starts_when_its_runtime_is_ready(self) -> None:
        told(waiting(), started()).then(turn_started())

    def test_with_a_new_runtime_the_session_is_resumed(self) -> None:
        told(waiting(), started(restarted=True)).then(resumed(reason="restarted"), turn_started())

    @pytest.mark.parametrize("history", [running(), rested(), in_error(), over(), ()])
    def test_none_starts_out_of_turn(self, history: tuple[Event, ...]) -> None:
        told(history, started()).then_nothing()
        told((*waiting(), instructed(2, "More.")), started(2)).then_nothing()

    def test_they_wait_in_order(self) -> None:
        history = given(*running())
        second = history.when(instruct("Two."))
        assert second.result == {"session_id": "s", "turn": 2, "state": "waiting", "replay": False}
        history = second.then(instructed(2, "Two.")).when(instruct("Three.")).then(instructed(3, "Three."))
        history = told(history, turn_ended()).then(turn_completed())
        told(history, started(3)).then_nothing()
        history = told(history, started(2)).then(turn_started(2))
        history = told(history, turn_ended(turn=2)).then(turn_completed(2))
        history = told(history, started(3)).then(turn_started(3))
        told(history, turn_ended(turn=3)).then(turn_completed(3), completed(3))

    def test_what_code_may_not_have_is_recorded_while_it_runs(self) -> None:
        asked = {"execution_id": "session:s", "capability": "run", "reason": "not allowed", "session_id": "s"}
        denied = xc.CapabilityRecordDenied(**asked)
        told(running(), denied).then(xe.CapabilityDenied(**asked))
        told(rested(), denied).then_nothing()
        told((), denied).then_nothing()

    def test_the_last_one_completes_the_session(self) -> None:
        told(running(), turn_ended()).then(turn_completed(), completed())

    def test_which_can_be_given_more(self) -> None:
        history = given(*rested()).when(instruct()).then(instructed(2, "More."))
        history = told(history, started(2)).then(turn_started(2))
        told(history, turn_ended(turn=2)).then(turn_completed(2), completed(2))

    def test_an_end_comes_once(self) -> None:
        told(rested(), turn_ended()).then_nothing()
        told((*rested(), instructed(2), turn_started(2)), turn_ended(turn=1)).then_nothing()

    def test_a_failed_one_is_an_error_and_what_waits_stays(self) -> None:
        history = told((*running(), instructed(2)), turn_ended("failed")).then(failed())
        told(history, started(2)).then_nothing()
        session = history.state.sessions.known["s"]
        assert (session.state, len(session.waiting)) == ("error", 1)

    def test_one_that_was_running_when_the_tower_ended_is_not_run_again(self) -> None:
        error = e.SessionError(session_id="s", turn=1, **REVIEWER, turn_count=0, error=LOST, error_type="lost")
        history = told(running(), lost()).then(error)
        told(history, started()).then_nothing()
        told(waiting(), lost()).then_nothing()

    def test_too_many_do_not_wait(self) -> None:
        history = given(*running(), *(instructed(turn) for turn in range(2, 1_002)))
        history.when(instruct()).then_rejected("tower_busy", queued=1_000)


class TestResuming:
    @pytest.mark.parametrize("history", [in_error(), (*running(), timed_out())])
    def test_it_goes_on_with_what_it_is_told(self, history: tuple[Event, ...]) -> None:
        request = c.SessionResume(session_id="s", instruction="Again.", timeout=5.0)
        happened = given(*history).when(request)
        happened.then(resumed(deadline_s=5), instructed(2, "Again."))
        assert happened.result == {"session_id": "s", "turn": 2, "state": "waiting", "replay": False}

    def test_and_with_what_waits(self) -> None:
        history = given(*running(), instructed(2), failed()).when(c.SessionResume(session_id="s")).then(resumed())
        told(history, started(2)).then(turn_started(2))

    def test_nothing_to_do_is_said(self) -> None:
        reason = "nothing waits in this session: say what to do"
        for history in (rested(), in_error()):
            given(*history).when(c.SessionResume(session_id="s")).then_rejected(
                "validation_failed", field="instruction", reason=reason
            )

    def test_an_instruction_resumes_it(self) -> None:
        given(*in_error()).when(instruct()).then(resumed(), instructed(2, "More."))

    def test_many_at_once_resume_it_once(self) -> None:
        request = c.SessionResume(session_id="s", instruction="Again.")
        history = given(*in_error()).when(request).then(resumed(), instructed(2, "Again."))
        history = history.when(request).then(instructed(3, "Again."))
        history.when(c.SessionResume(session_id="s")).then_nothing()

    @pytest.mark.parametrize("history", [over(), (*rested(), ended(reason="asked")), (*running(), stopping())])
    def test_what_ended_on_purpose_never_is(self, history: tuple[Event, ...]) -> None:
        for request in (c.SessionResume(session_id="s", instruction="Again."), instruct()):
            refused = given(*history).when(request).outcome
            assert getattr(refused, "code", None) == "session_ended"


class TestCancelling:
    def test_what_waits_ends_at_once(self) -> None:
        happened = given(*waiting()).when(cancel())
        happened.then(cancelled(None), ended())
        assert happened.result == {"session_id": "s", "state": "ended", "replay": False}

    def test_what_runs_is_stopped_first(self) -> None:
        history = given(*running(), instructed(2)).when(cancel()).then(stopping())
        history.when(cancel()).then_nothing()
        told(history, turn_ended("cancelled")).then(cancelled(), ended())

    def test_what_was_completed_meanwhile_stays_so(self) -> None:
        told((*running(), stopping()), turn_ended()).then(turn_completed(), cancelled(None), ended())

    @pytest.mark.parametrize("state", ["failed", "timed_out"])
    def test_however_the_runtime_took_it(self, state: str) -> None:
        told((*running(), stopping()), turn_ended(state)).then(cancelled(), ended())

    def test_what_ended_with_the_tower_was_cancelled(self) -> None:
        told((*running(), stopping()), lost()).then(cancelled(), ended())

    @pytest.mark.parametrize("history", [rested(), in_error()])
    def test_what_rests_is_ended(self, history: tuple[Event, ...]) -> None:
        given(*history).when(cancel()).then(ended())

    def test_again_is_a_repeat(self) -> None:
        again = given(*over()).when(cancel())
        again.then_nothing()
        assert again.result == {"session_id": "s", "state": "cancelled", "replay": True}

    def test_an_unknown_one_is_not_there(self) -> None:
        given().when(cancel()).then_rejected("session_not_found", session_id="s")

    def test_foreground_children_go_with_it_at_any_depth_and_background_ones_stay(self) -> None:
        history = given(
            *running("s"),
            *running("a", parent_session_id="s"),
            *waiting("b", parent_session_id="a"),
            *running("c", parent_session_id="s", background=True),
            *running("d", parent_session_id="c"),
            *running("e"),
            *rested("f", parent_session_id="s"),
        )
        history.when(cancel()).then(stopping("s"), stopping("a"), cancelled(None, "b"), ended("b"))

    def test_ending_lets_what_waits_be_done(self) -> None:
        request = c.SessionEnd(session_id="s")
        history = given(*running(), instructed(2)).when(request).then(ended(reason="asked"))
        history.when(request).then_nothing()
        history.when(instruct()).then_rejected("session_ended", session_id="s", state="running")
        history = told(history, turn_ended()).then(turn_completed())
        history = told(history, started(2)).then(turn_started(2))
        history = told(history, turn_ended(turn=2)).then(turn_completed(2), completed(2))
        history.when(instruct()).then_rejected("session_ended", session_id="s", state="completed")
        assert "s" in history.state.sessions.ended
        assert "s" not in history.state.sessions.known


class TestTimeouts:
    LIMITED: dict[str, Any] = {"timeout_s": 5.0, "deadline": AT + timedelta(seconds=5)}  # noqa: RUF012

    def test_what_runs_is_stopped_and_its_foreground_children_are_cancelled(self) -> None:
        history = (*running(**self.LIMITED), *running("a", parent_session_id="s"))
        happened = told(history, c.SessionRecordTimedOut(session_id="s"), after_s=5)
        later = happened.then(stopping(reason="timed_out"), stopping("a"))
        told(later, turn_ended("cancelled")).then(timed_out())

    def test_what_waits_times_out_at_once(self) -> None:
        told(waiting(**self.LIMITED), c.SessionRecordTimedOut(session_id="s"), after_s=5).then(timed_out(None))

    def test_a_clock_that_stepped_changes_nothing(self) -> None:
        told(running(**self.LIMITED), c.SessionRecordTimedOut(session_id="s"), after_s=4.9).then_nothing()

    def test_nor_does_one_that_rests(self) -> None:
        told(rested(**self.LIMITED), c.SessionRecordTimedOut(session_id="s"), after_s=9).then_nothing()

    def test_a_turn_that_is_lost_then_timed_out(self) -> None:
        told((*running(**self.LIMITED), stopping(reason="timed_out")), lost()).then(timed_out())

    def test_a_cancel_goes_before(self) -> None:
        history = given(*running(**self.LIMITED), stopping(reason="timed_out")).when(cancel()).then(stopping())
        told(history, turn_ended("cancelled")).then(cancelled(), ended())


class TestBundlesThatWereLoadedAnew:
    STALE = c.SessionRecordStale(session_id="s", from_digest="b" * 64, to_digest="c" * 64)

    def test_the_session_is_stale_once(self) -> None:
        event = e.SessionStale(session_id="s", from_digest="b" * 64, to_digest="c" * 64)
        told(told(running(), self.STALE).then(event), self.STALE).then_nothing()

    def test_not_if_it_has_another_version(self) -> None:
        other = c.SessionRecordStale(session_id="s", from_digest="a" * 64, to_digest="c" * 64)
        told(running(), other).then_nothing()


class TestThePromise:
    @pytest.mark.parametrize("request_", [p.PromiseResolve, p.PromiseReject, p.PromiseCancel])
    def test_nobody_else_settles_it(self, request_: Any) -> None:
        hint = ": cancel the session" if request_ is p.PromiseCancel else ""
        given(*running()).when(request_(id="spawn:s")).then_rejected(
            "validation_failed", field="id", reason=f"settles with its session{hint}"
        )


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}
