"""The state machine of panes (layouts.md): every row of its table, and all that is no row of it."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest

from domain.layouts import commands as c
from domain.layouts.events import LayoutRecoveryFailed, LayoutRecoveryReattached, PaneState, PaneStateChanged, Stage
from domain.layouts.guards import moved as moved_by_rule
from domain.layouts.state import TRANSITIONS, Pane
from domain.messages import HOST, TOWER, Event, Request
from tests.unit.builders import (
    exited,
    facts,
    gone,
    launch_exited,
    layout,
    layout_moved,
    log_attached,
    log_failed,
    marker_cleared,
    moved,
    ready_layout,
    registered,
    settled,
    spawned,
)
from tests.unit.given import Happened, given

P = "L-m1"
JUST_BEFORE = timedelta(minutes=4, seconds=59, microseconds=999_999)
FIVE_MINUTES = timedelta(minutes=5)

ROWS = {
    ("creating", "ready", None),
    ("creating", "degraded", "launch_command"),
    ("creating", "degraded", "log_attach"),
    ("creating", "failed", "pane_create"),
    ("creating", "failed", "registration"),
    ("creating", "failed", "launch_command"),  # these two by the sweep: the first stage not done
    ("creating", "failed", "log_attach"),
    ("creating", "failed", "recovery_reattach"),
    ("ready", "failed", "recovery_reattach"),
    ("degraded", "failed", "recovery_reattach"),
    ("creating", "failed", "pane_vanished"),
    ("ready", "failed", "pane_vanished"),
    ("degraded", "failed", "pane_vanished"),
    ("ready", "degraded", "process_exited"),
    ("ready", "removed", None),
    ("degraded", "removed", None),
    ("failed", "removed", None),
}
"""The table of the design as (from, to, failed_stage)."""


def _at(state: str, stage: str, *steps: Event) -> tuple[Event, ...]:
    return (
        *layout(),
        *steps,
        moved(P, "creating", state, stage),
        layout_moved("L", "creating", state, stage if state == "failed" else None),
    )


_AT_LAUNCH = _at("degraded", "launch_command", spawned(P), launch_exited(P))
_REGISTERED = (*layout(), spawned(P), settled(P), registered(P))

SITUATIONS = {
    "creating": layout(),
    "creating, spawned": (*layout(), spawned(P)),
    "creating, settled": (*layout(), spawned(P), settled(P)),
    "creating, registered": _REGISTERED,
    "ready": ready_layout(),
    "degraded/launch_command": _AT_LAUNCH,
    "degraded/launch_command, registered": (*_AT_LAUNCH, registered(P)),
    "degraded/launch_command, attached": (*_AT_LAUNCH, registered(P), log_attached(P), marker_cleared(P)),
    "degraded/log_attach": _at(
        "degraded", "log_attach", spawned(P), settled(P), registered(P), log_failed(P), marker_cleared(P)
    ),
    "degraded/process_exited": (
        *ready_layout(),
        exited(P),
        moved(P, "ready", "degraded", "process_exited"),
        layout_moved("L", "ready", "degraded"),
    ),
    "failed/pane_create": _at("failed", "pane_create"),
    "failed/launch_command": _at("failed", "launch_command", spawned(P), settled(P)),
    "failed/registration": _at("failed", "registration", spawned(P), settled(P)),
    "failed/log_attach": _at("failed", "log_attach", spawned(P), settled(P), registered(P)),
    "failed/recovery_reattach": _at("failed", "recovery_reattach", spawned(P), settled(P), registered(P)),
    "failed/pane_vanished": _at("failed", "pane_vanished", spawned(P)),
    "removed": (*ready_layout(), moved(P, "ready", "removed"), gone(P), layout_moved("L", "ready", "removed")),
}
"""Every way in which a pane can stand."""

ASKED: dict[str, tuple[Request, timedelta]] = {
    "remove": (c.PaneRemove(pane_id=P), timedelta()),
    "spawned": (c.PaneRecordSpawned(pane_id=P, tmux_pane_id="%1", tmux_pane_index=0, pid=100), timedelta()),
    "settled": (c.PaneRecordLaunchSettled(pane_id=P, elapsed_ms=500), timedelta()),
    "launch-exit": (c.PaneRecordLaunchExited(pane_id=P, elapsed_ms=40, exit_code=127), timedelta()),
    "register": (c.PaneRegister(pane_id=P), timedelta()),
    "attached": (c.PaneRecordLogAttached(pane_id=P, path=f"{P}.log"), timedelta()),
    "not-attached": (c.PaneRecordLogFailed(pane_id=P, reason="disk full"), timedelta()),
    "give-up": (c.PaneFail(pane_id=P, stage="registration", reason="locked"), timedelta()),
    "exited": (c.PaneRecordExited(pane_id=P, exit_code=1), timedelta()),
    "vanished": (c.PaneRecordVanished(pane_id=P), timedelta()),
    "sweep<5min": (c.PaneSweep(), JUST_BEFORE),
    "sweep@5min": (c.PaneSweep(), FIVE_MINUTES),
    "seen": (c.ContainerRecover(container_id=HOST, present_pane_ids=(P,)), JUST_BEFORE),
    "unseen": (c.ContainerRecover(container_id=HOST, present_pane_ids=()), JUST_BEFORE),
    "seen@5min": (c.ContainerRecover(container_id=HOST, present_pane_ids=(P,)), FIVE_MINUTES),
    "unseen@5min": (c.ContainerRecover(container_id=HOST, present_pane_ids=()), FIVE_MINUTES),
}
"""Everything that can be asked or reported of a pane, and how long after its creation."""

# ! refused  . nothing  + recorded, the state stays  X removed  R ready  D: degraded  F: failed, at a stage of STAGES
TABLE = """
                                    | remove spawned settled launch-exit register attached not-attached give-up exited vanished sweep<5min sweep@5min seen unseen seen@5min unseen@5min
