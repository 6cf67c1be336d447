"""Many events at once, and events without an end: what waits, what runs, and where it stops."""

from datetime import datetime

from tests.integration.background.conftest import Yard, echo, listening

POOL = 3
EVENTS = 200


async def test_a_pool_of_three_takes_two_hundred_in_order(yard: Yard) -> None:
    yard.write("worker", echo())
    many = listening("many", "load:one", pool_size=POOL, queue_size=1000, instruction="{event.data}")
    parent = yard.spawn(yard.write("crowd", echo(), many))
    background_id = yard.of(parent)["many"]
    for number in range(EVENTS):
        yard.emit("load:one", number)
    await yard.until(EVENTS, "background.run_ended", id=background_id)
    running, most = 0, 0
    for event in yard.events("background.run_started", "background.run_ended", id=background_id):
        running += 1 if event["event"].startswith("background.run_started") else -1
        most = max(most, running)
    assert (running, most) == (0, POOL)
    fired = [each["trigger_id"] for each in yard.events("trigger.fired") if each["background_id"] == background_id]
    started = [each["trigger_id"] for each in yard.events("background.run_started", id=background_id)]
    assert started == fired
    ended = yard.events("background.run_ended", id=background_id)
    assert sorted(int(each["output"]) for each in ended) == list(range(EVENTS))
    yard.desk.accepted("session", "cancel", {"session_id": parent})


async def test_two_that_trigger_each_other_end_at_the_depth(yard: Yard) -> None:
    yard.write("worker", echo())
    short = {"instruction": "on {n}"}
    ping = listening("ping", "pong:done", "ping:go", on_complete_emit="ping:done", **short)
    pong = listening("pong", "ping:done", on_complete_emit="pong:done", **short)
    parent = yard.spawn(yard.write("circle", echo(), ping, pong))
    ids = yard.of(parent)
    yard.emit("ping:go")
    (refused,) = await yard.until(1, "trigger.refused")
    assert (refused["reason"], refused["depth"], refused["background_id"]) == ("depth", 33, ids["pong"])
    fired = [each for each in yard.events("trigger.fired") if each["background_id"] in ids.values()]
    assert [each["depth"] for each in fired] == list(range(33))
    # The refusal stands in the append of the last event of the circle: nothing comes after it.
    (last,) = [each for each in yard.events("background.run_ended") if each["position"] > fired[-1]["position"]]
    assert last["position"] < refused["position"]
    yard.desk.accepted("session", "cancel", {"session_id": parent})


async def test_a_run_starts_soon_after_its_event(yard: Yard) -> None:
    """The median of 20 in a quiet tower, from the event's commit to the start of the run's turn."""
    yard.write("worker", echo())
    parent = yard.spawn(yard.write("quick", echo(), listening("quick", "go:now", instruction="go")))
    background_id = yard.of(parent)["quick"]
    waits_s: list[float] = []
    for number in range(1, 21):
        yard.emit("go:now", number)
        ended = await yard.until(number, "background.run_ended", id=background_id)
        session_id = ended[-1]["session_id"]
        emitted = yard.desk.events(type="agenttower.session.emitted.v1")[-1]
        (started,) = yard.desk.events(type="agenttower.session.turn_started.v1", id=session_id)
        waits_s.append(_at(started["time"]) - _at(emitted["time"]))
    assert sorted(waits_s)[10] < 0.5, f"{sorted(waits_s)}"
    yard.desk.accepted("session", "cancel", {"session_id": parent})


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
