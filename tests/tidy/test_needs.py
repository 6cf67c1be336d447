"""A missing part skips with the line that installs it, and fails under AGENTTOWER_TESTS_STRICT=1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import ROOT

PYTEST = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
PYTEST += ["-p", "tests.conftest", "-p", "no:cacheprovider"]

TESTS = """
import pytest
from tests.needs import need

@pytest.mark.needs("podman", "tmux")
def test_marked():
    pass

@pytest.fixture
def container():
    need("podman")

def test_by_fixture(container):
    pass

def test_without_needs(short_tmp):
    assert len(str(short_tmp)) < 60
"""


def run_without_programs(folder: Path, *options: str, strict: str) -> tuple[int, str]:
    """Exit code and output of pytest over `TESTS` on a machine with an empty PATH."""
    test = folder / "test_planted.py"
    test.write_text(TESTS)
    done = subprocess.run(
        [*PYTEST, *options, test],
        env={**os.environ, "PATH": str(folder), "AGENTTOWER_TESTS_STRICT": strict},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_missing_part_skips_and_the_run_closes_with_its_package(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, output = run_without_programs(tmp_path, *options, strict="0")
    assert code == 0, output
    assert "1 passed, 2 skipped" in output
    assert "Skipped 2 for want of podman: apt-get install podman" in output


def test_strict_mode_fails_instead(tmp_path: Path) -> None:
    code, output = run_without_programs(tmp_path, strict="1")
    assert code == 1, output
    assert "1 passed, 2 errors" in output
    assert "podman is missing: apt-get install podman" in output
