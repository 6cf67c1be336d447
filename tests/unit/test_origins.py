"""Who may ask what (layouts.md, invariant 8): a bench peer in its own container only, and nothing leaks."""

import msgspec
import pytest

from domain import catalogue
from domain.layouts import commands as c
from domain.messages import HOST, POLICY, TOWER, Event, Request
from domain.node import NodeClaim, NodeClaimed, NodeRecordForeign
from domain.promises import (
    PromiseCancel,
    PromiseCreate,
    PromiseCreated,
    PromiseReject,
    PromiseResolve,
    PromiseResolved,
)
from domain.registration import RequestType
from domain.sends import PaneRecordSendBegun, PaneRecordSendFailed, PaneRecordTextSent, PaneSend
from tests.unit.builders import (
    BENCH,
    OTHER_BENCH,
    create,
    facts,
    failed_layout,
    gone,
    layout,
    layout_moved,
    moved,
    recreate,
    recreated,
)
from tests.unit.given import History, given

CONTAINERS = (HOST, BENCH, OTHER_BENCH)
OWN, FOREIGN = failed_layout("OWN", container=BENCH), failed_layout("FOREIGN", container=OTHER_BENCH)
MACHINE = failed_layout("HOST")
CLAIM = NodeClaim(node="local", instance="i", pid=1, host="h")


def _history() -> History:
    return given(*OWN, *FOREIGN, *MACHINE, containers=CONTAINERS)


ANYWHERE = (c.PanePromote, PromiseCreate)
"""Reserved; and what a peer makes for itself alone."""

ASKED = [entry for entry in catalogue.REQUESTS if not entry.internal and entry.request not in ANYWHERE]


@pytest.mark.parametrize("entry", ASKED, ids=lambda entry: entry.name)
@pytest.mark.parametrize("theirs", ["FOREIGN", "FOREIGN-m1", OTHER_BENCH, HOST, "UNKNOWN"])
def test_no_command_reaches_beyond_its_own_container(entry: RequestType, theirs: str) -> None:
    """Whatever field names it: every command that a door takes, a new one included."""
    fields = [field for field in msgspec.structs.fields(entry.request) if field.required]
    request = msgspec.convert({field.encode_name: theirs for field in fields}, entry.request)
    _history().when(request, origin=BENCH).then_rejected("host_only")


class TestABenchPeer:
    def test_creates_in_its_own_container(self) -> None:
        _history().when(create(container=BENCH), origin=BENCH, facts=facts("L", "L-m1")).then(
            *layout("L", session="work", container=BENCH)
        )

    def test_removes_and_recreates_its_own_panes(self) -> None:
        (
            _history()
            .when(c.PaneRemove(pane_id="OWN-m1"), origin=BENCH)
            .then(moved("OWN-m1", "failed", "removed"), gone("OWN-m1"), layout_moved("OWN", "failed", "removed"))
            .when(recreate("OWN-m1"), origin=BENCH, facts=facts("OWN-new"))
            .then(*recreated("OWN-m1", "OWN-new", container=BENCH), layout_moved("OWN", "removed", "creating"))
        )

    def test_removes_its_own_layout(self) -> None:
        _history().when(c.LayoutRemove(layout_id="OWN"), origin=BENCH).then(
            moved("OWN-m1", "failed", "removed"), gone("OWN-m1"), layout_moved("OWN", "failed", "removed")
        )

    @pytest.mark.parametrize("theirs", ["FOREIGN", "HOST", "UNKNOWN"])
    def test_learns_nothing_of_other_containers(self, theirs: str) -> None:
        asked: list[Request] = [
            c.LayoutRemove(layout_id=theirs),
            c.LayoutRestore(layout_id=theirs),
            c.PaneRemove(pane_id=f"{theirs}-m1"),
            recreate(f"{theirs}-m1"),
            PaneSend(pane_id=f"{theirs}-m1", text="hello"),
            recreate(f"{theirs}-m1", key="k"),
        ]
        for request in asked:
            _history().when(request, origin=BENCH).then_rejected("host_only")

    @pytest.mark.parametrize("container", [HOST, OTHER_BENCH, "", "unknown"])
    def test_creates_nowhere_else(self, container: str) -> None:
        _history().when(create(container=container), origin=BENCH).then_rejected("host_only")

    def test_is_refused_before_its_idempotency_key_is_looked_at(self) -> None:
        history = given(*layout("L", key="k"), containers=CONTAINERS)
        history.when(create(key="k"), origin=BENCH).then_rejected("host_only")

    def test_in_a_container_that_is_not_registered(self) -> None:
        given().when(create(container=BENCH), origin=BENCH).then_rejected("container_not_found", container_id=BENCH)


