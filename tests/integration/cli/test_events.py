"""`agenttower events query|tail` on a real tower."""

import json
from typing import Any

from tests.integration.cli.conftest import Desk, Terminal, columns, going_on
from tests.waiting import eventually


def names(events: list[dict[str, Any]]) -> list[str]:
    return [".".join(event["type"].split(".")[1:3]) for event in events]


def test_query_as_table_and_as_json(desk: Desk) -> None:
    made = desk.layout()
    events = desk.json("events", "query", "--correlation", made["command_id"], "--limit", "200")["items"]
    assert names(events)[:2] == ["layout.created", "pane.created"]
    assert names(events)[-1] == "layout.state_changed"
    rows = columns(desk.ok("events", "query", "--correlation", made["command_id"], "--limit", "200").out)
    assert rows[0] == ["POS", "TIME", "EVENT", "ID", "BY", "WHAT"]
    assert [int(row[0]) for row in rows[1:]] == [event["position"] for event in events]
    assert [row[2] for row in rows[1:]] == names(events)
    assert rows[-1][3:] == [made["layout_id"][-8:], "tower", "creating -> ready"]


def test_query_filters(desk: Desk) -> None:
    made = desk.layout()
    layout_id = made["layout_id"]
    by_id = desk.json("events", "query", "--id", layout_id[-8:])["items"]
    assert names(by_id) == ["layout.created", "layout.state_changed"]
    by_type = desk.json("events", "query", "--id", layout_id, "--type", "layout.created")["items"]
    assert by_type == by_id[:1]
    by_actor = desk.json("events", "query", "--id", layout_id, "--actor", "tower")["items"]
    assert by_actor == by_id[1:]
    after = desk.json("events", "query", "--after", str(by_id[0]["position"]), "--kind", "pane", "--limit", "1")[
        "items"
    ]
    assert names(after) == ["pane.created"]
    assert desk.json("events", "query", "--since", "1h", "--id", layout_id)["items"] == by_id
    assert desk.json("events", "query", "--until", by_id[1]["time"], "--id", layout_id)["items"] == by_id[:1]
    assert desk.ok("events", "query", "--until", "5d").out == "No events match.\n"
    faulty = desk.run("events", "query", "--since", "yesterday")
    assert faulty.code == 2
    assert "is no time" in faulty.err


def test_more_events_than_asked_for(desk: Desk) -> None:
    desk.layout()
    done = desk.ok("events", "query", "--limit", "5")
    assert len(columns(done.out)) == 6
    assert "--after 5 goes on" in done.err


def test_the_tree_of_causes(desk: Desk) -> None:
    made = desk.layout()
    command_id = made["command_id"]
    tree = desk.json("events", "query", "--correlation", command_id, "--tree")
    (root,) = tree["commands"]
    assert (root["command_id"], root["actor"]) == (command_id, "host")
    flat: list[int] = []

    def walk(command: dict[str, Any], depth: int) -> int:
        deepest = depth
        for child in command["events"]:
            flat.append(child["event"]["position"])
            for caused in child["effects"]:
                assert caused["actor"] == "tower"
                assert all(each["event"]["causationid"] == child["event"]["id"] for each in caused["events"])
                deepest = max(deepest, walk(caused, depth + 1))
        return deepest

    assert walk(root, 0) >= 2
    listed = desk.json("events", "query", "--correlation", command_id, "--limit", "500")["items"]
    assert sorted(flat) == [event["position"] for event in listed]

    drawn = desk.ok("events", "query", "--correlation", command_id[-8:], "--tree").out.splitlines()
    assert drawn[0] == f"command {command_id[-8:]} by host"
    assert drawn[1].startswith("├── ")
    assert "layout.created" in drawn[1]
    assert any("│   └── effect -> command" in line for line in drawn)
    assert len([line for line in drawn if "command" not in line]) == len(listed)


def test_tail_shows_what_was_and_what_comes(desk: Desk) -> None:
    made = desk.layout()
    some = desk.json("events", "query", "--id", made["layout_id"])["items"]
    words = ["events", "tail", "--after", str(some[0]["position"] - 1), "--id", made["layout_id"], "--count", "2"]
    done = desk.ok(*words, "--json")
    assert [json.loads(line) for line in done.out.splitlines()] == some
    lines = desk.ok(*words).out.splitlines()
    assert "layout.created" in lines[0]
    assert "creating -> ready" in lines[1]


async def test_tail_follows_live_until_interrupted(desk: Desk) -> None:
    desk.layout()
    with going_on(desk, "events", "tail", "--kind", "layout", "--after", "0", "--json") as seen:
        await eventually(lambda: b"layout.created" in seen.read_bytes(), "it reads")
        made = desk.layout()
        await eventually(lambda: seen.read_text().count(f'"subject": "{made["layout_id"]}"') == 2, "both events arrive")


def test_events_fit_80_columns(desk: Desk, terminal: Terminal) -> None:
    made = desk.layout()
    lines = terminal.agenttower(desk.home, "events", "query", "--correlation", made["command_id"])
    rows = columns("\n".join(lines))
    assert rows[0] == ["POS", "TIME", "EVENT", "ID", "BY", "WHAT"]
    listed = desk.json("events", "query", "--correlation", made["command_id"])["items"]
    assert len(rows) == len(listed) + 1
