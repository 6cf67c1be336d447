"""layout.create (layouts.md, commands and invariants 1 to 3): what is recorded, what is refused, in which order."""

import pytest

from domain.layouts.labels import slot_names
from domain.layouts.state import CAPACITY
from domain.layouts.templates import BUILT_IN
from domain.messages import Event, Facts, PaneSlot, Template
from tests.unit.builders import (
    BENCH,
    KNOWN_PROFILES,
    KNOWN_TEMPLATES,
    create,
    facts,
    failed_layout,
    layout,
    layout_moved,
    moved,
    ready_layout,
    recreate,
    recreated,
    removed_layout,
)
from tests.unit.given import History, given

NOT_AN_IDENTIFIER = "not an identifier: 1 to 64 characters of A-Z a-z 0-9 _ . -"
CONFLICT = {"container_id": "host", "tmux_session_name": "work"}
FULL = {"limit": 40, "current_count": 40}
ONE_MASTER_TWO_SLAVES = facts("L", "L-m1", "L-s1", "L-s2")


def _template(*labels: str) -> Facts:
    """Facts that know one template, `t`, with these label patterns."""
    panes = tuple(PaneSlot(role="master", capability="orchestrator", label=label) for label in labels)
    return facts("L", *(f"L-{place}" for place in range(len(labels))), templates={"t": Template(name="t", panes=panes)})


def _labels(history: History, layout_id: str = "L") -> list[str]:
    return [pane.label for pane in history.state.layouts.panes_of(layout_id)]


class TestTemplates:
    def test_a_layout_is_recorded_with_its_panes_and_their_markers(self) -> None:
        given().when(create("1m+2s"), facts=ONE_MASTER_TWO_SLAVES).then(
            *layout("L", "m1", "s1", "s2", session="work", template="1m+2s")
        )

    def test_the_idempotency_key_is_the_marker(self) -> None:
        given().when(create("1m+2s", key="k"), facts=ONE_MASTER_TWO_SLAVES).then(
            *layout("L", "m1", "s1", "s2", session="work", template="1m+2s", key="k")
        )

    def test_two_masters_two_slaves(self) -> None:
        given().when(create("2m+2s"), facts=facts("L", "L-m1", "L-m2", "L-s1", "L-s2")).then(
            *layout("L", "m1", "m2", "s1", "s2", session="work", template="2m+2s")
        )

    @pytest.mark.parametrize(
        ("name", "slots"),
        [
            ("1m+2s", [("master", "orchestrator", "m{n}"), *[("slave", "worker", "s{n}")] * 2]),
            ("2m+2s", [*[("master", "orchestrator", "m{n}")] * 2, *[("slave", "worker", "s{n}")] * 2]),
        ],
    )
    def test_the_built_in_ones(self, name: str, slots: list[tuple[str, str, str]]) -> None:
        panes = BUILT_IN[name].panes
        assert [(slot.role, slot.capability, slot.label) for slot in panes] == slots
        assert {(slot.launch, slot.restart) for slot in panes} == {("shell", "never")}

    def test_an_unknown_one_is_refused(self) -> None:
        given().when(create("3m")).then_rejected(
            "managed_template_not_found", template_name="3m", known_templates=KNOWN_TEMPLATES
        )

    def test_the_working_directory_is_recorded_as_its_digest(self) -> None:
        (created, *_) = given().when(create(), facts=facts("L", "L-m1", working_dir_digest="digest-of-dir")).events
        assert getattr(created, "working_dir_digest", None) == "digest-of-dir"


class TestContainers:
    def test_an_unknown_one_is_refused(self) -> None:
        given().when(create(container=BENCH)).then_rejected("container_not_found", container_id=BENCH)

    def test_whatever_its_name_looks_like(self) -> None:
        given().when(create(container="no such\n")).then_rejected("container_not_found", container_id="no such\n")


class TestLaunchProfiles:
    def test_the_default_of_the_template_must_be_known(self) -> None:
        given().when(create("lead"), facts=facts(profiles={"shell": "d"})).then_rejected(
            "managed_launch_command_not_found", profile_name="claude", known_profiles=["shell"]
        )

    def test_an_override_must_be_known(self) -> None:
        given().when(create("1m+2s", overrides={"slave:s2": "codex"})).then_rejected(
            "managed_launch_command_not_found", profile_name="codex", known_profiles=KNOWN_PROFILES
        )

    def test_an_override_takes_its_slot_only(self) -> None:
        given().when(create("1m+2s", overrides={"slave:s1": "claude"}), facts=ONE_MASTER_TWO_SLAVES).then(
            *layout("L", "m1", "s1", "s2", session="work", template="1m+2s", profiles={"s1": "claude"})
        )

    def test_its_label_counts_from_1_whatever_the_label_resolves_to(self) -> None:
        (
            given(*ready_layout("A", "m1", "s1", "s2"))
            .when(create("1m+2s", overrides={"slave:s1": "claude"}), facts=facts("L", "L-m2", "L-s3", "L-s4"))
            .then(*layout("L", "m2", "s3", "s4", session="work", template="1m+2s", profiles={"s3": "claude"}))
        )

    @pytest.mark.parametrize("slot", ["slave:s3", "master:s1", "slave:m1", "s:1"])
    def test_no_such_slot(self, slot: str) -> None:
        given().when(create("1m+2s", overrides={slot: "claude"})).then_rejected(
            "validation_failed",
            field="launch_command_overrides",
            reason=f"no slot {slot}; known: master:m1, slave:s1, slave:s2",
        )

    def test_a_key_without_a_colon(self) -> None:
        given().when(create("1m+2s", overrides={"s1": "claude"})).then_rejected(
            "validation_failed", field="launch_command_overrides", reason="a key is <role>:<label>"
        )

    @pytest.mark.parametrize(
        ("slot", "profile"),
        [
            ("sl ave:s1", "claude"),
            ("slave:", "claude"),
            (":s1", "claude"),
            ("slave:s1:x", "claude"),
            ("slave:s1", "a b"),
        ],
    )
    def test_each_part_is_an_identifier(self, slot: str, profile: str) -> None:
        given().when(create("1m+2s", overrides={slot: profile})).then_rejected(
            "validation_failed", field="launch_command_overrides", reason=NOT_AN_IDENTIFIER
        )


