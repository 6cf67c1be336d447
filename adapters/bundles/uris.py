"""How bundles are named: paths, `file://`, `git+https://…@ref#subdirectory=…`, `namespace:path`, plain names."""

import os
import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

SUBDIRECTORY: Final = "#subdirectory="
DEFAULT_REF: Final = "main"

_GIT: Final = re.compile(r"git\+(?P<url>(?P<scheme>https|ssh|file)://(?P<rest>[^\s#]+))\Z")
_REF: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,254}\Z")
_NAMESPACED: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*):(?!//)(?P<path>[^\s].*)\Z")
_FILE_ENDINGS: Final = (".md", ".yaml", ".yml")


class WrongUri(ValueError):
    """Says what was expected."""


class GitUri(NamedTuple):
    """`url` is what git is given; `path` lies in the repository, "" for its root."""

    url: str
    ref: str
    path: str


class FileUri(NamedTuple):
    """`text` may be relative to what names it, and begin with `~`."""

    text: str


class NamespaceUri(NamedTuple):
    name: str
    path: str


class NameUri(NamedTuple):
    name: str


Uri = GitUri | FileUri | NamespaceUri | NameUri


def parse(text: str) -> Uri:
    """Raises `WrongUri`."""
    base, _, inside = text.partition(SUBDIRECTORY)
    if base.startswith("git+"):
        return _git(base, inside)
    if base.startswith("file://"):
        path = unquote(urlsplit(base).path)
        return FileUri(f"{path}/{inside}" if inside else path)
    if "://" in base:
        raise WrongUri("a path, file://, git+https://, git+ssh://, namespace:path or a name")
    if is_path(base):
        return FileUri(f"{base}/{inside}" if inside else base)
    if found := _NAMESPACED.match(base):
        return NamespaceUri(found["name"], found["path"])
    return NameUri(base)


def parsed(text: str) -> Uri | None:
    """As `parse`; None for what is no URI."""
    try:
        return parse(text)
    except WrongUri:
        return None


def is_path(text: str) -> bool:
    """Whether it names a file or folder by itself: `./x`, `/x`, `~/x`, `x/y`, `x.yaml`; not `namespace:x/y`."""
    if text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
        return True
    return _NAMESPACED.match(text) is None and ("/" in text or text.endswith(_FILE_ENDINGS))


def absolute(text: str, folder: str | None = None) -> str:
    """The one spelling of a bundle: paths and `file://` as absolute paths, from `folder` or the working directory;
    all else as it is."""
    uri = parsed(text)
    if not isinstance(uri, FileUri):
        return text
    return os.path.normpath(os.path.join(folder or os.getcwd(), os.path.expanduser(uri.text)))


def inside(path: Path, root: Path) -> bool:
    """Links followed."""
    return path.resolve().is_relative_to(root.resolve())


def _git(base: str, inside_repository: str) -> GitUri:
    found = _GIT.match(base)
    if found is None:
        raise WrongUri("git+https://host/owner/repo@ref or git+ssh://host/owner/repo@ref")
    url, ref = found["url"], DEFAULT_REF
    # The host may hold a user before an @; a ref stands behind the path.
    head, at, tail = url.rpartition("@")
    if at and "/" in head.partition("://")[2]:
        url, ref = head, tail
    parts = urlsplit(url)
    if parts.password is not None or (parts.scheme == "https" and parts.username is not None):
        raise WrongUri("a git URL without credentials: git's own helpers hold them")
    if _REF.match(ref) is None or ".." in ref:
        raise WrongUri("a branch, tag or commit after the @")
    path = os.path.normpath(inside_repository) if inside_repository else ""
    if path.startswith(("..", "/")):
        raise WrongUri("a subdirectory within the repository")
    return GitUri(url, ref, "" if path == "." else path)
