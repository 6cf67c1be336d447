"""`agenttower promise` on a real tower."""

import subprocess
import sys

from tests.integration.cli.conftest import DEADLINE_S, Desk, columns, environment


def test_a_promise_is_made_and_kept(desk: Desk) -> None:
    assert desk.ok("promise", "create", "review:7", "--data", '{"of": "plan"}').out == "Promise review:7 is pending\n"
    head, pending = columns(desk.ok("promise", "list", "--state", "pending").out)
    assert head == ["ID", "STATE", "TIME LEFT", "MADE", "ABOUT"]
    assert (pending[0], pending[1], pending[2], pending[-1]) == ("review:7", "pending", "-", '{"of": "plan"}')
    assert desk.ok("promise", "resolve", "review", '{"fine": true}').out == "Promise review:7 is resolved\n"
    assert desk.ok("promise", "resolve", "review:7", '{"fine": true}').out.endswith("resolved, as it was before\n")
    found = desk.json("promise", "show", "review:7", "--wait", "5")
    assert (found["state"], found["value"], found["data"]) == ("resolved", {"fine": True}, {"of": "plan"})
    refused = desk.run("promise", "reject", "review:7", "no")
    assert (refused.code, refused.err.split(":")[0]) == (1, "promise_already_settled")
    assert '{"fine": true}' in desk.ok("promise", "show", "review:7").out


def test_a_value_that_is_no_json_is_text(desk: Desk) -> None:
    desk.ok("promise", "create", "as-text")
    desk.ok("promise", "reject", "as-text", "not good")
    found = desk.tower.queries.get("/v1/promises/as-text")
    assert (found["state"], found["value"]) == ("rejected", "not good")


def test_a_value_from_standard_input(desk: Desk) -> None:
    desk.ok("promise", "create", "piped")
    argv = [sys.executable, "-m", "adapters.cli", "promise", "resolve", "piped", "-", "--json"]
    given = b'{"from": "a pipe"}\n'
    subprocess.run(argv, env=environment(desk.home), input=given, timeout=DEADLINE_S, check=True, capture_output=True)
    assert desk.tower.queries.get("/v1/promises/piped")["value"] == {"from": "a pipe"}


def test_one_with_a_deadline_times_out(desk: Desk) -> None:
    made = desk.json("promise", "create", "--timeout", "0.2")
    found = desk.json("promise", "show", made["promise_id"], "--wait", "30")
    assert found["state"] == "timed_out"


def test_the_promise_of_an_execution_settles_with_it(desk: Desk) -> None:
    made = desk.json("exec", "run", "-c", "6 * 7")
    found = desk.json("promise", "show", f"exec:{made['id']}")
    assert (found["state"], found["value"]) == ("resolved", 42)
    refused = desk.run("promise", "cancel", f"exec:{made['id']}")
    assert (refused.code, refused.err.split(":")[0]) == (1, "validation_failed")


def test_ids_are_checked(desk: Desk) -> None:
    assert desk.run("promise", "create", "").err.startswith("validation_failed: ")
    assert desk.run("promise", "show", "nobody").err.startswith("promise_not_found: ")
