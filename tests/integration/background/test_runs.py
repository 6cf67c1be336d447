"""Events that trigger runs, and runs whose end triggers others, on a whole tower."""

from tests.integration.background.conftest import Yard, echo, listening, program


async def test_an_event_starts_a_run_whose_end_starts_another(yard: Yard) -> None:
    yard.write("worker", echo())
    coder = listening(
        "coder", "issue:created", instruction="Work on {event.data[issue_id]}", on_complete_emit="work:completed"
    )
    tester = listening(
        "tester",
        "work:completed",
        instruction="Test {event.data[trigger][data][issue_id]}",
        on_complete_emit="tests:completed",
    )
    parent = yard.spawn(yard.write("foreman", echo(), coder, tester))
    ids = yard.of(parent)
    yard.emit("issue:created", {"issue_id": "I-7"})
    first, second = [(await yard.until(1, "background.run_ended", id=ids[name]))[0] for name in ("coder", "tester")]
    assert (first["output"], second["output"]) == ("Work on I-7", "Test I-7")
    assert (first["success"], second["success"]) == (True, True)
    fired = yard.events("trigger.fired")
    assert [(each["event_name"], each["depth"]) for each in fired] == [("issue:created", 0), ("work:completed", 1)]
    completed = yard.events("session.completed", id=first["session_id"])
    assert completed[0]["trigger"]["data"] == {"issue_id": "I-7"}
    yard.desk.accepted("session", "cancel", {"session_id": parent})
    stopped = await yard.until(2, "background.stopped")
    assert {each["background_id"] for each in stopped} == set(ids.values())
    assert {each["reason"] for each in stopped} == {"parent"}


async def test_a_run_of_a_program_says_why_it_failed(yard: Yard) -> None:
    yard.write("broken", program("import sys; sys.exit(3)"))
    failing = listening("failing", "issue:bad", bundle="./broken.yaml", on_error_emit="work:failed")
    heard = listening("heard", "work:failed")
    parent = yard.spawn(yard.write("lead", echo(), failing, heard))
    ids = yard.of(parent)
    yard.emit("issue:bad")
    (ended,) = await yard.until(1, "background.run_ended", id=ids["failing"])
    assert (ended["success"], ended["error_type"]) == (False, "exit_status")
    (after,) = await yard.until(1, "background.run_ended", id=ids["heard"])
    assert '"error_type": "exit_status"' in after["output"]
    yard.desk.accepted("session", "cancel", {"session_id": parent})


async def test_a_bundle_that_is_not_there_fails_the_run_and_nothing_else(yard: Yard) -> None:
    lost = listening("lost", "issue:lost", bundle="./nowhere.yaml")
    parent = yard.spawn(yard.write("careless", echo(), lost))
    ids = yard.of(parent)
    yard.emit("issue:lost")
    (ended,) = await yard.until(1, "background.run_ended", id=ids["lost"])
    assert (ended["success"], ended["error_type"]) == (False, "bundle_not_found")
    assert yard.events("background.failed", id=ids["lost"]) == []
    yard.desk.accepted("session", "cancel", {"session_id": parent})
