"""`agenttower bundle …`, with a tower and without; a tower that has its bundles when it is ready."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.cli.conftest import PLAIN_SHELL, Desk, agenttower, columns
from tests.needs import need

EXAMPLES = Path(__file__).parents[3] / "examples" / "bundles"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A tower with one bundle that is well and one that is not."""
    need("tmux")
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "own.yaml").write_text("bundle: {name: own, version: 0.1.0}\ntools: [{module: t, config: {key: s3cret}}]")
    (folder / "more.yaml").write_text("hooks: [{module: more}]")
    (folder / "wrong.yaml").write_text("bundle: {name: wrong}\ntools: x")
    bundles = ",".join(str(folder / name) for name in ("own.yaml", "wrong.yaml"))
    with ChildTower(node="local", variables={**PLAIN_SHELL, "AGENTTOWER_BUNDLES": bundles}) as tower:
        tower.start()
        yield Desk(tower)


def folder_of(desk: Desk) -> Path:
    return Path(desk.json("bundle", "show", "own")["uri"]).parent


def test_a_bundle_is_validated_without_a_tower(short_tmp: Path) -> None:
    done = agenttower(short_tmp, "bundle", "validate", str(EXAMPLES / "reviewer"))
    assert done.code == 0 and done.out.startswith("reviewer 1.2.0 is valid\n"), done
    told = agenttower(short_tmp, "bundle", "validate", str(EXAMPLES / "reviewer"), "--json").json
    assert [text["name"] for text in told["context"]] == ["house:rules.md", "reviewer:checklist"]
    assert len(told["digest"]) == 64


def test_a_wrong_bundle_is_told_with_file_line_and_field(short_tmp: Path) -> None:
    wrong = short_tmp / "b.yaml"
    wrong.write_text("bundle: {name: b}\ntools:\n  - bash\nhooks: x\nincludes: [./gone]\n")
    done = agenttower(short_tmp, "bundle", "validate", str(wrong))
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[:2] == [
        f"bundle_invalid: {wrong}:3: tools[0]: expected a map with `module`, not a text",
        f"{wrong}:4: hooks: expected a list of maps with `module`, not a text",
    ]
    told = json.loads(agenttower(short_tmp, "bundle", "validate", str(wrong), "--json").err)["error"]
    assert told["details"] == {"file": str(wrong), "line": 3, "field": "tools[0]", "expected": "a map with `module`"}
    wrong.write_text("bundle: {name: b}\nincludes: [./gone]\n")
    assert agenttower(short_tmp, "bundle", "validate", str(wrong)).err.startswith("bundle_not_found: ")
    lenient = agenttower(short_tmp, "bundle", "validate", str(wrong), "--lenient")
    assert lenient.code == 0 and "./gone is left out" in lenient.out


def test_configured_bundles_are_there_when_the_tower_is_ready(desk: Desk) -> None:
    done = desk.ok("bundle", "list")
    rows = columns(done.out)
    assert rows[0] == ["NAME", "STATE", "VERSION", "DIGEST", "PREPARED", "WARNINGS", "URI"]
    assert [(row[0], row[1]) for row in rows[1:]] == [("own", "serving"), ("-", "failed")]
    assert "wrong.yaml:2: tools: expected a list of maps" in done.err
    events = desk.json("events", "query", "--kind", "bundle")["items"]
    names = [event["type"].split(".")[2] for event in events]
    assert sorted(names[:3]) == ["loaded", "prepare_failed", "prepared"]


def test_what_serves_is_shown_without_secrets(desk: Desk) -> None:
    shown = desk.json("bundle", "show", "own")
    assert shown["serving"]["plan"]["tools"] == [{"module": "t", "config": {"key": "<redacted>"}}]
    assert shown["serving"]["digest"] == shown["digest"]
    assert desk.ok("bundle", "show", shown["uri"]).out.startswith("Bundle own\n")
    missing = desk.run("bundle", "show", "nobody")
    assert (missing.code, missing.err.startswith("bundle_not_found: ")) == (1, True)


def test_a_reload_is_waited_for(desk: Desk) -> None:
    own = folder_of(desk) / "own.yaml"
    before = desk.json("bundle", "show", "own")["digest"]
    assert desk.ok("bundle", "reload", "own").out == f"own: {before[-8:]}, as before\n"
    text = own.read_text()
    own.write_text(text + "\nhooks: [{module: h}]")
    after = desk.json("bundle", "reload", str(own))
    assert after["to"] != before
    own.write_text("bundle: {")
    broken = desk.run("bundle", "reload", "own")
    assert broken.code == 1 and broken.err.startswith("bundle_invalid: ") and "still does" in broken.err
    assert desk.json("bundle", "show", "own")["digest"] == after["to"]
    own.write_text(text)
    assert desk.json("bundle", "reload", "own")["to"] == before


def test_an_overlay_is_added_shown_and_removed(desk: Desk) -> None:
    more = folder_of(desk) / "more.yaml"
    assert "has no overlay" in desk.ok("bundle", "overlay", "show", "own").out
    assert desk.ok("bundle", "overlay", "add", "own", str(more)).out == f"The overlay of own includes {more}\n"
    assert str(more) in desk.ok("bundle", "overlay", "show", "own").out
    refused = desk.run("bundle", "overlay", "add", "own", "/gone.yaml")
    assert (refused.code, refused.err.startswith("bundle_not_found: ")) == (1, True)
    desk.ok("bundle", "reload", "own")
    shown = desk.json("bundle", "show", "own")
    assert (shown["overlay"], shown["serving"]["plan"]["hooks"]) == ([str(more)], [{"module": "more"}])
    assert desk.ok("bundle", "overlay", "remove", "own", str(more)).out == "The overlay of own includes nothing\n"


def test_after_a_restart_the_same_bundle_serves(desk: Desk) -> None:
    before = desk.json("bundle", "reload", "own")["to"]
    desk.tower.stop()
    desk.tower.start()
    shown = desk.json("bundle", "show", "own")
    assert shown["digest"] == shown["serving"]["digest"] == before
