"""The containers registry: scans, what they find and what is lost with a container."""

from typing import Any

import pytest

from domain import tower
from domain.containers import (
    CHANGES_AT_ONCE,
    ContainerFacts,
    ContainerRecordFound,
    ContainerRecordScan,
    ContainerScan,
    ContainerScanned,
    ContainerScanRequested,
    knowing,
)
from domain.layouts.decide import LOST_AT_ONCE
from domain.layouts.state import PaneState
from domain.messages import HOST, TOWER
from tests.unit.builders import (
    BENCH,
    OTHER_BENCH,
    bench,
    create,
    facts,
    failed_layout,
    layout,
    layout_moved,
    moved,
    ready_layout,
    recreate,
)
from tests.unit.builders import gone_container as gone
from tests.unit.builders import registered_container as registered
from tests.unit.builders import unmanaged_pane as pane
from tests.unit.given import given

SCAN = "scan-1"


def found(*containers: ContainerFacts) -> ContainerRecordFound:
    return ContainerRecordFound(containers=containers)


class TestAScanIsAskedFor:
    def test_it_is_requested_and_its_id_is_the_answer(self) -> None:
        happened = given().when(ContainerScan(), facts=facts(SCAN))
        happened.then(ContainerScanRequested(scan_id=SCAN))
        assert happened.result == {"scan_id": SCAN}

    @pytest.mark.parametrize("origin", [BENCH, OTHER_BENCH, "nobody"])
    def test_by_the_operator_alone(self, origin: str) -> None:
        given(registered(bench())).when(ContainerScan(), origin=origin, facts=facts(SCAN)).then_rejected("host_only")

    def test_it_is_open_until_it_is_recorded(self) -> None:
        history = given().when(ContainerScan(), facts=facts(SCAN)).accepted()
        assert set(history.state.containers.open_scans) == {SCAN}
        recorded = history.when(ContainerRecordScan(scan_id=SCAN), origin=TOWER)
        scanned = ContainerScanned(scan_id=SCAN, container_ids=(HOST,), listed=(), unmanaged=(), reason=None)
        assert set(recorded.then(scanned).state.containers.open_scans) == set()


class TestTheEndOfAScan:
    asked = given(registered(bench()), ContainerScanRequested(scan_id=SCAN))

    def test_tells_the_registered_containers_their_unmanaged_panes_and_what_could_not_be_asked(self) -> None:
        request = ContainerRecordScan(scan_id=SCAN, listed=(HOST,), unmanaged=(pane(),), reason="bench: paused")
        self.asked.when(request, origin=TOWER).then(
            ContainerScanned(
                scan_id=SCAN,
                container_ids=(BENCH, HOST),
                listed=(HOST,),
                unmanaged=(pane(),),
                reason="bench: paused",
            )
        )

    def test_is_recorded_once(self) -> None:
        request = ContainerRecordScan(scan_id=SCAN)
        self.asked.when(request, origin=TOWER).accepted().when(request, origin=TOWER).then_nothing()

    def test_of_a_scan_that_nobody_asked_for_is_nothing(self) -> None:
        self.asked.when(ContainerRecordScan(scan_id="another"), origin=TOWER).then_nothing()

    def test_does_not_speak_of_a_container_that_went_meanwhile(self) -> None:
        request = ContainerRecordScan(scan_id=SCAN, listed=(HOST, BENCH), unmanaged=(pane(), pane(BENCH)))
        self.asked.and_given(gone()).when(request, origin=TOWER).then(
            ContainerScanned(scan_id=SCAN, container_ids=(HOST,), listed=(HOST,), unmanaged=(pane(),), reason=None)
        )


