"""`pane.send`: which pane takes text, what is recorded of it, how a sending goes and ends."""

import msgspec
import pytest

from domain import sends as s
from domain import tower
from domain.messages import HOST, Command, Event
from domain.tower import Tower
from handlers.effects.spawning import Type, job_for, open_jobs
from tests.unit.builders import (
    BENCH,
    OTHER_BENCH,
    exited,
    facts,
    failed_layout,
    gone,
    launch_exited,
    layout,
    log_failed,
    moved,
    ready_layout,
    removed_layout,
    spawned,
)
from tests.unit.given import COMMAND_ID, given

THIS = {"pane_id": "L-m1", "layout_id": "L"}
KEPT = facts("send-1", text_digest="digest-1")


def text(words: str = "hello", *, pane: str = "L-m1", enter: bool = True) -> s.PaneSend:
    return s.PaneSend(pane_id=pane, text=words, enter=enter)


def requested(send_id: str = "send-1", *, size: int = 5, enter: bool = True, pane: str = "L-m1") -> Event:
    digest = f"digest-{send_id[-1]}"
    this = {"pane_id": pane, "layout_id": pane.partition("-")[0]}
    return s.PaneSendRequested(**this, send_id=send_id, digest=digest, bytes_=size, enter=enter)


def begun(send_id: str = "send-1") -> Event:
    return s.PaneSendBegun(**THIS, send_id=send_id)


def degraded(stage: str, *what: Event) -> tuple[Event, ...]:
    return (*layout(), spawned("L-m1"), *what, moved("L-m1", "creating", "degraded", stage))


class TestWhichPaneTakesText:
    def test_one_that_is_ready(self) -> None:
        happened = given(*ready_layout()).when(text(), facts=KEPT)
        happened.then(requested())
        assert happened.result == {"send_id": "send-1", "pane_id": "L-m1"}

    def test_one_that_is_degraded_and_lives(self) -> None:
        given(*degraded("log_attach", log_failed("L-m1"))).when(text(), facts=KEPT).then(requested())

    @pytest.mark.parametrize(
        "history",
        [
            degraded("launch_command", launch_exited("L-m1")),
            (*ready_layout(), exited("L-m1"), moved("L-m1", "ready", "degraded", "process_exited")),
        ],
        ids=["launch_command", "process_exited"],
    )
    def test_not_one_whose_process_has_ended(self, history: tuple[Event, ...]) -> None:
        refused = given(*history).when(text(), facts=KEPT)
        refused.then_rejected("managed_pane_not_ready", pane_id="L-m1", current_state="degraded")
        assert "its process has ended" in str(refused.outcome)

    @pytest.mark.parametrize(
        ("history", "state"), [(layout(), "creating"), (failed_layout(), "failed"), (removed_layout(), "removed")]
    )
    def test_no_other(self, history: tuple[Event, ...], state: str) -> None:
        refused = given(*history).when(text(), facts=KEPT)
        refused.then_rejected("managed_pane_not_ready", pane_id="L-m1", current_state=state)

    def test_one_that_nobody_knows(self) -> None:
        given().when(text()).then_rejected("managed_pane_not_found", pane_id="L-m1")

    def test_a_bench_peer_writes_to_panes_of_its_own_container(self) -> None:
        history = given(*ready_layout(container=BENCH), containers=(HOST, BENCH, OTHER_BENCH))
        history.when(text(), origin=BENCH, facts=KEPT).then(requested())
        history.when(text(), origin=OTHER_BENCH, facts=KEPT).then_rejected("host_only")


class TestText:
    @pytest.mark.parametrize("words", ["x", "x" * 65536, "é" * 32768, "\n", "-x", "\ttab\x1b[A"])
    def test_of_1_byte_to_64_kib(self, words: str) -> None:
        size = len(words.encode())
        given(*ready_layout()).when(text(words), facts=KEPT).then(requested(size=size))

    @pytest.mark.parametrize(("words", "size"), [("", 0), ("é" * 32769, 65538)])
    def test_of_no_other_length(self, words: str, size: int) -> None:
        given(*ready_layout()).when(text(words), facts=KEPT).then_rejected(
            "validation_failed", field="text", reason=f"{size} bytes of UTF-8, not 1 to 65536"
        )

    @pytest.mark.parametrize("words", ["a\0b", "x" * 65537])
    def test_that_the_door_refuses(self, words: str) -> None:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"pane_id": "L-m1", "text": words}, s.PaneSend)

    def test_stands_in_no_event(self) -> None:
        for event in given(*ready_layout()).when(text("the secret"), facts=KEPT).events:
            assert b"secret" not in msgspec.json.encode(event)

    def test_without_enter(self) -> None:
        given(*ready_layout()).when(text(enter=False), facts=KEPT).then(requested(enter=False))


