"""What the tower's own commands say of their cause: the latest event of the thing that they are about."""

from datetime import UTC, datetime

from domain.envelope import Envelope, Recorded, encode_data
from domain.layouts.commands import PaneSweep
from domain.layouts.events import PaneRemoved
from domain.tower import Tower
from handlers.effects.follow_ups import CAUSES, FollowUps
from handlers.inbox import FollowUp, Inbox


def event_of(pane_id: str, position: int) -> Recorded:
    event = PaneRemoved(pane_id=pane_id, layout_id="l", tmux_pane_id=None)
    envelope = Envelope(
        id=f"event-{position}",
        source="/tower/local",
        type="agenttower.pane.removed.v1",
        subject=pane_id,
        time=datetime(2026, 1, 2, tzinfo=UTC),
        node="local",
        kind="pane",
        sequence=1,
        actor="host",
        commandid="c",
        correlationid=f"correlation-{position}",
        data=encode_data(event),
    )
    return Recorded(position, envelope, event)


async def cause_of(follow_ups: FollowUps, inbox: Inbox, pane_id: str) -> tuple[str | None, str | None]:
    follow_ups.send(pane_id, "step", PaneSweep())
    (made,) = await inbox.take(1)
    assert isinstance(made, FollowUp)
    return made.causation_id, made.correlation_id


async def test_it_is_the_latest_event():
    inbox = Inbox()
    follow_ups = FollowUps(inbox)
    follow_ups.committed([event_of("p1", 1), event_of("p2", 2), event_of("p1", 3)], Tower())
    assert await cause_of(follow_ups, inbox, "p1") == ("event-3", "correlation-3")
    assert await cause_of(follow_ups, inbox, "nobody") == (None, None)


async def test_of_many_those_that_changed_last_are_remembered():
    inbox = Inbox()
    follow_ups = FollowUps(inbox)
    follow_ups.committed([event_of(f"p{number}", number + 1) for number in range(CAUSES)], Tower())
    follow_ups.committed([event_of("p0", CAUSES + 1), event_of("new", CAUSES + 2)], Tower())
    assert await cause_of(follow_ups, inbox, "p1") == (None, None)
    for pane_id, position in (("p0", CAUSES + 1), ("p2", 3), ("new", CAUSES + 2)):
        assert await cause_of(follow_ups, inbox, pane_id) == (f"event-{position}", f"correlation-{position}")