class TestThePromisesOfABenchPeer:
    MINE = PromiseCreated(promise_id="mine", owner=BENCH)
    THEIRS = (PromiseCreated(promise_id="theirs", owner=OTHER_BENCH), PromiseCreated(promise_id="hosts", owner=HOST))

    def test_it_makes_and_settles_its_own(self) -> None:
        given().when(PromiseCreate(id="mine"), origin=BENCH).then(self.MINE).when(
            PromiseResolve(id="mine", value=1), origin=BENCH
        ).then(PromiseResolved(promise_id="mine", value=1))

    @pytest.mark.parametrize("theirs", ["theirs", "hosts", "unknown", "exec:x"])
    def test_it_settles_no_others_and_learns_nothing_of_them(self, theirs: str) -> None:
        for settle in (PromiseResolve, PromiseReject, PromiseCancel):
            given(*self.THEIRS).when(settle(id=theirs), origin=BENCH).then_rejected("host_only")

    @pytest.mark.parametrize("taken", ["theirs", "hosts", "exec:x", "spawn:x"])
    def test_it_takes_no_id_of_others(self, taken: str) -> None:
        given(*self.THEIRS).when(PromiseCreate(id=taken), origin=BENCH).then_rejected("host_only")


INTERNAL: dict[str, Request] = {
    "pane.record_spawned": c.PaneRecordSpawned(pane_id="OWN-m1", tmux_pane_id="%1", tmux_pane_index=0, pid=1),
    "pane.record_launch_settled": c.PaneRecordLaunchSettled(pane_id="OWN-m1", elapsed_ms=1),
    "pane.record_launch_exited": c.PaneRecordLaunchExited(pane_id="OWN-m1", elapsed_ms=1),
    "pane.register": c.PaneRegister(pane_id="OWN-m1"),
    "pane.record_log_attached": c.PaneRecordLogAttached(pane_id="OWN-m1", path="p"),
    "pane.record_log_failed": c.PaneRecordLogFailed(pane_id="OWN-m1", reason="r"),
    "pane.fail": c.PaneFail(pane_id="OWN-m1", stage="registration", reason="r"),
    "pane.record_exited": c.PaneRecordExited(pane_id="OWN-m1"),
    "pane.record_vanished": c.PaneRecordVanished(pane_id="OWN-m1"),
    "pane.record_cleanup_failed": c.PaneRecordCleanupFailed(pane_id="OWN-m1", reason="r"),
    "pane.record_send_begun": PaneRecordSendBegun(pane_id="OWN-m1", send_id="s"),
    "pane.record_text_sent": PaneRecordTextSent(pane_id="OWN-m1", send_id="s", seen=True),
    "pane.record_send_failed": PaneRecordSendFailed(pane_id="OWN-m1", send_id="s", reason="refused"),
    "pane.sweep": c.PaneSweep(),
    "container.recover": c.ContainerRecover(container_id=BENCH, present_pane_ids=()),
    "node.claim": CLAIM,
    "node.record_foreign": NodeRecordForeign(
        node="local", position=3, last_position=3, count=1, subject="s", reason="r"
    ),
}


@pytest.mark.parametrize("name", sorted(INTERNAL))
def test_what_the_tower_reports_itself_nobody_else_may(name: str) -> None:
    assert catalogue.request_name(INTERNAL[name]) == name
    _history().when(INTERNAL[name], origin=BENCH).then_rejected("host_only")


def test_no_door_takes_the_towers_own_requests() -> None:
    assert {entry.name for entry in catalogue.REQUESTS if entry.internal} >= INTERNAL.keys()
    assert {entry.name for entry in catalogue.REQUESTS if not entry.internal} >= {
        "layout.create",
        "layout.remove",
        "layout.restore",
        "pane.remove",
        "pane.recreate",
        "pane.promote",
        "pane.send",
    }


@pytest.mark.parametrize("origin", ["", "Host", "HOST", "root", "b" * 63, "b" * 65, "B" * 64, "g" * 64, BENCH + "\n"])
def test_an_origin_that_cannot_be_resolved_is_refused(origin: str) -> None:
    history = given(containers=(HOST, origin))
    for request in (create(container=origin), create(), c.PanePromote(), c.PaneSweep()):
        history.when(request, origin=origin).then_rejected("host_only")


@pytest.mark.parametrize("origin", [HOST, TOWER])
def test_the_operator_and_the_tower_act_everywhere(origin: str) -> None:
    expected: tuple[Event, ...] = (
        moved("FOREIGN-m1", "failed", "removed"),
        gone("FOREIGN-m1"),
        layout_moved("FOREIGN", "failed", "removed"),
    )
    _history().when(c.PaneRemove(pane_id="FOREIGN-m1"), origin=origin).then(*expected)


def test_the_restart_policy_acts_where_it_was_to_act_and_nowhere_else() -> None:
    _history().when(c.PaneRemove(pane_id="FOREIGN-m1"), origin=POLICY).then_nothing()
    _history().when(recreate("FOREIGN-m1"), origin=POLICY).then_nothing()


def test_a_tower_claims_its_node() -> None:
    history = given().when(CLAIM, origin=TOWER).then(NodeClaimed(node="local", instance="i", pid=1, host="h"))
    assert history.state.instance == "i"
