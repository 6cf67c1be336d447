"""Bundles written down for a test: relative path -> text."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.bundles.preparing import BundleFiles
from adapters.system import SystemClock
from handlers.bundle_ports import BundleProblem, PreparedBundle


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def put(path: Path, text: str) -> None:
    """Write a file; a function of its own, so that a test says where it changes the disk."""
    path.write_text(text)


def prepared(uri: Path | str, home: Path | None = None, **options: Any) -> PreparedBundle:
    lenient, fresh = options.pop("lenient", False), options.pop("fresh", True)
    files = BundleFiles(home or Path("/nonexistent"), SystemClock(), **options)
    return files.prepare_now(str(uri), lenient=lenient, fresh=fresh)


def problem(uri: Path | str, home: Path | None = None, **options: Any) -> BundleProblem:
    with pytest.raises(BundleProblem) as raised:
        prepared(uri, home, **options)
    # Its details are those of the code, or this would be a TypeError.
    raised.value.rejection()
    return raised.value


def commit(repository: Path, files: Mapping[str, str], *, branch: str = "main") -> str:
    """A new commit of these files in a repository, made if it is not there; its id."""
    if not (repository / ".git").exists():
        repository.mkdir(parents=True, exist_ok=True)
        git(repository, "init", "-q", "-b", branch)
        git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    write(repository, files)
    git(repository, "add", "-A")
    git(repository, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "c")
    return git(repository, "rev-parse", "HEAD")


def git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
