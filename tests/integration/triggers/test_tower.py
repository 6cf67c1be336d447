"""Triggers of a whole tower: a signed delivery over HTTP, an issue file, a timer, a hand."""

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.cli.child_tower import ChildTower
from tests.integration.tower.conftest import Desk
from tests.needs import need
from tests.waiting import eventually

SECRET = "what both sides know"
ECHO = "bundle: {name: echo}\nruntime: {kind: echo}\n"


def sessions(home: Path) -> list[dict[str, Any]]:
    hook = {"type": "webhook", "config": {"secret_file": str(home / "secret")}}
    common = {"bundle": str(home / "echo.yaml")}
    return [
        {"name": "deploy", "triggers": [hook], "instruction": "deploy {event.data[ref]}", **common},
        {
            "name": "worker",
            "triggers": [{"type": "issue_event", "config": {"event_names": ["issue:created"]}}],
            **common,
        },
        {
            "name": "clock",
            "triggers": [{"type": "timer", "config": {"interval_seconds": 3600, "immediate": True}}],
            **common,
        },
        {"name": "hand", "triggers": [{"type": "manual"}], "instruction": "by hand: {data}", **common},
    ]


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    need("tmux")
    tower = ChildTower(variables={"SHELL": "/bin/sh"})
    desk = Desk(tower)
    try:
        (tower.home / "secret").write_text(SECRET)
        (tower.home / "echo.yaml").write_text(ECHO)
        (tower.home / "issues").mkdir()
        settings = tower.home / "config" / "agenttower" / "agenttower.yaml"
        settings.parent.mkdir(parents=True)
        told = {"background_sessions": sessions(tower.home), "issues": {"bugs": str(tower.home / "issues")}}
        settings.write_text(json.dumps(told))
        tower.start()
        yield desk
    finally:
        desk.close()
        tower.remove()


async def fired(desk: Desk, type_: str, count: int = 1) -> dict[str, Any]:
    """The data of the `count`-th firing of that type, once it has run."""

    def look() -> dict[str, Any] | None:
        found = [each["data"] for each in desk.events(kind="trigger") if each["type"].split(".")[2] == "fired"]
        mine = [each for each in found if each["type"] == type_]
        return mine[count - 1] if len(mine) >= count else None

    found = await eventually(look, f"{count} firings of {type_}")
    assert found is not None
    return found


async def says(desk: Desk, background_id: str) -> str:
    """What the last run of it was told, and so has answered."""

    def look() -> str | None:
        ended = [each["data"] for each in desk.events(kind="background", id=background_id)]
        outputs = [each["output"] for each in ended if "output" in each]
        return outputs[-1] if outputs else None

    found = await eventually(look, f"the end of a run of {background_id}")
    assert found is not None
    return found


async def test_a_signed_delivery_runs_it_and_another_one_leaves_a_figure(desk: Desk) -> None:
    body = json.dumps({"ref": "v1.2"}).encode()
    signature = f"sha256={hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}"
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "d-1"}
    url = str(desk.http.base_url).removesuffix("/v1/").removesuffix("/v1")
    async with httpx.AsyncClient(base_url=url, timeout=30) as outside:
        for answer in ({"fired": 1, "replay": False}, {"fired": 0, "replay": True}):
            assert (await outside.post("/v1/hooks/deploy", content=body, headers=headers)).json() == answer
        wrong = await outside.post("/v1/hooks/deploy", content=body + b" ", headers=headers)
        assert wrong.status_code == 401
        figures = (await outside.get("/metrics")).text
    assert 'agenttower_webhook_deliveries_total{fate="accepted"} 1.0' in figures
    assert 'agenttower_webhook_deliveries_total{fate="replayed"} 1.0' in figures
    assert 'agenttower_webhook_deliveries_total{fate="refused"} 1.0' in figures
    told = await fired(desk, "webhook")
    assert (told["source"], told["data"]) == ("webhook:deploy", {"ref": "v1.2"})
    assert "deploy v1.2" in await says(desk, told["background_id"])
    assert SECRET not in json.dumps(desk.events(kind="background") + desk.events(kind="trigger"))


async def test_an_issue_file_runs_it(desk: Desk, short_tmp: Path) -> None:
    (short_tmp / "7.md").write_text("---\ntitle: A bug\n---\nIt breaks.\n")
    os.replace(short_tmp / "7.md", desk.tower.home / "issues" / "7.md")
    told = await fired(desk, "issue_event")
    assert (told["source"], told["event_name"]) == ("issues:bugs", "issue:created")
    assert told["data"]["title"] == "A bug"
    assert "It breaks." in await says(desk, told["background_id"])


async def test_a_timer_ticks_at_its_start(desk: Desk) -> None:
    told = await fired(desk, "timer")
    assert told["data"]["tick"] == 1
    assert "Timer triggered (tick 1)" in await says(desk, told["background_id"])


async def test_by_hand(desk: Desk) -> None:
    result = desk.accepted("trigger", "fire", {"name": "hand", "data": {"why": "now"}})
    assert result["state"] == "run"
    assert 'by hand: {"why":"now"}' in await says(desk, result["background_id"])
