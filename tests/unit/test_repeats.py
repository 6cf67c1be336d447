"""Idempotency keys (layouts.md, invariant 4): the first with a key counts, a repeat creates nothing and is answered."""

from domain.layouts import commands as c
from domain.messages import TOWER
from tests.unit.builders import (
    BENCH,
    OTHER_BENCH,
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
from tests.unit.given import given


class WhenALayoutWasCreatedWithTheKey:
    def test_a_repeat_creates_nothing(self) -> None:
        (
            given()
            .when(create(key="k"), facts=facts("L", "L-m1"))
            .then(*layout("L", session="work", key="k"))
            .when(create(key="k"), facts=facts("M", "M-m2"))
            .then_nothing()
        )

    def test_whatever_its_other_fields(self) -> None:
        history = given(*layout("L", key="k"))
        for other in (
            create("none", "b a d", key="k", overrides={"x": "y"}),
            create("lead", "elsewhere", key="k"),
            c.LayoutCreate(
                container_id="host", template_name="", tmux_session_name="", working_dir="/", idempotency_key="k"
            ),
        ):
            history.when(other, facts=facts(profiles={}, templates={})).then_nothing()

    def test_before_the_session_name_is_looked_at(self) -> None:
        history = given(*ready_layout("L", session="work", key="k"))
        history.when(create(key="k"), facts=facts(sessions=["work"])).then_nothing()

    def test_before_capacity(self) -> None:
        full = [event for n in range(39) for event in failed_layout(f"A{n}", session=f"a{n}")]
        given(*full, *layout("L", key="k")).when(create(key="k")).then_nothing()

    def test_also_once_it_is_removed(self) -> None:
        given(*removed_layout("L", key="k")).when(create(key="k")).then_nothing()

    def test_the_answer_is_its_present_state(self) -> None:
        pane = {"pane_id": "L-m1", "slot": 0, "role": "master", "label": "m1"}
        for events, state in (
            (layout("L", key="k"), "creating"),
            (ready_layout("L", key="k"), "ready"),
            (failed_layout("L", key="k"), "failed"),
            (removed_layout("L", key="k"), "removed"),
        ):
            assert given(*events).when(create(key="k")).result == {
                "layout_id": "L",
                "panes": [pane | {"state": state}],
                "state": state,
                "replay": True,
            }

    def test_the_answer_names_successors_in_place_of_those_they_replace(self) -> None:
        history = given(
            *failed_layout("L", key="k"), *recreated("L-m1", "L-new"), layout_moved("L", "failed", "creating")
        )
        assert history.when(create(key="k")).result == {
            "layout_id": "L",
            "panes": [{"pane_id": "L-new", "slot": 0, "role": "master", "label": "m1", "state": "creating"}],
            "state": "creating",
            "replay": True,
        }

    def test_another_container_does_not_know_the_key(self) -> None:
        history = given(*layout("L", container=BENCH, key="k"), containers=("host", BENCH, OTHER_BENCH))
        history.when(create(key="k"), facts=facts("M", "M-m1")).then(*layout("M", session="work", key="k"))

    def test_a_recreate_with_the_key_is_another_thing(self) -> None:
        history = given(*failed_layout("L", key="k"))
        history.when(recreate("L-m1", key="k"), facts=facts("L-new")).then(
            *recreated("L-m1", "L-new", key="k"), layout_moved("L", "failed", "creating")
        )

    def test_a_refused_request_does_not_take_the_key(self) -> None:
        (
            given()
            .when(create("none", key="k"))
            .then_rejected(
                "managed_template_not_found",
                template_name="none",
                known_templates=["1m+2s", "2m+2s", "lead", "solo"],
            )
            .when(create(key="k"), facts=facts("L", "L-m1"))
            .then(*layout("L", session="work", key="k"))
        )


class WhenAPaneWasRecreatedWithTheKey:
    HISTORY = given(*failed_layout("L"), *recreated("L-m1", "L-new", key="k"), layout_moved("L", "failed", "creating"))

    def test_a_repeat_creates_nothing(self) -> None:
        self.HISTORY.when(recreate("L-m1", key="k"), facts=facts("L-newer")).then_nothing()

    def test_whatever_its_other_fields(self) -> None:
        self.HISTORY.when(recreate("L-m1", key="k", override="no such profile")).then_nothing()
        self.HISTORY.when(recreate("L-new", key="k")).then_nothing()

    def test_the_answer_is_its_present_state(self) -> None:
        answer = {"pane_id": "L-new", "predecessor_id": "L-m1", "chain_depth": 1, "layout_id": "L", "replay": True}
        assert self.HISTORY.when(recreate("L-m1", key="k")).result == answer | {"state": "creating"}
        failed = self.HISTORY.and_given(moved("L-new", "creating", "failed", "pane_create"))
        assert failed.when(recreate("L-m1", key="k")).result == answer | {"state": "failed"}

    def test_another_key_is_a_concurrent_recreate(self) -> None:
        self.HISTORY.when(recreate("L-m1", key="other")).then_rejected(
            "managed_pane_concurrent_recreate", predecessor_pane_id="L-m1", in_flight_successor_pane_id="L-new"
        )

    def test_no_key_is_a_concurrent_recreate(self) -> None:
        self.HISTORY.when(recreate("L-m1")).then_rejected(
            "managed_pane_concurrent_recreate", predecessor_pane_id="L-m1", in_flight_successor_pane_id="L-new"
        )

    def test_an_unknown_predecessor_is_in_no_container(self) -> None:
        self.HISTORY.when(recreate("X-m1", key="k")).then_rejected("managed_pane_not_found", pane_id="X-m1")

    def test_another_container_does_not_know_the_key(self) -> None:
        elsewhere = given(*self.HISTORY.events, *failed_layout("B", container=BENCH), containers=("host", BENCH))
        elsewhere.when(recreate("B-m1", key="k"), facts=facts("B-new")).then(
            *recreated("B-m1", "B-new", key="k", container=BENCH), layout_moved("B", "failed", "creating")
        )


def test_without_a_key_nothing_is_a_repeat() -> None:
    history = given(*layout("L", session="work"))
    history.when(create(session="other"), facts=facts("M", "M-m2")).then(*layout("M", "m2", session="other"))


def test_the_tower_itself_repeats_like_anybody() -> None:
    given(*layout("L", key="k")).when(create(key="k"), origin=TOWER).then_nothing()
