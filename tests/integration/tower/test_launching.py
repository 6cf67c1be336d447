"""Templates and launch profiles from files, on a whole tower: as an operator writes them, so panes are started."""

import json
import os
import signal
import sys
from pathlib import Path

from tests.integration.tmux.support import reported, reporter
from tests.integration.tower.conftest import Desk
from tests.waiting import eventually

IDLE = "[sleep, '100000']"


def write(desk: Desk, kind: str, name: str, text: str) -> Path:
    folder = desk.tower.home / "config" / "agenttower" / kind
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return file


REVIEW = """
name: review
panes:
- {role: master, capability: plan, label: "m{n}", launch: idle}
- {role: slave, capability: code, label: "s{n}", launch: idle, count: 2, restart: on_failure}
"""


async def test_a_layout_of_a_template_and_profiles_that_were_written_just_now(desk: Desk, tmp_path: Path):
    target = tmp_path / "report"
    spoken = ["a b", "$HOME", "`x`", "ä'\""]
    words = json.dumps([*reporter(target, *spoken)], ensure_ascii=False)
    write(desk, "launch_profiles", "idle", f"name: idle\ncommand: {IDLE}\n")
    write(
        desk,
        "launch_profiles",
        "reporter",
        f"name: reporter\ncommand: {words}\nenv: {{MY_TOKEN: to-be-kept-quiet}}\nworking_dir: /usr\n",
    )
    write(desk, "templates", "review", REVIEW)
    layout = await desk.ready("review", "review", launch_command_overrides={"slave:s2": "reporter"})
    panes = {pane["label"]: pane for pane in layout["panes"]}
    assert {label: (pane["role"], pane["capability"], pane["restart"]) for label, pane in panes.items()} == {
        "m1": ("master", "plan", "never"),
        "s1": ("slave", "code", "on_failure"),
        "s2": ("slave", "code", "on_failure"),
    }
    assert {label: pane["launch_profile"] for label, pane in panes.items()} == {
        "m1": "idle",
        "s1": "idle",
        "s2": "reporter",
    }
    given, environment, directory = await reported(target)
    assert (given, directory) == (spoken, "/usr")
    assert environment["MY_TOKEN"] == "to-be-kept-quiet"
    # The override's key counts from 1, whatever the label resolves to.
    second = await desk.ready("second", "review", launch_command_overrides={"slave:s1": "reporter"})
    assert [(pane["label"], pane["launch_profile"]) for pane in second["panes"]] == [
        ("m2", "idle"),
        ("s3", "reporter"),
        ("s4", "idle"),
    ]
    everything = json.dumps(desk.events())
    assert "reporter" in everything
    for secret in ("to-be-kept-quiet", "MY_TOKEN", "/usr", sys.executable, "$HOME"):
        assert secret not in everything
    assert "to-be-kept-quiet" not in (desk.tower.home / "tower.log").read_text()


async def test_a_profile_that_is_unknown_is_refused_at_once(desk: Desk):
    file = write(desk, "templates", "review", REVIEW)
    data = {"container_id": "host", "template_name": "review", "tmux_session_name": "x"}
    outcome = desk.command("layout", "create", data)
    assert outcome["error"]["code"] == "managed_launch_command_not_found"
    assert outcome["error"]["details"] == {"profile_name": "idle", "known_profiles": ["shell"]}
    assert desk.get("/layouts")["items"] == []
    file.write_text("name: review\npanes: 3\n")
    outcome = desk.command("layout", "create", data)
    assert outcome["error"]["code"] == "managed_template_not_found"
    assert outcome["error"]["details"]["known_templates"] == ["1m+2s", "2m+2s"]
    assert "expected a list of panes" in (desk.tower.home / "tower.log").read_text()


async def test_one_that_is_changed_or_gone_when_the_pane_is_made_fails_it(desk: Desk):
    write(desk, "launch_profiles", "idle", f"name: idle\ncommand: {IDLE}\n")
    write(desk, "launch_profiles", "stays", f"name: stays\ncommand: {IDLE}\n")
    changed = write(desk, "launch_profiles", "changed", f"name: changed\ncommand: {IDLE}\n")
    gone = write(desk, "launch_profiles", "gone", f"name: gone\ncommand: {IDLE}\n")
    write(desk, "templates", "review", REVIEW)
    await desk.ready("first", "review")
    server = int(desk.tmux("display-message", "-p", "#{pid}"))
    overrides = {"master:m1": "changed", "slave:s1": "gone", "slave:s2": "stays"}
    os.kill(server, signal.SIGSTOP)
    try:
        # tmux holds up the jobs of the container before the panes of the second layout are made.
        held_up = desk.create("held-up", "review")["layout_id"]
        layout_id = desk.create("second", "review", launch_command_overrides=overrides)["layout_id"]
        changed.write_text(f"name: changed\ncommand: {IDLE}\nenv: {{A: b}}\n")
        gone.unlink()
    finally:
        os.kill(server, signal.SIGCONT)
    assert (await desk.settled(held_up))["state"] == "ready"
    layout = await desk.settled(layout_id)
    master, first, second = layout["panes"] if layout["panes"][0]["role"] == "master" else layout["panes"][::-1]
    by_profile = {pane["launch_profile"]: pane for pane in (master, first, second)}
    for name in ("changed", "gone"):
        pane = by_profile[name]
        assert (pane["state"], pane["failed_stage"], pane["reason"]) == ("failed", "pane_create", "profile_changed")
    assert by_profile["stays"]["state"] == "ready"
    # Made anew it takes what the file says now; one that is gone stays refused.
    made = desk.accepted("pane", "recreate", {"predecessor_pane_id": by_profile["changed"]["id"]})

    def ready() -> bool:
        return desk.pane(made["pane_id"])["state"] == "ready"

    await eventually(ready, "the pane is ready", timeout_s=30)
    outcome = desk.command("pane", "recreate", {"predecessor_pane_id": by_profile["gone"]["id"]})
    assert outcome["error"]["code"] == "managed_launch_command_not_found"


async def test_a_tower_starts_with_whatever_lies_there(desk: Desk):
    desk.close()
    desk.tower.stop()
    good = write(desk, "templates", "solo", "name: solo\npanes: [{role: a, capability: b, label: c}]\n")
    os.mkfifo(good.with_name("pipe.yaml"))
    good.with_name("binary.yaml").write_bytes(bytes(range(256)))
    desk.tower.start()
    assert (await desk.ready("solo", "solo"))["pane_count"] == 1
    log = (desk.tower.home / "tower.log").read_text()
    assert "is a pipe: expected a file" in log
    assert "is not UTF-8 text" in log
    names = sorted(path.name for path in good.parent.iterdir())
    assert names == ["binary.yaml", "pipe.yaml", "solo.yaml"]
