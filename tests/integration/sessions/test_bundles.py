"""Sessions from bundles on disk: found by path and by name, stale when their bundle is loaded anew, quick when warm."""

import statistics
import time
from pathlib import Path

from tests.integration.sessions.conftest import Talks

BUNDLE = """\
bundle: {{name: {name}, version: 1.0.0}}
runtime: {{kind: command, argv: [cat], context: text}}
instruction: {text}
"""


def written(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(BUNDLE.format(name=name, text=text))
    return str(path)


def post(talks: Talks, data: dict[str, object]) -> dict[str, object]:
    answer = talks.desk.http.post("/sessions", json=data)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def test_a_bundle_that_nobody_used_is_prepared_for_the_first_session(talks: Talks, tmp_path: Path) -> None:
    path = written(tmp_path, "first", "Be brief.")
    for reference in (path, "first"):
        result = post(talks, {"bundle": reference, "instruction": "hello"})
        assert (result["state"], result["output"]) == ("completed", "Be brief.\n\nhello")


async def test_a_session_is_stale_when_its_bundle_is_loaded_anew_and_keeps_what_it_has(
    talks: Talks, tmp_path: Path
) -> None:
    path = written(tmp_path, "changing", "Old.")
    session = str(post(talks, {"bundle": path, "instruction": "one"})["session_id"])
    written(tmp_path, "changing", "New.")
    stale = await talks.event(session, "stale")
    assert stale["from_digest"] == talks.events(session, "spawned")[0]["bundle"]["digest"]
    assert talks.desk.get(f"/sessions/{session}")["stale"] is True
    talks.instruct(session, "two")
    assert (await talks.event(session, "turn_completed", 2))["output"].startswith("Old.")
    assert str(post(talks, {"bundle": path, "instruction": "x"})["output"]).startswith("New.")


async def test_a_bundle_that_is_wrong_says_why(talks: Talks, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("bundle: {name: wrong}\ntools: {a: 1}\n")
    answer = talks.desk.http.post("/sessions", json={"bundle": str(path), "instruction": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bundle_invalid")


async def test_a_warm_spawn_is_quick(talks: Talks, tmp_path: Path) -> None:
    path = tmp_path / "quick.yaml"
    path.write_text("bundle: {name: quick}\nruntime: {kind: echo}\n")
    post(talks, {"bundle": str(path), "instruction": "warm"})
    took: list[float] = []
    for _ in range(20):
        begun = time.monotonic()
        talks.command("spawn", {"bundle": "quick", "instruction": "x"})
        took.append(time.monotonic() - begun)
    # 20 ms are promised for a machine that does nothing else.
    assert statistics.median(took) < 0.1
