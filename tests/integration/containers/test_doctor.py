"""What `agenttower doctor` says of containers."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.cli.doctor_containers import look_at_containers
from adapters.settings import Settings
from tests.integration.containers.engines import Container

Start = Callable[..., Container]


async def look(home: Path, **settings: object) -> tuple[str, str, str]:
    return await asyncio.to_thread(look_at_containers, Settings(home=home, **settings))  # type: ignore[arg-type]


async def test_the_engine_its_containers_and_where_tmux_is_missing(cli: str, start: Start, tmp_path: Path):
    start(labels={"doctor": "1"})
    labelled = {"container_cli": cli, "container_filter": "label=doctor=1"}
    level, said, _ = await look(tmp_path, **labelled)
    assert level == "good"
    assert "version" in said
    assert "1 containers, 1 running, tmux in all of these" in said
    without = start(labels={"doctor": "1"}, without=("tmux",))
    start(labels={"doctor": "1"}).stop()
    level, said, fix = await look(tmp_path, **labelled)
    assert (level, fix) == ("warning", "install tmux in them: apt-get install tmux")
    assert f"3 containers, 2 running, without tmux: {without.name} (missing)" in said


async def test_no_engine_is_fine_unless_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (await look(tmp_path))[0] == "good"
    assert (await look(tmp_path, container_cli="podman"))[0] == "warning"


async def test_an_engine_that_does_not_run(tmp_path: Path):
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    level, said, fix = await look(tmp_path, container_cli=str(tmp_path / "docker"))
    assert (level, "Cannot connect" in said) == ("warning", True)
    assert fix.startswith("start the engine")
