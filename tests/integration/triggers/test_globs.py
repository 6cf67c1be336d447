"""Which paths patterns mean, and on which file systems the kernel can tell of changes."""

import os
from pathlib import Path

import pytest

from adapters.triggers.globs import IGNORED, Globs
from adapters.triggers.mounts import polling_reason


def meant(globs: Globs, path: str) -> bool:
    """Whether a walk comes to the file."""
    *folders, name = path.split("/")
    found = globs.at(folders)
    if found is None:
        return False
    places, ignored = found
    return globs.ignored_below(ignored, name) is not None and globs.takes(places, name)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**/*", "a", True),
        ("**/*", "a/b/c", True),
        ("**/*", ".hidden/.file", True),
        ("*", "a", True),
        ("*", "a/b", False),
        ("*.py", "a.py", True),
        ("*.py", "a.pyc", False),
        ("*.py", "src/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "src/deep/a.py", True),
        ("src/**", "src/a", True),
        ("src/**", "src/a/b", True),
        ("src/**", "a", False),
        ("src/**", "src", False),
        ("src/**/test_*.py", "src/test_a.py", True),
        ("src/**/test_*.py", "src/x/y/test_a.py", True),
        ("src/**/test_*.py", "other/test_a.py", False),
        ("**/src/*", "a/src/b", True),
        ("**/src/*", "a/src/b/c", False),
        ("a/**/b/**/c", "a/b/c", True),
        ("a/**/b/**/c", "a/x/b/y/z/c", True),
        ("a/**/b/**/c", "a/x/c", False),
        ("?.txt", "a.txt", True),
        ("?.txt", "ab.txt", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("./a//b", "a/b", True),
        ("*.txt", "caf\udce9.txt", True),
        ("*.TXT", "a.txt", False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert meant(Globs([pattern], []), path) is expected


@pytest.mark.parametrize(
    ("ignore", "path", "expected"),
    [
        (IGNORED, "a/.git/config", False),
        (IGNORED, "a/__pycache__/b.pyc", False),
        (IGNORED, "text.md~", False),
        (IGNORED, ".text.md.swp", False),
        (IGNORED, "4913", False),
        (IGNORED, "#text.md#", False),
        (IGNORED, ".gitignore", True),
        (["build/"], "a/build/x", False),
        (["docs/build"], "docs/build/x", False),
        (["docs/build"], "a/docs/build/x", True),
        (["**/cache/*.bin"], "a/cache/b.bin", False),
        (["**/cache/*.bin"], "a/cache/b.txt", True),
        ([], ".git/config", True),
    ],
)
def test_what_is_left_out(ignore: list[str], path: str, expected: bool) -> None:
    assert meant(Globs(["**/*"], ignore), path) is expected


TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv/share rw - nfs4 server:/share rw
31 22 0:41 / /srv/local\\040disk rw - xfs /dev/sdb1 rw
32 30 0:42 / /srv/share/inner rw - tmpfs tmpfs rw
33 22 0:43 / /mnt/ssh rw - fuse.sshfs host:/ rw
34 22 0:44 / /mnt/vault rw - fuse.gocryptfs /v rw
35 22 0:45 / /over rw - nfs server:/a rw
36 22 0:46 / /over rw - btrfs /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("/srv/share/in", "nfs4"),
        ("/srv/share/inner/x", None),
        ("/srv/shared", None),
        ("/srv/local disk/a", None),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/mnt/vault/a", None),
        ("/over/a", None),
        ("/srv", "nfs4"),
        ("/opt", None),
    ],
)
def test_on_file_systems_of_other_machines_it_is_looked_for(folder: str, reason: str | None) -> None:
    """At the folder, or below it; a later mount covers the one before."""
    assert polling_reason(folder, TABLE) == reason


def test_on_this_machine_the_kernel_tells(tmp_path: Path) -> None:
    assert polling_reason(os.fsencode(tmp_path)) is None
