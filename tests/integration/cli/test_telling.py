"""`agenttower events emit|wait` on a real tower."""

import json

from tests.integration.cli.conftest import Desk, going_on
from tests.waiting import eventually


def test_what_is_told_is_heard_by_its_name(desk: Desk) -> None:
    before = desk.json("events", "emit", "work:begun")["position"]
    desk.ok("events", "emit", "other:thing", "--data", "7")
    at = desk.json("events", "emit", "work:completed", "--data", '{"issue_id": 7}')["position"]
    heard = desk.json("events", "wait", "work:*", "work:completed", "--after", str(before))
    assert (heard["name"], heard["data"], heard["position"]) == ("work:completed", {"issue_id": 7}, at)
    (line,) = desk.ok("events", "wait", "work:*", "--after", str(before)).out.splitlines()
    assert line.split()[0] == str(at) and line.endswith('work:completed tower:operator {"issue_id": 7}')


def test_data_is_json_or_a_text(desk: Desk) -> None:
    before = desk.json("events", "emit", "work:done", "--data", "it works")["position"] - 1
    desk.ok("events", "emit", "work:done")
    lines = desk.ok("events", "wait", "*", "--after", str(before), "--count", "2", "--json").out.splitlines()
    assert [json.loads(line)["data"] for line in lines] == ["it works", None]


def test_what_a_session_tells_names_it(desk: Desk) -> None:
    bundle = desk.home / "e.yaml"
    bundle.write_text("bundle: {name: e}\nruntime: {kind: echo}\n")
    desk.ok("session", "spawn", str(bundle), "hi", "--id", "s-1")
    at = desk.json("events", "emit", "work:done", "--session", "s-1")["position"]
    heard = desk.json("events", "wait", "*", "--source", "s-1", "--after", str(at - 1))
    assert (heard["source_session_id"], heard["name"]) == ("s-1", "work:done")


async def test_one_that_waits_hears_of_it(desk: Desk) -> None:
    with going_on(desk, "events", "wait", "late:*", "--count", "9") as seen:

        def told() -> bool:
            desk.ok("events", "emit", "late:news")
            return b"late:news" in seen.read_bytes()

        await eventually(told, "the news")


def test_failures_say_what_to_do(desk: Desk) -> None:
    wrong = desk.run("events", "emit", "Work")
    assert (wrong.code, "validation_failed: name: two words with a colon between" in wrong.err) == (1, True)
    nobody = desk.run("events", "emit", "work:done", "--session", "nobody")
    assert (nobody.code, nobody.err.startswith("session_not_found")) == (1, True)
    late = desk.run("events", "wait", "never:told", "--timeout", "0.2")
    assert (late.code, late.err) == (1, "nothing more of never:told within 0.2 s\n")
    assert desk.run("events", "wait").code == 2