class TestWhatIsFound:
    def test_a_container_seen_for_the_first_time_is_registered(self) -> None:
        given().when(found(bench()), origin=TOWER).then(registered(bench()))

    def test_nothing_is_recorded_of_one_that_is_as_it_was(self) -> None:
        given(registered(bench())).when(found(bench()), origin=TOWER).then_nothing()

    @pytest.mark.parametrize("change", [{"running": False}, {"name": "other"}, {"uid": 1000}, {"bench_dir": "/run/b"}])
    def test_one_that_changed_is_registered_anew(self, change: dict[str, Any]) -> None:
        changed = bench(**change)
        history = given(registered(bench())).when(found(changed), origin=TOWER).then(registered(changed))
        assert history.state.containers.known[BENCH] == changed

    def test_one_that_the_engine_no_longer_knows_is_gone(self) -> None:
        history = given(registered(bench()), registered(bench(OTHER_BENCH, name="other")))
        history = history.when(found(bench(OTHER_BENCH, name="other")), origin=TOWER).then(gone())
        assert set(history.state.containers.known) == {HOST, OTHER_BENCH}

    def test_the_machine_itself_is_always_known_and_never_found(self) -> None:
        history = given().when(found(bench(HOST)), origin=TOWER).then_nothing()
        assert history.state.containers == knowing([HOST])

    @pytest.mark.parametrize("name", ["", "bench", "B" * 64, "b" * 63, "b" * 64 + "\n", "a.b"])
    def test_an_id_that_is_none_is_passed_over(self, name: str) -> None:
        given().when(found(bench(name)), origin=TOWER).then_nothing()

    def test_more_than_one_append_takes_waits_for_the_next_record(self) -> None:
        many = [bench(f"{number:064x}") for number in range(CHANGES_AT_ONCE + 3)]
        history, counts = given(), list[int]()
        while events := history.when(found(*many), origin=TOWER).events:
            counts.append(len(events))
            history = history.and_given(*events)
        assert counts == [CHANGES_AT_ONCE, 3]
        assert len(history.state.containers.known) == len(many) + 1


class TestAStoppedContainer:
    stopped = bench(running=False)
    history = given(registered(bench()), *ready_layout(container=BENCH))

    def test_stays_registered_and_its_panes_stay_as_they_are(self) -> None:
        history = self.history.when(found(self.stopped), origin=TOWER).then(registered(self.stopped))
        assert history.state.layouts == self.history.state.layouts

    def test_takes_commands_as_before(self) -> None:
        history = self.history.and_given(registered(self.stopped))
        assert history.when(create(container=BENCH), facts=facts("M", "M-m2")).events


class TestAContainerThatIsGone:
    history = given(registered(bench()), *ready_layout("L", "m1", "s1", container=BENCH))

    def test_takes_its_live_panes_with_it_and_their_layout_follows_in_the_same_decision(self) -> None:
        self.history.when(found(), origin=TOWER).then(
            gone(),
            moved("L-m1", "ready", "failed", "pane_vanished", "container gone"),
            moved("L-s1", "ready", "failed", "pane_vanished", "container gone"),
            layout_moved("L", "ready", "failed", "pane_vanished"),
        )

    def test_also_those_that_are_being_created(self) -> None:
        given(registered(bench()), *layout(container=BENCH)).when(found(), origin=TOWER).then(
            gone(),
            moved("L-m1", "creating", "failed", "pane_vanished", "container gone"),
            layout_moved("L", "creating", "failed", "pane_vanished"),
        )

    def test_leaves_panes_of_other_containers_alone(self) -> None:
        history = self.history.and_given(*ready_layout("M"))
        lost = history.when(found(), origin=TOWER).accepted()
        assert lost.state.layouts.panes["M-m1"].state is PaneState.READY

    def test_leaves_panes_that_are_not_live_as_they_are(self) -> None:
        given(registered(bench()), *failed_layout(container=BENCH)).when(found(), origin=TOWER).then(gone())

    def test_takes_no_layout_any_more(self) -> None:
        self.history.and_given(gone()).when(create(container=BENCH)).then_rejected(
            "container_not_found", container_id=BENCH
        )

    def test_takes_no_recreated_pane_any_more(self) -> None:
        lost = self.history.when(found(), origin=TOWER).accepted()
        lost.when(recreate("L-m1")).then_rejected("container_not_found", container_id=BENCH)

    def test_answers_a_repeat_by_its_key_as_before(self) -> None:
        history = given(registered(bench()), *ready_layout(container=BENCH, key="k"), gone())
        history.when(create(container=BENCH, key="k")).then_nothing()

    def test_goes_when_the_last_of_its_panes_is_lost_if_they_are_more_than_one_decision_takes(self) -> None:
        labels = [f"s{number}" for number in range(60)]
        history = given(registered(bench()))
        for number in range(10):
            history = history.and_given(*layout(f"L{number}", *labels, container=BENCH))
        counts = list[int]()
        while events := history.when(found(), origin=TOWER).events:
            counts.append(sum(type(event).__name__ == "PaneStateChanged" for event in events))
            history = history.and_given(*events)
            assert (gone() in events) == (sum(counts) == 600)
        assert counts == [LOST_AT_ONCE, 600 - LOST_AT_ONCE]
        assert not any(each.live for each in history.state.layouts.panes.values())


def test_odd_history_changes_nothing() -> None:
    empty = given().state.containers
    for event in (
        gone(),
        ContainerScanned(scan_id=SCAN, container_ids=(), listed=(), unmanaged=()),
    ):
        assert tower.evolve(given().state, event).containers == empty
