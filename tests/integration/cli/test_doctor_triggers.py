"""What `doctor` says of triggers: the kernel's limits, time zones, what the settings name."""

from pathlib import Path
from typing import Any

import pytest

from adapters.cli.doctor_triggers import Said, look_at_triggers
from adapters.settings import Settings
from tests.integration.cli.conftest import agenttower


def limits(folder: Path, watches: int, instances: int = 128) -> Path:
    (folder / "max_user_watches").write_text(f"{watches}\n")
    (folder / "max_user_instances").write_text(f"{instances}\n")
    return folder


def found(folder: Path, *definitions: dict[str, Any]) -> dict[str, Said]:
    settings = Settings(home=folder, background_sessions=definitions)
    return {each.name: each for each in look_at_triggers(settings, folder)}


def test_limits_of_the_kernel(short_tmp: Path) -> None:
    enough = found(limits(short_tmp, 1_000_000))["inotify"]
    assert (enough.level, enough.said.startswith("1000000 watches")) == ("good", True)
    few = found(limits(short_tmp, 8192))["inotify"]
    assert (few.level, few.fix) == ("warning", "sysctl fs.inotify.max_user_watches=524288")
    (short_tmp / "max_user_watches").unlink()
    assert "now and then" in found(short_tmp)["inotify"].said


def test_what_is_not_there(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    (short_tmp / "worker.yaml").touch()
    watches = {"type": "file_change", "config": {"path": f"{short_tmp}/nowhere"}}
    hook = {"type": "webhook", "config": {"secret_env": "HOOK_SECRET"}}
    faulty = {"name": "a", "bundle": f"{short_tmp}/no.yaml", "triggers": [watches]}
    hooked = {"name": "b", "bundle": f"{short_tmp}/worker", "triggers": [hook]}
    right = {"name": "c", "bundle": "reviewer", "triggers": [{"module": "trigger-timer", "config": {}}]}
    settings = Settings(home=short_tmp, background_sessions=(faulty, hooked, right))
    said = [each for each in look_at_triggers(settings, short_tmp) if each.name.startswith("background")]
    assert [(each.level, each.said) for each in said] == [
        ("warning", f"there is no bundle {short_tmp}/no.yaml"),
        ("warning", f"there is no folder {short_tmp}/nowhere"),
        ("warning", "the variable HOOK_SECRET is not set"),
        ("good", "timer; runs reviewer"),
    ]


def test_doctor_shows_them(short_tmp: Path) -> None:
    lines = agenttower(short_tmp, "doctor").out.splitlines()
    assert any("inotify" in line and "watches" in line for line in lines)
    assert any("time zones" in line and "known" in line for line in lines)
