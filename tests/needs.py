"""What a test needs of the machine beyond Python, and what to say when it is not there.

A test says `@pytest.mark.needs("tmux")`, a fixture calls `need("podman")`. A part that is missing skips the test, and
the run closes with the line that installs it; under `AGENTTOWER_TESTS_STRICT=1` the test fails instead.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


class MissingPart(pytest.skip.Exception):
    """Skips a test because of `part`, which `install` brings."""

    def __init__(self, part: str, install: str) -> None:
        super().__init__(f"{part} is missing: {install}", _use_item_location=True)
        self.part = part
        self.install = install


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _docker_answers() -> bool:
    """The daemon, not only the client."""
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "version"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _namespaces_can_be_made() -> bool:
    """Whether this user may make mount and PID namespaces, and cgroups: root, outside of a plain container."""
    if not all(map(shutil.which, ("unshare", "setpriv"))):
        return False
    try:
        unshared = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return False
    writable = any(kind in ("cgroup", "cgroup2") and os.access(path, os.W_OK) for path, kind in mounts)
    return unshared.returncode == 0 and writable


def _is_checkout() -> bool:
    """Whether git can list the files of this tree, which may belong to another user."""
    if shutil.which("git") is None:
        return False
    listed = subprocess.run([*GIT, "rev-parse"], cwd=ROOT, capture_output=True, timeout=30, check=False)
    return listed.returncode == 0


ROOT = Path(__file__).parents[1]
GIT = ("git", "-c", "safe.directory=*")

PARTS: dict[str, tuple[Callable[[], bool], str]] = {
    "chromium": (_program("chromium"), "apt-get install chromium"),
    "curl": (_program("curl"), "apt-get install curl"),
    "docker": (_docker_answers, "apt-get install docker.io, and start it"),
    "git": (_is_checkout, "apt-get install git, and work in a clone"),
    "namespaces": (_namespaces_can_be_made, "apt-get install util-linux, and run as root where cgroups can be made"),
    "podman": (_program("podman"), "apt-get install podman"),
    "runc": (_program("runc"), "apt-get install runc"),
    "tmux": (_program("tmux"), "apt-get install tmux"),
}
"""Part -> how to see that it is there, how to get it."""


@functools.cache
def has(part: str) -> bool:
    """Whether the machine has `part` (a key of `PARTS`), for tests that can take one way or another."""
    there, _ = PARTS[part]
    return there()


def strict() -> bool:
    return os.environ.get("AGENTTOWER_TESTS_STRICT") == "1"


def need(*parts: str) -> None:
    """Skip the test that asks, or fail it in strict mode, unless the machine has every one of `parts`."""
    for part in parts:
        if has(part):
            continue
        _, install = PARTS[part]
        if strict():
            pytest.fail(f"{part} is missing: {install} (AGENTTOWER_TESTS_STRICT=1)", pytrace=False)
        raise MissingPart(part, install)
