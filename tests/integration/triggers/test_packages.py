"""A type of triggers from another package: installed on a path, found by its entry point, used by its name."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from domain.background import events as e
from tests.integration.triggers.node import node

EXAMPLE = Path(__file__).parents[3] / "examples" / "trigger-pipe"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as a package manager leaves it: a module and its metadata."""
    folder = tmp_path_factory.mktemp("packages")
    source = folder / "source"
    shutil.copytree(EXAMPLE, source)
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    target = folder / "target"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)],
        check=True,
        timeout=100,
        env={**os.environ, "PIP_NO_CACHE_DIR": "1"},
    )
    return target


async def test_the_example_is_found_and_fires(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    importlib.invalidate_caches()
    pipe = tmp_path / "alerts"
    async with node(tmp_path / "home") as made:
        assert "pipe" in made.kinds.types()
        made.declare({"name": "one", "triggers": [{"type": "pipe", "config": {"path": str(pipe)}}]})
        await made.running()
        with open(pipe, "w") as writer:  # noqa: ASYNC230 (somebody reads it)
            writer.write("disk full on db-1\nand on db-2\n")
        await made.fired(2)
        assert [each.data for each in made.of(e.TriggerFired)] == [
            {"line": "disk full on db-1"},
            {"line": "and on db-2"},
        ]
        assert made.of(e.TriggerFired)[0].type == "pipe"


async def test_its_faults_are_told_as_its_own(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    importlib.invalidate_caches()
    async with node(tmp_path) as made:
        made.declare({"name": "one", "triggers": [{"type": "pipe", "config": {"pth": "x"}}]})
        failed = await made.told(e.BackgroundFailed)
        assert failed.error == "path: the path of a named pipe is expected"


async def test_one_that_cannot_be_loaded_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "packages" / "broken-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    entries = "[agenttower.triggers]\nbroken = no_such_module:Trigger\nshort = pathlib:Path\nfile_change = nobody:X\n"
    (metadata / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    importlib.invalidate_caches()
    async with node(tmp_path / "home") as made:
        made.declare(*({"name": name, "triggers": [{"type": name}]} for name in ("broken", "short", "file_change")))
        await made.told(e.BackgroundFailed, 2)
        errors = {each.background_id: each.error for each in made.of(e.BackgroundFailed)}
        assert "no_such_module:Trigger cannot be loaded: ModuleNotFoundError" in errors["bg-broken-0001"]
        assert errors["bg-short-0002"] == "type: pathlib:Path has no configure, watch, stop"
        await made.running("file_change")
