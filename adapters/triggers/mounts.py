"""Whether the kernel can tell of changes on a file system, by its type: it does not know what other machines write."""

import os
from pathlib import Path
from typing import Final

REMOTE: Final = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "9p",
            "afs",
            "ceph",
            "glusterfs",
            "lustre",
            "gpfs",
            "beegfs",
            "orangefs",
        ),
        *("vboxsf", "prl_fs", "vmhgfs", "virtiofs", "drvfs", "ncpfs", "coda", "ocfs2", "gfs2", "davfs", "fuse"),
    }
)
LOCAL_FUSE: Final = frozenset({"fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.encfs", "fuse.bindfs"})

MOUNTS: Final = Path("/proc/self/mountinfo")


def polling_reason(folder: str | bytes, mounts: str | None = None) -> str | None:
    """The file system type at or below `folder` on which changes must be looked for; None where the kernel tells them.

    `mounts`: the text of a `mountinfo`. Reads one file of `/proc`.
    """
    if mounts is None:
        try:
            mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return "no mount table"
    place = os.path.realpath(os.fsdecode(folder))
    holding, found = "", None
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        columns = fields.split(" ")
        if len(columns) < 5 or not rest:
            continue
        point, kind = _unescaped(columns[4]), rest.split(" ")[0]
        if _within(place, point) and len(point) >= len(holding):
            # The last one that is mounted at a place covers those before it.
            holding, found = point, kind if _is_remote(kind) else None
    if found is not None:
        return found
    below = (line.partition(" - ") for line in mounts.splitlines())
    for fields, _, rest in below:
        columns = fields.split(" ")
        if len(columns) >= 5 and rest and _is_remote(kind := rest.split(" ")[0]):
            point = _unescaped(columns[4])
            if point != place and _within(point, place):
                return kind
    return None


def _is_remote(kind: str) -> bool:
    return kind in REMOTE or (kind.startswith("fuse.") and kind not in LOCAL_FUSE)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    """Space, tab, newline and backslash stand in the table as octal numbers."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text
