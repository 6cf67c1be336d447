"""Repositories, fetched by the git program into one folder a commit, which never changes again. Blocking."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from adapters.files.atomic import write_private

TIMEOUT_S: Final = 60.0
"""Of one git command."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")
_REASON_CHARACTERS: Final = 300


class GitFailed(Exception):
    """Says why, on one line."""


class Checkout(NamedTuple):
    """The files of one commit. `warning`: why they may not be the newest."""

    path: Path
    commit: str
    warning: str | None = None


class GitCache:
    """Folders: `{digest of the URL}/{commit}`, and `refs.json` beside them, what each ref was last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def checkout(self, url: str, ref: str, *, fresh: bool) -> Checkout:
        """The files of `ref`. Without `fresh`, what was fetched before serves; when the other side does not answer, it
        serves with a warning. Raises `GitFailed`."""
        repository = self._folder / hashlib.blake2b(url.encode(), digest_size=16).hexdigest()
        known = _refs(repository).get(ref, ref if _COMMIT.match(ref) else None)
        cached = repository / known if known is not None else None
        has_it = cached is not None and cached.is_dir()
        if has_it and cached is not None and (not fresh or ref == known):
            return Checkout(cached, cached.name)
        try:
            commit = self._fetch(url, ref, repository)
        except GitFailed as error:
            if cached is None or not has_it:
                raise
            return Checkout(cached, cached.name, f"{url}@{ref}: the copy of {cached.name[:12]} serves: {error}")
        return Checkout(repository / commit, commit)

    def repository_of(self, path: Path) -> Path | None:
        """The folder of the commit that a path lies in; None for one that did not come by git."""
        if not path.is_relative_to(self._folder):
            return None
        parts = path.relative_to(self._folder).parts
        return self._folder.joinpath(*parts[:2]) if len(parts) >= 2 else None

    def _fetch(self, url: str, ref: str, repository: Path) -> str:
        """The commit, whose files stand in the cache then."""
        commit = ref if _COMMIT.match(ref) else _remote_commit(url, ref)
        if not (repository / commit).is_dir():
            repository.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=".", dir=repository))
            try:
                _git("init", "-q", str(made))
                _git("-C", str(made), "fetch", "-q", "--depth", "1", url, commit if ref == commit else ref)
                fetched = _git("-C", str(made), "rev-parse", "FETCH_HEAD^{commit}").strip()
                _git("-C", str(made), "checkout", "-q", "--detach", "FETCH_HEAD")
                shutil.rmtree(made / ".git")
                commit = fetched
                if not (repository / commit).is_dir():
                    made.rename(repository / commit)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        if ref != commit:
            write_private(repository / "refs.json", json.dumps({**_refs(repository), ref: commit}).encode())
        return commit


def _remote_commit(url: str, ref: str) -> str:
    """What a branch or tag is now."""
    names = (f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", ref)
    listed: dict[str, str] = {}
    for line in _git("ls-remote", url, *names).splitlines():
        commit, _, name = line.partition("\t")
        listed[name] = commit
    for name in names:
        if name in listed:
            return listed[name]
    raise GitFailed(f"{url} has no {ref}")


def _refs(repository: Path) -> dict[str, str]:
    try:
        found = json.loads((repository / "refs.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return {ref: commit for ref, commit in found.items() if isinstance(commit, str) and _COMMIT.match(commit)}


def _git(*arguments: str) -> str:
    """Never asks a person, never runs a helper that a URL names."""
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": "https:ssh:file",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
        "LC_ALL": "C",
    }
    try:
        done = subprocess.run(
            ["git", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise GitFailed("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise GitFailed(f"no answer in {TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        raise GitFailed(_reason(done.stderr) or f"git {arguments[0]} failed")
    return done.stdout


def _reason(said: str) -> str:
    """The line that says it: further ones give advice."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (fatal or lines or [""])[0][:_REASON_CHARACTERS]