class TestIdentifiers:
    @pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 64])
    def test_a_good_session_name(self, name: str) -> None:
        given().when(create(session=name), facts=facts("L", "L-m1")).then(*layout("L", session=name))

    @pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a:b", "a/b", "a\n", "\x1b[2J", "é", "a\x00"])
    def test_a_bad_session_name(self, name: str) -> None:
        given().when(create(session=name)).then_rejected(
            "validation_failed", field="tmux_session_name", reason=NOT_AN_IDENTIFIER
        )

    @pytest.mark.parametrize("key", ["", "x" * 65, "a b", "a:b", "a\n"])
    def test_a_bad_idempotency_key(self, key: str) -> None:
        given().when(create(key=key)).then_rejected(
            "validation_failed", field="idempotency_key", reason=NOT_AN_IDENTIFIER
        )

    def test_a_label_that_grows_too_long(self) -> None:
        pattern = "x" * 63 + "{n}"
        fits = given().when(create("t"), facts=_template(*[pattern] * 9)).accepted()
        assert _labels(fits)[-1] == "x" * 63 + "9"
        given().when(create("t"), facts=_template(*[pattern] * 10)).then_rejected(
            "validation_failed", field="label", reason=NOT_AN_IDENTIFIER
        )

    def test_a_label_that_is_none(self) -> None:
        given().when(create("t"), facts=_template("a label")).then_rejected(
            "validation_failed", field="label", reason=NOT_AN_IDENTIFIER
        )


class TestLabels:
    def test_the_lowest_free_ordinals(self) -> None:
        history = given(*ready_layout("A", "m1", "s1", "s3")).when(create("1m+2s"), facts=ONE_MASTER_TWO_SLAVES)
        assert _labels(history.accepted()) == ["m2", "s2", "s4"]

    @pytest.mark.parametrize("state", ["failed", "removed"])
    def test_a_terminal_pane_frees_its_label(self, state: str) -> None:
        before = failed_layout("A") if state == "failed" else removed_layout("A")
        given(*before).when(create(), facts=facts("L", "L-m1")).then(*layout("L", session="work"))

    def test_another_containers_labels_do_not_matter(self) -> None:
        history = given(*ready_layout("A", container=BENCH), containers=("host", BENCH))
        history.when(create(), facts=facts("L", "L-m1")).then(*layout("L", session="work"))

    def test_a_literal_label_that_is_taken_is_a_conflict(self) -> None:
        given(*ready_layout("A", "lead")).when(create("lead"), facts=facts("L", "L-lead")).then_rejected(
            "managed_pane_label_conflict", container_id="host", label="lead"
        )

    def test_a_literal_label_once_more_after_its_pane_failed(self) -> None:
        history = given(*ready_layout("A", "lead"), moved("A-lead", "ready", "failed", "pane_vanished"))
        history.when(create("lead"), facts=facts("L", "L-lead")).then(
            *layout("L", "lead", session="work", template="lead", profiles={"lead": "claude"})
        )

    def test_a_literal_label_twice_in_a_template_is_a_conflict(self) -> None:
        given().when(create("t"), facts=_template("x", "x")).then_rejected(
            "managed_pane_label_conflict", container_id="host", label="x"
        )

    def test_ordinals_leave_the_templates_literal_labels_alone(self) -> None:
        assert _labels(given().when(create("t"), facts=_template("m{n}", "m1", "m{n}")).accepted()) == [
            "m2",
            "m1",
            "m3",
        ]

    def test_patterns_count_apart(self) -> None:
        history = given().when(create("t"), facts=_template("a{n}", "b{n}", "a{n}", "{n}", "c-{n}-{n}"))
        assert _labels(history.accepted()) == ["a1", "b1", "a2", "1", "c-1-1"]

    def test_the_names_of_slots(self) -> None:
        assert slot_names(BUILT_IN["2m+2s"]) == ("master:m1", "master:m2", "slave:s1", "slave:s2")

    def test_a_pattern_counts_past_the_literal_labels_beside_it(self) -> None:
        assert slot_names(_template("lead", "s{n}", "s1").templates["t"]) == ("master:lead", "master:s2", "master:s1")


class TestSessionNames:
    def test_that_of_a_living_layout_is_a_conflict(self) -> None:
        given(*ready_layout("A", session="work")).when(create()).then_rejected(
            "managed_session_name_conflict", **CONFLICT
        )

    def test_one_that_tmux_shows_is_a_conflict_whoever_made_it(self) -> None:
        given().when(create(), facts=facts(sessions=["notes", "work"])).then_rejected(
            "managed_session_name_conflict", **CONFLICT
        )

    def test_tmux_rewrites_dots_and_colons(self) -> None:
        for taken in ("a_b", "a.b", "a:b"):
            given().when(create(session="a.b"), facts=facts(sessions=[taken])).then_rejected(
                "managed_session_name_conflict", container_id="host", tmux_session_name="a.b"
            )
        given(*ready_layout("A", session="a.b")).when(create(session="a_b")).then_rejected(
            "managed_session_name_conflict", container_id="host", tmux_session_name="a_b"
        )

    def test_an_unknown_list_of_sessions_does_not_refuse(self) -> None:
        given().when(create(), facts=facts("L", "L-m1", sessions=None)).then(*layout("L", session="work"))

    def test_an_empty_list_of_sessions_does_not_hide_a_layout_that_is_being_created(self) -> None:
        given(*layout("A", session="work")).when(create(), facts=facts(sessions=[])).then_rejected(
            "managed_session_name_conflict", **CONFLICT
        )

    def test_a_layout_without_living_panes_frees_its_name(self) -> None:
        given(*failed_layout("A", session="work")).when(create(), facts=facts("L", "L-m1", sessions=[])).then(
            *layout("L", session="work")
        )

    def test_the_same_name_in_two_containers(self) -> None:
        history = given(*ready_layout("A", session="work", container=BENCH), containers=("host", BENCH))
        history.when(create(), facts=facts("L", "L-m1")).then(*layout("L", session="work"))


def _stand(count: int) -> tuple[Event, ...]:
    """`count` layouts of one failed pane each."""
    return tuple(event for number in range(count) for event in failed_layout(f"A{number}", session=f"a{number}"))


class TestCapacity:
    def test_the_fortieth_layout_stands_and_the_next_is_refused(self) -> None:
        (
            given(*_stand(39))
            .when(create(), facts=facts("L", "L-m1"))
            .then(*layout("L", session="work"))
            .when(create(session="other"), facts=facts("M", "M-m2"))
            .then_rejected("managed_layout_capacity_exceeded", **FULL)
        )
        assert CAPACITY == 40

    def test_a_removed_layout_makes_room(self) -> None:
        given(*_stand(39), *removed_layout("B")).when(create(), facts=facts("L", "L-m1")).then(
            *layout("L", session="work")
        )

    def test_a_recreate_that_brings_a_removed_layout_back_counts(self) -> None:
        (
            given(*removed_layout("B"), *_stand(40))
            .when(recreate("B-m1"), facts=facts("B-new"))
            .then_rejected("managed_layout_capacity_exceeded", **FULL)
        )
        (
            given(*removed_layout("B"), *_stand(39))
            .when(recreate("B-m1"), facts=facts("B-new"))
            .then(*recreated("B-m1", "B-new"), layout_moved("B", "removed", "creating"))
            .when(create(), facts=facts("L", "L-m1"))
            .then_rejected("managed_layout_capacity_exceeded", **FULL)
        )

    def test_a_recreate_in_a_layout_that_stands_does_not(self) -> None:
        given(*_stand(40)).when(recreate("A7-m1"), facts=facts("A7-new")).then(
            *recreated("A7-m1", "A7-new"), layout_moved("A7", "failed", "creating")
        )


def test_refusals_come_in_the_order_of_the_designs_list() -> None:
    """Everything is wrong at once; each step mends what was refused before it."""
    full = given(*_stand(38), *ready_layout("B", "lead", session="work"), *ready_layout("C", session="c"))
    known = facts("L", "L-lead", profiles={"shell": "d"})
    wrong = {"session": "wo rk", "container": "nowhere", "template": "none"}
    steps: list[tuple[dict[str, str], Facts, str]] = [
        ({}, known, "validation_failed"),
        ({"session": "work"}, known, "container_not_found"),
        ({"container": "host"}, known, "managed_template_not_found"),
        ({"template": "lead"}, known, "managed_launch_command_not_found"),
        ({}, facts("L", "L-lead"), "managed_session_name_conflict"),
        ({"session": "free"}, facts("L", "L-lead"), "managed_pane_label_conflict"),
        ({"template": "solo"}, facts("L", "L-m2"), "managed_layout_capacity_exceeded"),
    ]
    for mended, known, code in steps:
        wrong |= mended
        outcome = full.when(
            create(wrong["template"], wrong["session"], container=wrong["container"]), facts=known
        ).outcome
        assert getattr(outcome, "code", outcome) == code
