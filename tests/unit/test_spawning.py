"""Which work the spawning effect takes from an event, and which it finds open at a start."""

import pytest

from domain.layouts.state import Layouts
from domain.messages import Event
from handlers.effects.spawning import Clean, Create, Finish, job_for, open_jobs
from handlers.effects.stages import living_session
from tests.unit.builders import (
    gone,
    launch_exited,
    layout,
    layout_moved,
    log_attached,
    marker_cleared,
    moved,
    ready_layout,
    recreated,
    registered,
    removed_layout,
    settled,
    spawned,
)
from tests.unit.given import given
from tests.unit.test_watching import seen as a_pane


def jobs(*history: Event, then: Event):
    """The job for the last event of a history."""
    state = given(*history, then).state.layouts
    return job_for(then, state)


def layouts(*history: Event) -> Layouts:
    return given(*history).state.layouts


class TestFromEvents:
    def test_a_new_layout_is_made_whole(self):
        created, *_ = layout("L", "m1", "s1")
        assert jobs(then=created) == Create("host", "L", ("L-m1", "L-s1"))

    def test_its_panes_ask_for_nothing_of_their_own(self):
        created, pane, *_ = layout("L", "m1")
        assert jobs(created, then=pane) is None

    def test_a_recreated_pane_is_made_alone(self):
        pane, *_ = recreated("L-m1", "L-m2")
        assert jobs(*removed_layout(), then=pane) == Create("host", "L", ("L-m2",))

    def test_a_removed_pane_is_cleaned_up(self):
        assert jobs(*ready_layout(), moved("L-m1", "ready", "removed"), then=gone("L-m1")) == Clean("host", "L-m1")

    @pytest.mark.parametrize("event", [spawned("L-m1"), registered("L-m1"), moved("L-m1", "creating", "ready")])
    def test_other_events_ask_for_nothing(self, event: Event):
        assert jobs(*layout(), then=event) is None


class TestAtAStart:
    def test_panes_not_made_are_made_and_those_made_are_finished(self):
        state = layouts(*layout("L", "m1", "s1", "s2"), spawned("L-s1"), spawned("L-s2"), settled("L-s2"))
        assert open_jobs(state) == (
            Create("host", "L", ("L-m1",)),
            Finish("host", ("L-s1", "L-s2"), 0),
        )

    def test_a_pane_whose_launch_exited_still_has_its_last_stages(self):
        state = layouts(
            *layout(),
            spawned("L-m1"),
            launch_exited("L-m1"),
            moved("L-m1", "creating", "degraded", "launch_command"),
            layout_moved("L", "creating", "degraded"),
        )
        assert open_jobs(state) == (Finish("host", ("L-m1",), 0),)

    def test_nothing_is_open_once_all_is_done(self):
        done = (registered("L-m1"), log_attached("L-m1"), marker_cleared("L-m1"))
        state = layouts(
            *layout(),
            spawned("L-m1"),
            launch_exited("L-m1"),
            moved("L-m1", "creating", "degraded", "launch_command"),
            *done,
        )
        assert open_jobs(state) == ()
        assert open_jobs(layouts(*ready_layout(), *removed_layout("M"))) == ()


class TestWhereARecreatedPaneGoes:
    """To its layout's session, if that lives with a pane of the layout."""

    @pytest.mark.parametrize(
        ("siblings", "session"),
        [
            ((), None),
            ((("session-L", True),), "session-L"),
            ((("renamed", True),), "renamed"),
            ((("person", False), ("renamed", True)), "renamed"),
            ((("other-layout", True), ("session-L", True)), "session-L"),
            ((("person", False),), None),
            # Of that name, but made by somebody else when ours had ended.
            ((("person", False), ("session-L", False)), "session-L"),
        ],
    )
    def test_by_its_name_else_by_its_mark(self, siblings: tuple[tuple[str, bool], ...], session: str | None):
        seen = [a_pane("L-s1", session_name=name, own_session=own) for name, own in siblings]
        assert living_session(layouts(*ready_layout()).layouts["L"], seen) == session
