"""What all tests share: parts that a machine may lack, short temporary folders, how hard hypothesis tries."""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fork_server import install
from tests.integration.containers.engines import Podman, podman
from tests.needs import MissingPart, need

# A shared machine is no measure of time: no deadlines. In CI the same cases each time, elsewhere new ones.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

pytest.register_assert_rewrite("tests.unit.given")

install()

_MISSING = "missing part"


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder with a short path: a unix socket's may have 107 bytes, and pytest's `tmp_path` can pass that."""
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def engine() -> Iterator[Podman]:
    """A container engine of this worker's own."""
    need("podman", "runc", "tmux")
    with podman() as running:
        yield running


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        need(*mark.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the missing part in the report, which also travels from an xdist worker to the one that prints."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, MissingPart):
        missing = call.excinfo.value
        report.user_properties.append((_MISSING, f"{missing.part}: {missing.install}"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: dict[str, int] = {}
    for report in terminalreporter.getreports("skipped"):
        for name, value in report.user_properties:
            if name == _MISSING:
                counts[str(value)] = counts.get(str(value), 0) + 1
    for line, count in sorted(counts.items()):
        terminalreporter.write_line(f"Skipped {count} for want of {line}", yellow=True)