class TestWaiting:
    def test_64_for_one_pane_at_most(self) -> None:
        many = [requested(f"send-{number}") for number in range(64)]
        history = given(*ready_layout(), *ready_layout("M", "m1"), *many)
        history.when(text(), facts=KEPT).then_rejected("tower_busy", queued=64)
        other = history.when(text(pane="M-m1"), facts=facts("send-x", text_digest="digest-x"))
        other.then(requested("send-x", pane="M-m1"))

    def test_1000_in_all(self) -> None:
        layouts = [event for number in range(16) for event in ready_layout(f"P{number}", f"m{number}")]
        many = [requested(f"send-{n}", pane=f"P{n % 16}-m{n % 16}") for n in range(1000)]
        history = given(*layouts, *ready_layout("Q", "q1"), *many)
        history.when(text(pane="Q-q1"), facts=KEPT).then_rejected("tower_busy", queued=1000)

    def test_a_pane_that_became_ready_in_this_very_batch(self) -> None:
        """Its text was not kept: it could not be sent when that was looked at."""
        given(*ready_layout()).when(text(), facts=facts("send-1")).then_rejected("tower_busy", queued=0)

    def test_only_text_that_would_be_taken_is_worth_a_file(self) -> None:
        state = given(*ready_layout(), *layout("M", "m2")).state
        asked = [
            (HOST, text()),
            (BENCH, text()),
            (HOST, text("")),
            (HOST, text(pane="M-m2")),
            (HOST, text(pane="unknown")),
        ]
        commands = [Command(id=COMMAND_ID, origin=who, request=what, facts=facts()) for who, what in asked]
        assert [tower.admits(command, state) for command in commands] == [True, False, False, False, False]


class TestSending:
    def test_goes_from_the_request_over_its_begin_to_its_end(self) -> None:
        history = given(*ready_layout()).when(text(), facts=KEPT).then(requested())
        told = history.when(s.PaneRecordSendBegun(pane_id="L-m1", send_id="send-1"))
        history = told.then(begun())
        assert told.result["begun"]
        assert history.state.sends.open["send-1"].begun
        report = s.PaneRecordTextSent(pane_id="L-m1", send_id="send-1", seen=True)
        history = history.when(report).then(s.PaneTextSent(**THIS, send_id="send-1", seen=True))
        assert not history.state.sends.open
        history.when(report).then_nothing()

    def test_begins_once(self) -> None:
        again = given(*ready_layout(), requested(), begun()).when(
            s.PaneRecordSendBegun(pane_id="L-m1", send_id="send-1")
        )
        again.then_nothing()
        assert not again.result.get("begun")

    @pytest.mark.parametrize(
        "meanwhile",
        [
            (moved("L-m1", "ready", "removed"), gone("L-m1")),
            (moved("L-m1", "ready", "failed", "pane_vanished"),),
            (exited("L-m1"), moved("L-m1", "ready", "degraded", "process_exited")),
        ],
        ids=["removed", "vanished", "exited"],
    )
    def test_does_not_begin_where_nobody_is_left(self, meanwhile: tuple[Event, ...]) -> None:
        history = given(*ready_layout(), requested(), *meanwhile)
        history.when(s.PaneRecordSendBegun(pane_id="L-m1", send_id="send-1")).then_nothing()
        failed = s.PaneRecordSendFailed(pane_id="L-m1", send_id="send-1", reason="pane_gone")
        history = history.when(failed).then(s.PaneSendFailed(**THIS, send_id="send-1", reason="pane_gone"))
        assert not history.state.sends.open
        history.when(failed).then_nothing()

    def test_reports_of_what_nobody_asked_for_are_passed_over(self) -> None:
        history = given(*ready_layout(), *ready_layout("M", "m1"), requested())
        for pane, send in (("L-m1", "other"), ("M-m1", "send-1"), ("unknown", "send-1")):
            history.when(s.PaneRecordSendBegun(pane_id=pane, send_id=send)).then_nothing()
            history.when(s.PaneRecordTextSent(pane_id=pane, send_id=send, seen=True)).then_nothing()

    def test_changes_no_pane(self) -> None:
        before = given(*ready_layout())
        after = before.and_given(requested(), begun(), s.PaneTextSent(**THIS, send_id="send-1", seen=False))
        assert after.state.layouts == before.state.layouts

    def test_odd_history_changes_nothing(self) -> None:
        state = Tower()
        for event in (
            begun(),
            s.PaneTextSent(**THIS, send_id="x", seen=True),
            s.PaneSendFailed(**THIS, send_id="x", reason="r"),
        ):
            assert tower.evolve(state, event).sends == state.sends


class TestWork:
    def test_a_request_is_a_job_of_its_pane_s_container(self) -> None:
        state = given(*ready_layout(container=BENCH), requested(), containers=(BENCH,)).state
        assert job_for(requested(), state.layouts) == Type(BENCH, "send-1")

    def test_a_start_finds_what_has_no_end_in_order_of_acceptance(self) -> None:
        done = s.PaneTextSent(**THIS, send_id="send-9", seen=True)
        state = given(
            *ready_layout(), requested("send-9"), requested("send-8"), requested("send-1"), done, begun("send-8")
        ).state
        assert open_jobs(state.layouts, state.sends) == (Type(HOST, "send-8"), Type(HOST, "send-1"))
        assert [send.begun for send in state.sends.in_order()] == [True, False]
