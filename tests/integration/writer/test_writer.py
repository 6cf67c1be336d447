"""One writer: what it appends, what it answers, what it records."""

from datetime import timedelta

import msgspec
import pytest

from domain.containers import ContainerScan
from domain.envelope import Stored
from domain.node import CommandRejected
from handlers.inbox import FollowUp
from handlers.ledger import COMMANDS_AT_HEADER
from handlers.ports import LogUnavailable
from tests.integration.writer.conftest import IDS, AppendThatLosesItsAnswer, CountedLog, Node, layout

EVENTS_OF_A_LAYOUT = 7
"""layout.created, and for each of three panes created and pending_marker_set."""


class TestGroupCommit:
    async def test_commands_that_wait_together_are_one_append(self, node: Node):
        seat = await node.running()
        seat.log.appends.clear()
        ids = [seat.ask("layout.create", layout(f"s{n}")) for n in range(30)]
        outcomes = await seat.outcomes_of(*ids)
        assert seat.log.appends == [30 * EVENTS_OF_A_LAYOUT]
        assert {outcome["status"] for outcome in outcomes} == {"accepted"}

    async def test_a_batch_closes_before_the_command_that_would_pass_its_limit(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("handlers.batch.MAX_EVENTS", 20)
        seat = await node.running()
        seat.log.appends.clear()
        ids = [seat.ask("layout.create", layout(f"s{n}")) for n in range(5)]
        outcomes = await seat.outcomes_of(*ids)
        assert seat.log.appends == [2 * EVENTS_OF_A_LAYOUT, 2 * EVENTS_OF_A_LAYOUT, EVENTS_OF_A_LAYOUT]
        assert [outcome["result"]["panes"][0]["label"] for outcome in outcomes] == ["m1", "m2", "m3", "m4", "m5"]

    async def test_a_decision_that_no_batch_can_take_is_refused_and_holds_nobody_up(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("handlers.batch.MAX_EVENTS", EVENTS_OF_A_LAYOUT - 1)
        seat = await node.running()
        too_long, after = seat.ask("layout.create", layout("long")), seat.ask("pane.remove", {"pane_id": "nobody"})
        first, second = await seat.outcomes_of(too_long, after)
        assert first["error"]["code"] == "internal_error"
        assert second["error"]["code"] == "managed_pane_not_found"

    async def test_each_command_is_decided_on_the_state_that_those_before_it_left(self, node: Node):
        seat = await node.running()
        first, second = (seat.ask("layout.create", layout("same")) for _ in range(2))
        accepted, rejected = await seat.outcomes_of(first, second)
        assert accepted["status"] == "accepted"
        assert rejected["error"]["code"] == "managed_session_name_conflict"


class TestOnce:
    async def test_an_id_twice_in_a_batch_is_decided_once(self, node: Node):
        seat = await node.running()
        command_id = seat.ask("layout.create", layout("one"))
        seat.ask("layout.create", layout("one"), command_id=command_id)
        await seat.outcomes_of(command_id)
        first, second = (each for each in seat.outcomes.sent if each["command_id"] == command_id)
        assert (first["replay"], second["replay"]) == (False, True)
        assert first["result"] == second["result"]

    async def test_an_id_asked_again_is_answered_from_the_log(self, node: Node):
        seat = await node.running()
        first = await seat.outcome("layout.create", layout("one"))
        position = seat.writer.ledger.position
        again = await seat.outcome("layout.create", layout("one"), command_id=first["command_id"])
        assert again == {**first, "replay": True}
        assert seat.writer.ledger.position == position

    async def test_a_recorded_rejection_asked_again_is_the_same_rejection(self, node: Node):
        seat = await node.running()
        first = await seat.outcome("pane.remove", {"pane_id": "nobody"})
        assert await seat.outcome("pane.remove", {"pane_id": "nobody"}, command_id=first["command_id"]) == first

    async def test_ids_are_recognised_by_origin_and_id(self, node: Node):
        seat = await node.running()
        first = await seat.outcome("layout.create", layout("one"))
        other = await seat.outcome("layout.create", layout("one"), command_id=first["command_id"], origin="a" * 64)
        assert other["error"] == {"code": "host_only", "message": "only the operator may do this", "details": {}}

    @pytest.mark.parametrize("snapshot", [False, True], ids=["replayed", "from a snapshot"])
    async def test_an_id_is_recognised_after_a_restart(self, node: Node, snapshot: bool):
        before = await node.running()
        first = await before.outcome("layout.create", layout("one"))
        if snapshot:
            await before.writer.close()
        after = await node.running()
        assert (after.writer._snapshot_position > 0) is snapshot
        again = await after.outcome("layout.create", layout("one"), command_id=first["command_id"])
        assert again == {**first, "replay": True}

    @pytest.mark.parametrize(
        ("moved", "age_s"),
        [(timedelta(hours=24, seconds=5), 86_405), (-timedelta(minutes=5, seconds=5), -305)],
        ids=["older than a day", "more than 5 min ahead"],
    )
    async def test_an_id_out_of_time_is_expired_and_not_recorded(self, node: Node, moved: timedelta, age_s: int):
        seat = await node.running()
        position = seat.writer.ledger.position
        seat.clock.ahead = moved
        outcome = await seat.outcome("layout.create", layout("late"))
        assert outcome["error"]["code"] == "command_expired"
        assert abs(outcome["error"]["details"]["age_s"] - age_s) <= 2
        assert seat.writer.ledger.position == position

    async def test_at_the_durable_door_an_ids_age_counts_when_it_was_queued(self, node: Node):
        seat = await node.running()
        queued_at = seat.clock.now()
        seat.clock.ahead = timedelta(hours=23, minutes=59)
        outcome = await seat.outcome("layout.create", layout("slow"), queued_at=queued_at, durable_sequence=1)
        assert outcome["status"] == "accepted"


class TestRefusals:
    async def test_a_rejection_is_recorded_with_who_tried_what(self, node: Node):
        seat = await node.running()
        outcome = await seat.outcome("pane.remove", {"pane_id": "nobody"})
        last = (await seat.log_events())[-1]
        assert last.event == CommandRejected(
            command_id=outcome["command_id"],
            noun="pane",
            verb="remove",
            code="managed_pane_not_found",
            message="no managed pane nobody",
            details={"pane_id": "nobody"},
        )
        assert (last.envelope.actor, last.position) == ("host", outcome["position"])

    @pytest.mark.parametrize(
        ("name", "payload", "field"),
        [
            ("layout.create", b"not json", "payload"),
            ("layout.create", b"[]", "payload"),
            ("layout.create", b'{"data":{}}', "id"),
            ("layout.create", b'{"id":"x","data":{}}', "id"),
            ("layout.create", b'{"id":"%(id)s","data":{}}', "container_id"),
            ("layout.create", b'{"id":"%(id)s","data":[]}', "data"),
            ("layout.create", b'{"id":"%(id)s","data":{},"more":1}', "more"),
            ("layout.remove", b'{"id":"%(id)s","data":{"layout_id":7}}', "layout_id"),
            ("layout.remove", b'{"id":"%(id)s","data":{"layout_id":"x","origin":"host"}}', "origin"),
            ("layout.remove", b'{"id":"%(id)s","data":{"layout_id":"\xff"}}', "data"),
            ("layout.frob", b'{"id":"%(id)s","data":{}}', "subject"),
            ("pane.record_vanished", b'{"id":"%(id)s","data":{"pane_id":"x"}}', "subject"),
            ("layout.remove", b'{"id":"%(id)s","data":{"layout_id":"x"},"traceparent":"00-1"}', "traceparent"),
            (
                "pane.recreate",
                b'{"id":"%(id)s","idempotency_key":"a","data":{"predecessor_pane_id":"x","idempotency_key":"b"}}',
                "idempotency_key",
            ),
        ],
    )
    async def test_what_cannot_be_read_is_answered_and_not_recorded(
        self, node: Node, name: str, payload: bytes, field: str
    ):
        seat = await node.running()
        position = seat.writer.ledger.position
        seat.put(name, payload.replace(b"%(id)s", IDS.uuid7().encode()))
        await seat.writer.step()
        error = seat.outcomes.sent[-1]["error"]
        assert (error["code"], error["details"]["field"]) == ("validation_failed", field)
        assert error["details"]["reason"]
        assert await seat.log.last_position() == position

    async def test_host_only_is_recorded_once_a_minute_an_origin_with_a_count(self, node: Node):
        seat = await node.running()
        bench = {"origin": "b" * 64}
        for _ in range(3):
            assert (await seat.outcome("layout.create", layout("x"), **bench))["error"]["code"] == "host_only"
        seat.clock.ahead = timedelta(seconds=61)
        await seat.outcome("layout.create", layout("x"), **bench)
        recorded = [each.event for each in await seat.log_events() if isinstance(each.event, CommandRejected)]
        assert [event.count for event in recorded] == [1, 3]

    async def test_the_idempotency_key_may_stand_in_either_place(self, node: Node):
        seat = await node.running()
        first = await seat.outcome("layout.create", layout("one"), idempotency_key="k")
        again = await seat.outcome("layout.create", layout("two", idempotency_key="k"))
        assert again["result"]["layout_id"] == first["result"]["layout_id"]
        assert (again["replay"], again["result"]["replay"]) == (True, True)


class TestTheDurableDoor:
    async def test_its_first_event_and_the_last_of_a_batch_say_how_far_commands_were_read(self, node: Node):
        seat = await node.running()
        ids = [seat.ask("layout.create", layout(f"s{n}"), durable_sequence=n + 5) for n in range(2)]
        await seat.outcomes_of(*ids)
        stored = [each async for batch in seat.log.read(0) for each in batch]
        said = [each.headers.get(COMMANDS_AT_HEADER) for each in stored]
        assert [at for at in said if at] == ["5", "6", "6"]
        assert said[-1] == "6"
        assert [at for each, at in zip(stored, said, strict=True) if ".layout." in each.subject] == ["5", "6"]
        assert (await node.running()).writer.ledger.commands_at == 6

    async def test_a_command_without_events_does_not_move_the_recorded_position(self, node: Node):
        seat = await node.running()
        await seat.outcome("layout.frob", {}, durable_sequence=9)
        assert (await node.running(place="b")).writer.ledger.commands_at == 0


class TestLostAnswers:
    async def test_a_batch_whose_answer_was_lost_is_found_in_the_log(self, node: Node):
        seat = await node.running(AppendThatLosesItsAnswer)
        assert isinstance(seat.log, AppendThatLosesItsAnswer)
        seat.log.losses = 1
        outcome = await seat.outcome("layout.create", layout("one"))
        assert outcome["status"] == "accepted"
        created = [each for each in await seat.log_events() if each.envelope.type == "agenttower.layout.created.v1"]
        assert len(created) == 1

    async def test_observers_are_told_of_it_once(self, node: Node):
        seat = await node.running(AppendThatLosesItsAnswer)
        assert isinstance(seat.log, AppendThatLosesItsAnswer)
        seat.log.losses = 1
        await seat.outcome("layout.create", layout("one"))
        assert [each.position for each in seat.committed_events] == [each.position for each in await seat.log_events()]

    async def test_an_effect_is_answered_after_several_while_the_log_cannot_be_read(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ):
        class Unreadable(AppendThatLosesItsAnswer):
            async def get(self, position: int) -> Stored | None:
                raise LogUnavailable("no answer")

        # What was asked beside the effect's command is in the next append.
        monkeypatch.setattr("handlers.batch.MAX_EVENTS", EVENTS_OF_A_LAYOUT)
        seat = await node.running(Unreadable)
        assert isinstance(seat.log, Unreadable)
        seat.log.losses = 2
        told: list[bytes] = []
        seat.inbox.submit(FollowUp(id=IDS.uuid7(), request=ContainerScan(), on_outcome=told.append))
        (outcome,) = await seat.outcomes_of(seat.ask("layout.create", layout("one")))
        assert [msgspec.json.decode(each)["status"] for each in told] == ["accepted"]
        assert outcome["status"] == "accepted"

    async def test_nothing_is_answered_before_the_commit(self, node: Node):
        class NotYet(CountedLog):
            answered_at_append: int | None = None

            async def append(self, entries, *, expected_last):
                if len(entries) == EVENTS_OF_A_LAYOUT:
                    self.answered_at_append = len(seat.outcomes.sent)
                return await super().append(entries, expected_last=expected_last)

        seat = await node.running(NotYet)
        await seat.outcome("layout.create", layout("one"))
        assert isinstance(seat.log, NotYet)
        assert seat.log.answered_at_append == 0


class TestTheEnvelope:
    async def test_what_the_asker_gave_stands_in_every_event(self, node: Node):
        seat = await node.running()
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        outcome = await seat.outcome("layout.create", layout("one"), correlationid="story-1", traceparent=traceparent)
        events = [each.envelope for each in await seat.log_events() if each.envelope.commandid == outcome["command_id"]]
        assert len(events) == EVENTS_OF_A_LAYOUT
        assert {(each.correlationid, each.traceparent, each.actor) for each in events} == {
            ("story-1", traceparent, "host")
        }
        assert all(each.causationid is msgspec.UNSET for each in events)
