"""Sessions over HTTP: answers that wait for what is said, the read model, promises, transcripts."""

from typing import Any

from tests.integration.sessions.conftest import Talks, agent, plan


def post(talks: Talks, path: str, data: dict[str, Any] | None = None, status: int = 200, **query: Any) -> Any:
    answer = talks.desk.http.post(path, params=query, json=data)
    assert answer.status_code == status, answer.text
    talks.desk._after = max(talks.desk._after, answer.json().get("position", 0))
    return answer.json()


def spawn(instruction: str, bundle: Any = None, **options: Any) -> dict[str, Any]:
    return {"bundle": bundle or plan(), "instruction": instruction, **options}


async def test_a_foreground_spawn_is_answered_with_what_was_said(talks: Talks) -> None:
    for answer in (
        post(talks, "/sessions", spawn("hello")),
        post(talks, "/commands", {"noun": "session", "verb": "spawn", "data": spawn("hello")}),
    ):
        result = answer["result"]
        assert (result["state"], result["output"], result["turn_count"]) == ("completed", "hello", 1)
        assert result["promise_id"] == f"spawn:{result['session_id']}"


async def test_a_background_spawn_is_answered_at_once(talks: Talks) -> None:
    result = post(talks, "/sessions", spawn("hang", agent(), background=True))["result"]
    assert (result["state"], "output" in result) == ("waiting", False)
    talks.cancel(result["session_id"])


async def test_the_answer_waits_no_longer_than_asked(talks: Talks) -> None:
    result = post(talks, "/sessions", spawn("hang", agent()), wait=0.3)["result"]
    assert result["state"] == "running"
    ended = post(talks, f"/sessions/{result['session_id']}/cancel", wait=20)["result"]
    assert ended["state"] == "cancelled"


async def test_the_same_key_again_waits_for_the_same_session(talks: Talks) -> None:
    first = post(talks, "/sessions", spawn("words 2 0.2", agent(), idempotency_key="once"), wait=0)
    again = post(talks, "/sessions", spawn("words 2 0.2", agent(), idempotency_key="once"))
    assert again["result"]["session_id"] == first["result"]["session_id"]
    assert (again["result"]["replay"], again["result"]["output"]) == (True, "word 0\nword 1\n")


async def test_instructions_are_answered_with_their_own_output(talks: Talks) -> None:
    session = post(talks, "/sessions", spawn("n = 1", plan("python")))["result"]["session_id"]
    for turn in (2, 3):
        result = post(talks, f"/sessions/{session}/instruct", {"instruction": f"n + {turn}"}, wait=20)["result"]
        assert (result["turn"], result["output"]) == (turn, f"{1 + turn}\n")
    failed = post(talks, f"/sessions/{session}/instruct", {"instruction": "1 / 0"}, wait=20)["result"]
    assert (failed["state"], failed["error_type"]) == ("error", "ZeroDivisionError")
    resumed = post(talks, f"/sessions/{session}/resume", {"instruction": "n"}, wait=20)["result"]
    assert (resumed["state"], resumed["output"]) == ("completed", "1\n")
    post(talks, f"/sessions/{session}/end", wait=20)
    refused = post(talks, f"/sessions/{session}/instruct", {"instruction": "n"}, 409)
    assert refused["error"]["code"] == "session_ended"
    row = talks.desk.get(f"/sessions/{session}")
    assert (row["turn_count"], row["state"], row["ended_at"] is not None) == (4, "completed", True)
    assert [(turn["turn"], turn["state"]) for turn in row["turns"]] == [
        (1, "completed"),
        (2, "completed"),
        (3, "completed"),
        (4, "error"),
        (5, "completed"),
    ]


async def test_the_transcript_is_there_as_json_and_as_text(talks: Talks) -> None:
    session = post(talks, "/sessions", spawn("one"))["result"]["session_id"]
    post(talks, f"/sessions/{session}/instruct", {"instruction": "two"}, wait=20)
    found = talks.desk.get(f"/sessions/{session}/transcript")
    assert [(each["role"], each["content"]) for each in found["messages"]] == [
        ("user", "one"),
        ("assistant", "one"),
        ("user", "two"),
        ("assistant", "two"),
    ]
    assert found["digest"] == talks.desk.get(f"/sessions/{session}")["transcript_digest"]
    text = talks.desk.http.get(f"/sessions/{session}/transcript", params={"format": "text"}).text
    assert text == "> one\none\n> two\ntwo\n"


async def test_lists_are_filtered(talks: Talks) -> None:
    parent = post(talks, "/sessions", spawn("p"))["result"]["session_id"]
    child = post(talks, "/sessions", spawn("c", parent_session_id=parent))["result"]["session_id"]
    rows = talks.desk.get("/sessions", parent_session_id=parent)["items"]
    assert [(row["id"], row["depth"], row["bundle_name"]) for row in rows] == [(child, 1, "echo-bundle")]
    assert talks.desk.get("/sessions", bundle_name="nothing")["items"] == []
    assert child in [row["id"] for row in talks.desk.get("/sessions", state="completed", limit=200)["items"]]


async def test_the_promise_settles_with_the_first_outcome(talks: Talks) -> None:
    def promise(session: str) -> dict[str, Any]:
        return talks.desk.get(f"/promises/spawn:{session}", wait=20)

    done = post(talks, "/sessions", spawn("hello"))["result"]["session_id"]
    found = promise(done)
    assert (found["state"], found["purpose"], found["value"]["output"]) == ("resolved", "session", "hello")
    failed = post(talks, "/sessions", spawn("fail 2", agent()))["result"]["session_id"]
    assert (promise(failed)["state"], promise(failed)["value"]["error_type"]) == ("rejected", "exit_status")
    post(talks, f"/sessions/{failed}/resume", {"instruction": "say fine"}, wait=20)
    assert promise(failed)["state"] == "rejected", "what comes later changes nothing of it"
    hangs = post(talks, "/sessions", spawn("hang", agent()), wait=0)["result"]["session_id"]
    talks.cancel(hangs)
    assert promise(hangs)["state"] == "cancelled"
    refused = talks.desk.command("promise", "resolve", {"id": f"spawn:{done}", "value": 1})
    assert refused["error"]["code"] == "validation_failed"


async def test_what_is_wrong_is_said(talks: Talks) -> None:
    assert post(talks, "/sessions", {"bundle": plan()}, 422)["error"]["details"]["field"] == "instruction"
    assert talks.desk.http.get("/sessions/nobody").json()["error"]["code"] == "session_not_found"
    assert talks.desk.http.get("/sessions/nobody/transcript").status_code == 404
    mismatch = {"session_id": "other", "instruction": "x"}
    assert post(talks, "/sessions/one/instruct", mismatch, 422)["error"]["details"]["field"] == "session_id"
    twice = b'{"bundle": {}, "instruction": "a", "instruction": "b"}'
    answer = talks.desk.http.post("/sessions", content=twice)
    assert (answer.status_code, answer.json()["error"]["details"]["reason"]) == (422, "given twice")