creating                            | !      +       .       .           .        .        .            F:reg   .      F:pv     .          F:create   +    .      F:rr      F:rr
creating, spawned                   | !      .       +       D:launch    .        .        .            F:reg   .      F:pv     .          F:launch   +    F:rr   F:rr      F:rr
creating, settled                   | !      .       .       .           +        .        .            F:reg   .      F:pv     .          F:reg      +    F:rr   F:rr      F:rr
creating, registered                | !      .       .       .           .        R        D:log        F:reg   .      F:pv     .          F:log      +    F:rr   F:rr      F:rr
ready                               | X      .       .       .           .        .        .            .       D:pe   F:pv     .          .          +    F:rr   +         F:rr
degraded/launch_command             | X      .       .       .           +        .        .            .       .      F:pv     .          .          +    F:rr   +         F:rr
degraded/launch_command, registered | X      .       .       .           .        +        +            .       .      F:pv     .          .          +    F:rr   +         F:rr
degraded/launch_command, attached   | X      .       .       .           .        .        .            .       .      F:pv     .          .          +    F:rr   +         F:rr
degraded/log_attach                 | X      .       .       .           .        .        .            .       .      F:pv     .          .          +    F:rr   +         F:rr
degraded/process_exited             | X      .       .       .           .        .        .            .       .      F:pv     .          .          +    F:rr   +         F:rr
failed/pane_create                  | X      .       .       .           .        .        .            .       .      .        .          .          .    .      .         .
failed/launch_command               | X      .       .       .           .        .        .            .       .      .        .          .          .    .      .         .
failed/registration                 | X      .       .       .           .        .        .            .       .      .        .          .          .    .      .         .
failed/log_attach                   | X      .       .       .           .        .        .            .       .      .        .          .          .    .      .         .
failed/recovery_reattach            | X      .       .       .           .        .        .            .       .      .        .          .          .    .      .         .
failed/pane_vanished                | X      .       .       .           .        .        .            .       .      .        .          .          .    .      .         .
removed                             | .      .       .       .           .        .        .            .       .      .        .          .          .    .      .         .
"""  # noqa: E501

STAGES = {
    "create": "pane_create",
    "launch": "launch_command",
    "reg": "registration",
    "log": "log_attach",
    "rr": "recovery_reattach",
    "pv": "pane_vanished",
    "pe": "process_exited",
}


def _cells() -> Iterator[tuple[str, str, str]]:
    header, *rows = (line.partition("|") for line in TABLE.strip("\n").splitlines())
    for situation, _, cells in rows:
        for asked, cell in zip(header[2].split(), cells.split(), strict=True):
            yield situation.strip(), asked, cell


CELLS = tuple(_cells())


def _target(cell: str) -> tuple[str, str | None]:
    state, _, stage = cell.partition(":")
    return {"X": "removed", "R": "ready", "D": "degraded", "F": "failed"}[state], STAGES.get(stage)


def _ask(situation: str, asked: str) -> Happened:
    request, after = ASKED[asked]
    origin = HOST if asked == "remove" else TOWER
    return given(*SITUATIONS[situation]).when(request, origin=origin, facts=facts(f"agent-{P}", after=after))


@pytest.mark.parametrize(("situation", "asked", "cell"), CELLS)
def test_every_request_in_every_situation(situation: str, asked: str, cell: str) -> None:
    happened = _ask(situation, asked)
    before = situation.partition("/")[0].partition(",")[0]
    match cell:
        case "!":
            happened.then_rejected(
                "managed_pane_illegal_transition", pane_id=P, current_state=before, requested_action="remove"
            )
        case ".":
            happened.then_nothing()
        case "+":
            assert happened.events
            assert not any(isinstance(event, PaneStateChanged) for event in happened.events)
        case _:
            to, stage = _target(cell)
            (change,) = (event for event in happened.events if isinstance(event, PaneStateChanged))
            assert (change.from_, change.to, change.failed_stage) == (before, to, stage)
            assert happened.accepted().state.layouts.layouts["L"].state == to


def test_the_requests_cover_the_whole_table_of_the_design_and_nothing_else() -> None:
    reached = {
        (situation.partition("/")[0].partition(",")[0], *_target(cell))
        for situation, _, cell in CELLS
        if cell not in "!.+"
    }
    assert reached == ROWS
    assert {(situation, asked) for situation, asked, _ in CELLS} == {(s, a) for s in SITUATIONS for a in ASKED}


def test_the_rule_reads_the_table_of_the_design() -> None:
    assert TRANSITIONS == ROWS


@pytest.mark.parametrize("stage", [None, *Stage])
@pytest.mark.parametrize("to", PaneState)
@pytest.mark.parametrize("before", PaneState)
def test_no_event_can_be_made_that_is_no_row(before: PaneState, to: PaneState, stage: Stage | None) -> None:
    (pane,) = given(*layout()).state.layouts.panes.values()
    if (before, to, stage) in ROWS:
        assert moved_by_rule(_in(pane, before), to, stage) == moved(P, before, to, stage)
    else:
        with pytest.raises(AssertionError, match="no row of the transition table"):
            moved_by_rule(_in(pane, before), to, stage)


def _in(pane: Pane, state: PaneState) -> Pane:
    return msgspec.structs.replace(pane, state=state)


class WhenCreating:
    def test_becomes_ready_when_every_stage_is_done(self) -> None:
        (
            given(*layout())
            .when(c.PaneRecordSpawned(pane_id=P, tmux_pane_id="%1", tmux_pane_index=0, pid=100), origin=TOWER)
            .then(spawned(P))
            .when(c.PaneRecordLaunchSettled(pane_id=P, elapsed_ms=500), origin=TOWER)
            .then(settled(P))
            .when(c.PaneRegister(pane_id=P), origin=TOWER, facts=facts(f"agent-{P}"))
            .then(registered(P))
            .when(c.PaneRecordLogAttached(pane_id=P, path=f"{P}.log"), origin=TOWER)
            .then(
                log_attached(P),
                marker_cleared(P),
                moved(P, "creating", "ready"),
                layout_moved("L", "creating", "ready"),
            )
        )

    def test_is_degraded_by_a_launch_command_that_exits_at_once_and_still_registered(self) -> None:
        (
            given(*layout(), spawned(P))
            .when(c.PaneRecordLaunchExited(pane_id=P, elapsed_ms=40, exit_code=127), origin=TOWER)
            .then(
                launch_exited(P),
                moved(P, "creating", "degraded", "launch_command"),
                layout_moved("L", "creating", "degraded"),
            )
            .when(c.PaneRegister(pane_id=P), origin=TOWER, facts=facts(f"agent-{P}"))
            .then(registered(P))
            .when(c.PaneRecordLogAttached(pane_id=P, path=f"{P}.log"), origin=TOWER)
            .then(log_attached(P), marker_cleared(P))
        )

    def test_is_degraded_by_a_log_that_cannot_be_attached(self) -> None:
        given(*_REGISTERED).when(c.PaneRecordLogFailed(pane_id=P, reason="disk full"), origin=TOWER).then(
            log_failed(P),
            marker_cleared(P),
            moved(P, "creating", "degraded", "log_attach"),
            layout_moved("L", "creating", "degraded"),
        )

    @pytest.mark.parametrize("stage", ["pane_create", "launch_command", "registration", "log_attach"])
    def test_fails_at_the_stage_that_the_pipeline_gives_up(self, stage: c.PipelineStage) -> None:
        given(*layout()).when(c.PaneFail(pane_id=P, stage=stage, reason="profile_changed"), origin=TOWER).then(
            moved(P, "creating", "failed", stage, "profile_changed"),
            layout_moved("L", "creating", "failed", stage),
        )

    def test_vanishes(self) -> None:
        given(*layout(), spawned(P)).when(c.PaneRecordVanished(pane_id=P), origin=TOWER).then(
            moved(P, "creating", "failed", "pane_vanished"), layout_moved("L", "creating", "failed", "pane_vanished")
        )

    def test_never_kills_its_siblings(self) -> None:
        history = given(*layout("L", "m1", "s1", "s2"))
        after = history.when(c.PaneFail(pane_id=P, stage="pane_create", reason="no space"), origin=TOWER).then(
            moved(P, "creating", "failed", "pane_create", "no space")
        )
        assert [pane.state for pane in after.state.layouts.panes_of("L")] == ["failed", "creating", "creating"]


class WhenReady:
    def test_is_degraded_when_its_process_exits(self) -> None:
        given(*ready_layout()).when(c.PaneRecordExited(pane_id=P, exit_code=1), origin=TOWER).then(
            exited(P), moved(P, "ready", "degraded", "process_exited"), layout_moved("L", "ready", "degraded")
        )

    def test_is_degraded_when_a_signal_ends_its_process(self) -> None:
        happened = given(*ready_layout()).when(c.PaneRecordExited(pane_id=P, signal=9), origin=TOWER)
        pane = happened.accepted().state.layouts.panes[P]
        assert (pane.state, pane.exit_code, pane.signal) == ("degraded", None, 9)

    def test_fails_when_recovery_does_not_find_it(self) -> None:
        given(*ready_layout()).when(c.ContainerRecover(container_id=HOST, present_pane_ids=()), origin=TOWER).then(
            moved(P, "ready", "failed", "recovery_reattach"),
            LayoutRecoveryFailed(layout_id="L", pane_ids=(P,)),
            layout_moved("L", "ready", "failed", "recovery_reattach"),
        )

    def test_stays_when_recovery_finds_it(self) -> None:
        given(*ready_layout()).when(c.ContainerRecover(container_id=HOST, present_pane_ids=(P,)), origin=TOWER).then(
            LayoutRecoveryReattached(layout_id="L", pane_ids=(P,))
        )


class WhenRemoved:
    def test_removing_again_is_a_success_that_does_nothing(self) -> None:
        given(*SITUATIONS["removed"]).when(c.PaneRemove(pane_id=P)).then_nothing()


class WhenUnknown:
    @pytest.mark.parametrize("asked", sorted(ASKED.keys() - {"remove"}))
    def test_reports_of_a_pane_that_nobody_knows_change_nothing(self, asked: str) -> None:
        request, after = ASKED[asked]
        given().when(request, origin=TOWER, facts=facts("agent", after=after)).then_nothing()

    def test_cannot_be_removed(self) -> None:
        given().when(c.PaneRemove(pane_id=P)).then_rejected("managed_pane_not_found", pane_id=P)


def test_every_situation_is_as_it_is_called() -> None:
    for name, events in SITUATIONS.items():
        pane = given(*events).state.layouts.panes[P]
        state, _, stage = name.partition(",")[0].partition("/")
        assert (pane.state, pane.failed_stage) == (state, stage or None)
